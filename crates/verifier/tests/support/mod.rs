//! Programs with their surroundings, from text.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod btf;
pub mod generate;
pub mod kernel;
pub mod machine;
pub mod random;
pub mod types;

use std::sync::Arc;

use hitless_btf::{Btf, Kind};
use hitless_isa::{Insn, asm, decode};
use kernel::{LoadAs, LogLevel, Outcome, load_with};

use hitless_verifier::tables::program_types::{self, ProgramType};
use hitless_verifier::tables::{helpers, kfuncs, map_trace, map_types};
use hitless_verifier::{
    ContextFacts, ContextFieldKind, FuncArg, GlobalFunc, HelperProto, KfuncProto, Kptr, KptrKind, MapFacts, ObjectType,
    Poisoned, ProgramInput, ProgramKind, Rejection, Verified, Widths, verify,
};

/// A program as a case file describes it.
pub struct Case {
    pub name: String,
    /// Line in the file, from 1, of the case's name.
    pub line: usize,
    pub maps: Vec<MapFacts>,
    pub context: ContextFacts,
    /// What Linux knows such programs as, if it does.
    pub program_type: Option<&'static ProgramType>,
    pub helpers: &'static [HelperProto],
    /// All that are known, by the numbers that [`btf::kfunc_id`] gives them.
    pub kfuncs: Vec<KfuncProto>,
    pub gpl: bool,
    pub insns: Vec<Insn>,
    pub poisoned: Vec<Poisoned>,
    pub global_funcs: Vec<GlobalFunc>,
    /// The types of the kernel, if the case needs them.
    pub types: Option<Arc<Btf>>,
    /// What the program is attached to, by name.
    pub attach: Option<String>,
    /// The errors expected: slot and message.
    pub errors: Vec<(usize, String)>,
}

impl Case {
    pub fn verify(&self) -> Result<Verified, Rejection> {
        verify(&self.input())
    }

    /// Asks the kernel, if it has programs of this type and maps like these.
    pub fn ask_linux(&self, level: LogLevel) -> Option<Outcome> {
        let program_type = self.program_type?;
        let attached = match (&self.attach, &self.types) {
            (Some(name), Some(types)) => LoadAs::attached_to(program_type, name, types),
            _ => LoadAs::from(program_type),
        };
        let load_as = LoadAs {
            license: if self.gpl { c"GPL" } else { c"Proprietary" },
            sleepable: self.context.sleepable,
            ..attached
        };
        // Global functions are found through BTF of the program.
        if !self.global_funcs.is_empty() {
            return None;
        }
        let outcome = load_with(&self.insns, &self.maps, self.types.as_deref(), load_as, level);
        // Not all types of programs may be loaded everywhere.
        Some(outcome.unwrap_or_else(|error| panic!("{}: maps: {error}", self.name)))
            .filter(|outcome| !outcome.is_forbidden())
    }

    /// A case with the same surroundings, and no program.
    pub fn surroundings(&self) -> Case {
        Case {
            name: String::new(),
            line: self.line,
            maps: self.maps.clone(),
            context: self.context.clone(),
            program_type: self.program_type,
            helpers: self.helpers,
            kfuncs: self.kfuncs.clone(),
            gpl: self.gpl,
            insns: Vec::new(),
            poisoned: Vec::new(),
            global_funcs: self.global_funcs.clone(),
            types: self.types.clone(),
            attach: self.attach.clone(),
            errors: Vec::new(),
        }
    }

    pub fn input(&self) -> ProgramInput<'_> {
        ProgramInput {
            name: &self.name,
            insns: &self.insns,
            maps: &self.maps,
            context: &self.context,
            helpers: self.helpers,
            kfuncs: &self.kfuncs,
            gpl_compatible: self.gpl,
            lines: &[],
            poisoned: &self.poisoned,
            global_funcs: &self.global_funcs,
            types: self.types.as_deref(),
            own: None,
        }
    }
}

/// All cases in `tests/cases`.
pub fn corpus() -> Vec<Case> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let files = std::fs::read_dir(dir).expect("the directory of cases is readable");
    let mut paths: Vec<_> = files
        .map(|file| file.expect("its entries are readable").path())
        .collect();
    paths.sort();
    let read = |path| std::fs::read_to_string(path).expect("the case file is readable");
    paths.into_iter().flat_map(|path| parse(&read(path))).collect()
}

/// The cases of a file. Each begins with `case: NAME`, then come header lines, then the program:
///
/// ```text
/// map: NAME TYPE [key N] [value N] [entries N] [lock OFF] [timer OFF] [kptr OFF STRUCT] [untrusted OFF STRUCT] [readonly] [frozen HEX] [inner NAME TYPE ...]
/// context: xdp | xdp readonly | update | delete | fields | SECTION | SECTION/NAME | sleepable
/// license: proprietary
/// helpers: all (also those that user space has not)
/// global: LABEL [scalar | ctx | mem SIZE | nonnull SIZE]...
/// ```
///
/// `SECTION/NAME` is a program attached to NAME of the running kernel. Offsets in its structs are written as
/// [`types::resolve`] says; without its types there are no such cases.
/// A kfunc is called by name: `call kfunc bpf_iter_num_new`.
///
/// An instruction that must be refused carries `; error: MESSAGE`, one that is poisoned `; missing: WHAT`, before the error if
/// there is one.
pub fn parse(text: &str) -> Vec<Case> {
    let lines: Vec<&str> = text.lines().collect();
    let starts: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].starts_with("case: ")).collect();
    let ends = starts.iter().skip(1).copied().chain([lines.len()]);
    starts
        .iter()
        .zip(ends)
        .filter_map(|(&start, end)| case(start + 1, &lines[start..end]))
        .collect()
}

fn case(line: usize, lines: &[&str]) -> Option<Case> {
    let typed = |line: &&str| line.starts_with("context: ") && context_types(line).is_some();
    let types = match lines.iter().any(typed) {
        true => Some(types::kernel()?),
        false => None,
    };
    let mut case = Case {
        name: lines[0]["case: ".len()..].to_owned(),
        line,
        maps: Vec::new(),
        context: program_types::xdp(),
        program_type: Some(program_types::of(ProgramKind::Xdp)),
        helpers: helpers::xdp(),
        kfuncs: Vec::new(),
        gpl: true,
        insns: Vec::new(),
        poisoned: Vec::new(),
        global_funcs: Vec::new(),
        types,
        attach: None,
        errors: Vec::new(),
    };
    let mut program = String::new();
    let mut all_kfuncs = false;
    for text in &lines[1..] {
        if let Some(map) = text.strip_prefix("map: ") {
            case.maps.push(map_facts(map, case.types.as_deref()));
        } else if let Some(context) = text.strip_prefix("context: ") {
            set_context(&mut case, context);
        } else if let Some(func) = text.strip_prefix("global: ") {
            case.global_funcs.push(global_func(func));
        } else if *text == "helpers: all" {
            let offered = |proto: &HelperProto| HelperProto {
                excluded: None,
                ..*proto
            };
            let all: Vec<HelperProto> = case.helpers.iter().map(offered).collect();
            case.helpers = Box::leak(all.into());
            all_kfuncs = true;
        } else if *text == "license: proprietary" {
            case.gpl = false;
        } else if let Some(types) = &case.types {
            program += &types::resolve(&with_kfunc_ids(text), types);
        } else {
            program += &with_kfunc_ids(text);
        }
        program.push('\n');
    }
    let kind = case.program_type.map_or(ProgramKind::Xdp, |ty| ty.kind);
    let kfunc = |kfunc: &kfuncs::Kfunc| {
        let proto = KfuncProto::new(kind, btf::kfunc_id(kfunc.name), 0, kfunc.name);
        KfuncProto {
            excluded: proto.excluded.filter(|_| !all_kfuncs),
            ..proto
        }
    };
    case.kfuncs = kfuncs::all().iter().map(kfunc).collect();
    case.insns = asm::assemble(&program).unwrap_or_else(|error| panic!("{}: {error}", case.name));
    let mut pc = 0;
    for text in program.lines() {
        let (code, comment) = text.split_once(';').unwrap_or((text, ""));
        if let Some((label, _)) = code.split_once(':') {
            let funcs = case.global_funcs.iter_mut().filter(|func| func.name == label);
            funcs.for_each(|func| func.start = pc);
        }
        let code = code.rsplit(':').next().unwrap_or_default().trim();
        // `map[idx:0]` has a colon of its own.
        if code.is_empty() {
            continue;
        }
        for note in comment.split(" ; ").map(str::trim) {
            if let Some(message) = note.strip_prefix("error: ") {
                case.errors.push((pc, message.to_owned()));
            } else if let Some(missing) = note.strip_prefix("missing: ") {
                let missing = missing.to_owned();
                case.poisoned.push(Poisoned { pc, missing });
            }
        }
        pc += decode(&case.insns, pc).map_or(1, |insn| insn.slots());
    }
    case.global_funcs.sort_by_key(|func| func.start);
    Some(case)
}

/// Kind and name of what a program is attached to, if its context line says so.
fn context_types(line: &str) -> Option<(&'static ProgramType, &str)> {
    let (section, name) = line.strip_prefix("context: ").unwrap_or(line).split_once('/')?;
    let ty = program_types::all()
        .iter()
        .find(|ty| ty.section == section && ty.is_typed())?;
    Some((ty, name))
}

/// "call kfunc NAME" with the number in the place of the name.
fn with_kfunc_ids(text: &str) -> String {
    let Some((before, call)) = text.split_once("call kfunc ") else {
        return text.to_owned();
    };
    let (name, rest) = call.split_at(call.find(' ').unwrap_or(call.len()));
    format!("{before}call kernel-function#{}{rest}", btf::kfunc_id(name))
}

fn global_func(text: &str) -> GlobalFunc {
    let mut words = text.split_whitespace();
    let name = words.next().expect("a function has a name").to_owned();
    let mut args = Vec::new();
    while let Some(word) = words.next() {
        let mut size = || words.next().and_then(|n| n.parse().ok()).expect("a size");
        args.push(match word {
            "scalar" => FuncArg::Scalar,
            "ctx" => FuncArg::Context,
            "mem" | "nonnull" => FuncArg::Memory {
                size: size(),
                nullable: word == "mem",
            },
            other => panic!("function {name}: {other}"),
        });
    }
    GlobalFunc {
        start: 0,
        name,
        args: Ok(args),
    }
}

fn map_facts(text: &str, types: Option<&Btf>) -> MapFacts {
    let mut words = text.split_whitespace();
    let name = words.next().expect("a map has a name").to_owned();
    let kind = words.next().expect("a map has a type");
    let kind = map_types::all()
        .iter()
        .find(|ty| ty.name == kind)
        .unwrap_or_else(|| panic!("map {name}: type {kind}"))
        .kind;
    let mut map = MapFacts {
        name,
        kind,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        readonly_prog: false,
        writeonly_prog: false,
        frozen: None,
        spin_lock: None,
        timer: None,
        inner: None,
        kptrs: Vec::new(),
        managed: Vec::new(),
        graph: Vec::new(),
    };
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|n| n.parse().ok()).expect("a number");
        match word {
            "key" => map.key_size = number(),
            "value" => map.value_size = number(),
            "entries" => map.max_entries = number(),
            "lock" => map.spin_lock = Some(number()),
            "kptr" | "untrusted" => {
                let off = number();
                let name = words.next().expect("the name of a struct");
                let ty = types.and_then(|types| types.find(Kind::Struct, name));
                map.kptrs.push(Kptr {
                    off,
                    kind: match word {
                        "kptr" => KptrKind::Referenced,
                        _ => KptrKind::Untrusted,
                    },
                    ty: ObjectType::Btf(ty.expect("the kernel has the struct")),
                });
            }
            "timer" => map.timer = Some(number()),
            "inner" => {
                let rest: Vec<&str> = words.by_ref().collect();
                map.inner = Some(Box::new(map_facts(&rest.join(" "), types)));
            }
            "readonly" => map.readonly_prog = true,
            "writeonly" => map.writeonly_prog = true,
            "frozen" => {
                let hex = words.next().expect("bytes");
                let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex digits");
                map.frozen = Some((0..hex.len() / 2).map(byte).collect());
                map.readonly_prog = true;
            }
            other => panic!("map {}: {other}", map.name),
        }
    }
    map
}

fn set_context(case: &mut Case, text: &str) {
    if text == "sleepable" {
        case.context.sleepable = true;
        case.program_type = case.program_type.filter(|_| case.attach.is_some());
        return;
    }
    case.program_type = None;
    match text {
        "xdp" => case.program_type = Some(program_types::of(ProgramKind::Xdp)),
        "xdp readonly" => case.context.packet_writable = false,
        "update" => case.context = map_trace::UPDATE_ELEM.facts(),
        "delete" => case.context = map_trace::DELETE_ELEM.facts(),
        // A context with a writable number of 8 bytes at 0 and a number of 4 bytes at 8.
        "fields" => {
            case.context = map_trace::UPDATE_ELEM.facts();
            case.context.name = "fields".to_owned();
            case.context.fields.truncate(2);
            for field in &mut case.context.fields {
                field.kind = ContextFieldKind::Scalar;
                field.loads = Widths::up_to(8);
            }
            case.context.fields[0].stores = Widths::of(8);
            case.context.fields[1].size = 4;
            case.context.return_range = Some((-1, 1));
        }
        text if context_types(text).is_some() => {
            let (ty, name) = context_types(text).expect("it was just found");
            let context = program_types::context_for(ty.kind, Some(name), case.types.as_deref());
            case.context = context.unwrap_or_else(|error| panic!("context {text}: {error}"));
            case.helpers = helpers::of(ty.kind);
            case.program_type = Some(ty);
            case.attach = Some(name.to_owned());
        }
        section => {
            let ty = program_types::all().iter().find(|ty| ty.section == section);
            let ty = ty.unwrap_or_else(|| panic!("context {section}"));
            case.context = program_types::context(ty.kind).unwrap_or_else(|| panic!("context {section}"));
            case.helpers = helpers::of(ty.kind);
            // Programs for system calls may sleep, and have to be loaded as such.
            case.context.sleepable |= ty.kind == ProgramKind::Syscall;
            case.program_type = Some(ty);
        }
    }
    if matches!(text, "update" | "delete") {
        case.helpers = helpers::map_trace();
    }
}

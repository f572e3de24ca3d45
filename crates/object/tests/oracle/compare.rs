//! Compares what this crate makes of an object with what libbpf makes of it.

use std::collections::HashSet;
use std::fmt::Debug;

use hitless_btf::{Btf, Linkage, Type, TypeId};
use hitless_isa::Insn;
use hitless_object::{Element, MapSpec, ObjectSpec, Pinning, ProgramSpec, ProgramType, SectionKind};

use super::{Answer, CreatedMap, LoadedProgram, Map, Program, Update, unhex};

const LD_IMM64: u8 = 0x18;
const CALL: u8 = 0x85;
const PSEUDO_KFUNC_CALL: u8 = 2;
const PSEUDO_MAP_FD: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
const PSEUDO_MAP_IDX: u8 = 5;
const PSEUDO_MAP_IDX_VALUE: u8 = 6;
/// Version of libbpf whose section names this crate has.
const SECTIONS_OF: (u32, u32) = (1, 6);
const BPF_MAP_TYPE_PERF_EVENT_ARRAY: u32 = 4;
const BPF_MAP_TYPE_RINGBUF: u32 = 27;
const BPF_MAP_TYPE_USER_RINGBUF: u32 = 31;
const BPF_MAP_TYPE_ARENA: u32 = 33;
const PAGE_SIZE: u32 = 4096;
/// Longest name of a map that the kernel takes, which libbpf keeps to.
const MAX_MAP_NAME: usize = 15;
/// Version of libbpf that no longer takes a function for a program because it is the only one.
const NO_LONE_PROGRAMS_SINCE: (u32, u32) = (1, 6);
/// Version of libbpf that loads the programs of the struct_ops that it makes, and not those of others.
const STRUCT_OPS_PROGRAMS_SINCE: (u32, u32) = (1, 5);
const F_SLEEPABLE: u32 = 1 << 4;
const F_XDP_HAS_FRAGS: u32 = 1 << 5;
/// From here on, immediates of calls are no helpers but say that something is missing; libbpf's.
const POISON: i32 = 0x0bad_2310;

/// What differs, in words.
#[derive(Default)]
pub(crate) struct Differences {
    pub(crate) found: Vec<String>,
}

impl Differences {
    fn same<T: PartialEq + Debug>(&mut self, what: impl FnOnce() -> String, ours: T, theirs: T) {
        if ours != theirs {
            self.found.push(format!("{}: {ours:?}, libbpf {theirs:?}", what()));
        }
    }
}

/// Compares an object with the answer. `kernel` are the types of where it was loaded; without them, it was only opened.
pub(crate) fn compare(object: &ObjectSpec, answer: &Answer, kernel: Option<&Btf>) -> Differences {
    let mut differences = Differences::default();
    let theirs_btf = answer.btf.as_ref().map(|hex| Btf::parse(&unhex(hex)));
    let theirs_btf = theirs_btf.transpose().unwrap_or_else(|error| {
        differences.found.push(format!("types: cannot read libbpf's: {error}"));
        None
    });
    let ours: Vec<_> = sorted(object.maps.iter().map(map_name));
    let theirs = sorted(answer.maps.iter().map(|map| map.name.as_str()));
    differences.same(|| "maps".into(), ours, theirs);
    for theirs in &answer.maps {
        let mut same_name = object.maps.iter().filter(|map| map_name(map) == theirs.name);
        // Those whose names are cut off alike cannot be told apart.
        if let (Some(ours), None) = (same_name.next(), same_name.next()) {
            compare_map(object, ours, theirs, kernel, &mut differences);
        }
    }
    // What -ffunction-sections makes of `.text` is `.text` here.
    let other = |section: &str| {
        let lone = section == ".text" && answer.version() >= NO_LONE_PROGRAMS_SINCE;
        !lone && !section.starts_with(".text.")
    };
    let ours = object.programs.iter().filter(|program| other(&program.section));
    let ours = sorted(ours.map(|program| program.name.as_str()));
    let theirs = answer.programs.iter().filter(|program| other(&program.section));
    let theirs = sorted(theirs.map(|program| program.name.as_str()));
    differences.same(|| "programs".into(), ours, theirs);
    for theirs in &answer.programs {
        if let Some(ours) = object.program(&theirs.name) {
            compare_program(
                object,
                ours,
                theirs,
                answer.version(),
                theirs_btf.as_ref(),
                kernel.is_some(),
                &mut differences,
            );
        }
    }
    compare_btf(object, theirs_btf.as_ref(), &mut differences);
    differences
}

/// The name of a map as libbpf gives it: cut off if it is of a section after `.bss`, but not of one after `.data`.
fn map_name(map: &MapSpec) -> &str {
    let cut = map.name.get(..MAX_MAP_NAME).filter(|name| name.starts_with(".bss."));
    cut.unwrap_or(&map.name)
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

fn compare_map(object: &ObjectSpec, ours: &MapSpec, theirs: &Map, kernel: Option<&Btf>, out: &mut Differences) {
    let what = |field: &str| format!("map {:?}: {field}", ours.name);
    let id = |ty: Option<TypeId>| ty.map_or(0, |id| id.0);
    out.same(|| what("type"), ours.map_type, theirs.map_type);
    out.same(|| what("key size"), ours.key_size, theirs.key_size);
    out.same(|| what("flags"), ours.flags, theirs.flags);
    out.same(|| what("numa node"), ours.numa_node.unwrap_or(0), theirs.numa_node);
    out.same(|| what("map_extra"), ours.map_extra, theirs.map_extra);
    out.same(|| what("value size"), ours.value_size, theirs.value_size);
    let entries = whole_pages(ours, theirs.max_entries);
    out.same(|| what("max entries"), entries, theirs.max_entries);
    out.same(|| what("key type"), id(ours.key_type), theirs.btf_key_type_id);
    let value_type = match &ours.struct_ops {
        // Some versions of libbpf keep it to themselves.
        Some(_) if theirs.btf_value_type_id == 0 => 0,
        Some(spec) => spec.ty.0,
        None => id(ours.value_type),
    };
    out.same(|| what("value type"), value_type, theirs.btf_value_type_id);
    let pin = (ours.pinning == Pinning::ByName).then_some(ours.name.as_str());
    out.same(|| what("pin"), pin, theirs.pin.as_deref());
    let Some(created) = &theirs.created else { return };
    out.same(|| what("frozen"), ours.frozen, created.frozen);
    let inner = |size: fn(&CreatedMap) -> u32| created.inner.as_deref().map(size);
    let template = |size: fn(&MapSpec) -> u32| ours.inner.as_deref().map(size);
    out.same(
        || what("inner map's type"),
        template(|m| m.map_type),
        inner(|m| m.map_type),
    );
    out.same(
        || what("inner map's key size"),
        template(|m| m.key_size),
        inner(|m| m.key_size),
    );
    let (size, their_size) = (template(|m| m.value_size), inner(|m| m.value_size));
    out.same(|| what("inner map's value size"), size, their_size);
    let their_entries = inner(|m| m.max_entries);
    let entries = ours
        .inner
        .as_deref()
        .map(|inner| match (inner.map_type, inner.max_entries) {
            // One for each CPU.
            (BPF_MAP_TYPE_PERF_EVENT_ARRAY, 0) => their_entries.unwrap_or(0),
            _ => whole_pages(inner, their_entries.unwrap_or(0)),
        });
    out.same(|| what("inner map's max entries"), entries, their_entries);
    out.same(|| what("inner map's flags"), template(|m| m.flags), inner(|m| m.flags));
    match (&ours.struct_ops, kernel) {
        (Some(_), Some(kernel)) => compare_struct_ops(object, ours, created, kernel, out),
        _ => compare_content(object, ours, created, out),
    }
}

/// How many elements a map has as libbpf says it, which rounds the sizes of ring buffers up: some versions when they open
/// an object, all of them before they load it.
fn whole_pages(ours: &MapSpec, theirs: u32) -> u32 {
    let ring = [BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_USER_RINGBUF].contains(&ours.map_type);
    let enough = theirs.is_power_of_two() && theirs.is_multiple_of(PAGE_SIZE) && theirs >= ours.max_entries;
    let half_is_not = theirs == PAGE_SIZE || theirs / 2 < ours.max_entries;
    if ring && enough && half_is_not {
        theirs
    } else {
        ours.max_entries
    }
}

/// Compares the elements that are there from the start.
fn compare_content(object: &ObjectSpec, ours: &MapSpec, created: &CreatedMap, out: &mut Differences) {
    let what = || format!("map {:?}: elements", ours.name);
    let element = |update: &Update| {
        let content = update.element.clone().or_else(|| update.value.clone());
        (unhex(&update.key), content.unwrap_or_default())
    };
    let mut theirs: Vec<_> = created.updates.iter().map(element).collect();
    theirs.sort();
    let mut found: Vec<(Vec<u8>, String)> = Vec::new();
    for value in &ours.values {
        let name = match value.element {
            Element::Map(index) => object.maps[index].name.clone(),
            Element::Program(index) => object.programs[index].name.clone(),
        };
        found.push((value.index.to_le_bytes().to_vec(), name));
    }
    // libbpf writes to the memory of an arena.
    if let Some(data) = ours.data.as_ref().filter(|_| ours.map_type != BPF_MAP_TYPE_ARENA) {
        let mut data = data.clone();
        data.resize(ours.value_size as usize, 0);
        found.push((vec![0; 4], data.iter().map(|byte| format!("{byte:02x}")).collect()));
    }
    found.sort();
    out.same(what, found, theirs);
}

/// Compares the value of a struct_ops, ours in the object's layout, theirs in the kernel's, member by member.
fn compare_struct_ops(object: &ObjectSpec, ours: &MapSpec, created: &CreatedMap, kernel: &Btf, out: &mut Differences) {
    let what = |field: &str| format!("struct_ops {:?}: {field}", ours.name);
    let (Some(spec), Some(btf)) = (&ours.struct_ops, &object.btf) else {
        out.found.push(what("not described"));
        return;
    };
    let Some(Type::Struct(local)) = btf.get(spec.ty) else {
        out.found.push(what("type is no struct"));
        return;
    };
    let Some(Type::Struct(outer)) = kernel.get(TypeId(created.btf_vmlinux_value_type_id)) else {
        out.found.push(what("the kernel's type is no struct"));
        return;
    };
    let data = outer
        .members
        .iter()
        .find(|member| member.name == *"data")
        .expect("every such type has it");
    let Some(Type::Struct(there)) = kernel.get(data.ty) else {
        out.found.push(what("the kernel's data is no struct"));
        return;
    };
    let update = created.updates.first().expect("the oracle has attached it");
    let value = unhex(update.value.as_deref().expect("it is no descriptor"));
    for member in &local.members {
        let name = member.name.as_str();
        let function = spec
            .functions
            .iter()
            .find(|function| function.offset * 8 == member.bit_offset);
        let program = function.map(|function| object.programs[function.program].name.as_str());
        let theirs = update.functions.iter().find(|function| function.member == name);
        out.same(
            || what(name),
            program,
            theirs.and_then(|function| function.program.as_deref()),
        );
        let Some(target) = there.members.iter().find(|target| target.name == member.name) else {
            continue;
        };
        let size = btf.size_of(member.ty).unwrap_or(0) as usize;
        let start = (member.bit_offset / 8) as usize;
        let mut bytes = spec.data.get(start..).unwrap_or(&[]).to_vec();
        bytes.resize(size, 0);
        let start = ((data.bit_offset + target.bit_offset) / 8) as usize;
        out.same(|| what(name), Some(&bytes[..]), value.get(start..start + size));
    }
}

/// Compares what the section's name says.
fn compare_kind(ours: &ProgramSpec, theirs: &Program, version: (u32, u32), loaded: bool, out: &mut Differences) {
    let what = |field: &str| format!("program {:?} in {:?}: {field}", ours.name, ours.section);
    let SectionKind::Program(kind) = ours.kind() else {
        if version <= SECTIONS_OF {
            out.same(|| what("type"), 0, theirs.program_type);
        }
        return;
    };
    if theirs.program_type == 0 && (kind.legacy || version < SECTIONS_OF) {
        return;
    }
    let has_target = [ProgramType::Tracing, ProgramType::Lsm, ProgramType::Ext].contains(&kind.program_type);
    if loaded && theirs.program_type == 0 && has_target {
        // Taken for one without a type, as its target does not matter.
        return;
    }
    out.same(|| what("type"), kind.program_type.number(), theirs.program_type);
    if kind.program_type != ProgramType::StructOps {
        // Of those, libbpf says in which member they are, as the kernel wants to know.
        let attach_type = kind.attach_type.map_or(0, |attach_type| attach_type.number());
        out.same(|| what("attach type"), attach_type, theirs.expected_attach_type);
    }
    if let Some(loaded) = &theirs.loaded {
        out.same(|| what("sleepable"), kind.sleepable, loaded.flags & F_SLEEPABLE != 0);
        out.same(|| what("frags"), kind.frags, loaded.flags & F_XDP_HAS_FRAGS != 0);
    }
}

fn compare_program(
    object: &ObjectSpec,
    ours: &ProgramSpec,
    theirs: &Program,
    version: (u32, u32),
    theirs_btf: Option<&Btf>,
    loaded: bool,
    out: &mut Differences,
) {
    let what = |field: &str| format!("program {:?}: {field}", ours.name);
    let section = ours.section.strip_prefix('?').unwrap_or(&ours.section);
    out.same(
        || what("section"),
        section,
        theirs.section.strip_prefix('?').unwrap_or(&theirs.section),
    );
    // Of those of a struct_ops, libbpf decides only when it loads an object, and older versions of it do not.
    let of_struct_ops = object
        .maps
        .iter()
        .filter_map(|map| map.struct_ops.as_ref())
        .any(|spec| {
            let programs = spec.functions.iter().map(|function| &object.programs[function.program]);
            programs.into_iter().any(|program| std::ptr::eq(program, ours))
        });
    if !of_struct_ops || loaded && version >= STRUCT_OPS_PROGRAMS_SINCE {
        out.same(|| what("autoload"), ours.autoload, theirs.autoload);
    }
    compare_kind(ours, theirs, version, loaded, out);
    let Some(loaded) = &theirs.loaded else { return };
    out.same(|| what("license"), object.license.as_str(), loaded.license.as_str());
    compare_insns(object, ours, loaded, out);
    let funcs: Vec<_> = ours
        .subprograms
        .iter()
        .filter_map(|s| Some((s.start, s.func?.0, s.name.as_str(), s.global)))
        .collect();
    let is_global = |ty| match theirs_btf.and_then(|btf| btf.get(TypeId(ty))) {
        Some(Type::Func(func)) => func.linkage == Linkage::Global,
        _ => false,
    };
    let their_funcs = loaded.funcs.iter();
    let their_funcs = their_funcs
        .map(|func| (func.pc, func.ty, func.name.as_str(), is_global(func.ty)))
        .collect();
    out.same(|| what("functions"), funcs, their_funcs);
    let lines: Vec<_> = ours
        .lines
        .iter()
        .map(|line| (line.pc, line.file.as_str(), line.line, line.column, line.text.as_str()))
        .collect();
    let their_lines: Vec<_> = loaded
        .lines
        .iter()
        .map(|line| (line.pc, line.file.as_str(), line.line, line.column, line.text.as_str()))
        .collect();
    out.same(|| what("number of lines"), lines.len(), their_lines.len());
    if let Some((ours, theirs)) = lines.iter().zip(&their_lines).find(|(ours, theirs)| ours != theirs) {
        out.same(|| what("line"), ours, theirs);
    }
}

/// Compares instructions slot by slot. Descriptors and indices of maps are replaced by the maps' names.
fn compare_insns(object: &ObjectSpec, ours: &ProgramSpec, theirs: &LoadedProgram, out: &mut Differences) {
    let what = |field: String| format!("program {:?}: {field}", ours.name);
    out.same(|| what("slots".into()), ours.insns.len(), theirs.insns.len());
    let mut second_half = false;
    for (pc, (&insn, text)) in ours.insns.iter().zip(&theirs.insns).enumerate() {
        let bytes = unhex(text).try_into().expect("a slot has eight bytes");
        let their_insn = Insn::from_bytes(bytes);
        let (insn, map) = if second_half {
            (insn, None)
        } else {
            with_map_name(object, insn)
        };
        second_half = !second_half && insn.code == LD_IMM64;
        if is_poison(insn) && is_poison(their_insn) {
            continue;
        }
        out.same(|| what(format!("insn {pc}")), insn, their_insn);
        let reference = theirs.maps.iter().find(|reference| reference.pc == pc);
        let their_map = reference.and_then(|reference| reference.map.as_deref());
        out.same(|| what(format!("map of insn {pc}")), map, their_map);
    }
}

fn with_map_name(object: &ObjectSpec, insn: Insn) -> (Insn, Option<&str>) {
    let src = match (insn.code, insn.src) {
        (LD_IMM64, PSEUDO_MAP_IDX) => PSEUDO_MAP_FD,
        (LD_IMM64, PSEUDO_MAP_IDX_VALUE) => PSEUDO_MAP_VALUE,
        _ => return (insn, None),
    };
    let map = usize::try_from(insn.imm).ok().and_then(|index| object.maps.get(index));
    (Insn { src, imm: 0, ..insn }, map.map(map_name))
}

/// Whether it calls a helper that does not exist, as what it needs is missing; or, as older versions of libbpf have it if
/// that is a kfunc, kfunc 0.
fn is_poison(insn: Insn) -> bool {
    (insn.code, insn.src) == (CALL, 0) && insn.imm >= POISON
        || (insn.code, insn.src, insn.imm) == (CALL, PSEUDO_KFUNC_CALL, 0)
}

/// Compares types. Those of externs are left out: libbpf replaces them by something that the kernel takes.
fn compare_btf(object: &ObjectSpec, theirs: Option<&Btf>, out: &mut Differences) {
    out.same(|| "has types".into(), object.btf.is_some(), theirs.is_some());
    let (Some(ours), Some(theirs)) = (&object.btf, theirs) else {
        return;
    };
    let mut of_externs = HashSet::new();
    for (id, ty) in ours.types() {
        match ty {
            Type::Datasec(section) if [".ksyms", ".kconfig"].contains(&section.name.as_str()) => {}
            Type::Func(func) if func.linkage == Linkage::Extern => _ = of_externs.insert(func.proto),
            Type::Var(var) if var.linkage == Linkage::Extern => {}
            _ => continue,
        }
        of_externs.insert(id);
    }
    for (id, ty) in ours.types().filter(|(id, _)| !of_externs.contains(id)) {
        match (ty, theirs.get(id)) {
            // libbpf makes hidden functions static; here their subprograms say so.
            (Type::Func(func), Some(Type::Func(their))) => {
                out.same(
                    || format!("type {id}"),
                    (&func.name, func.proto),
                    (&their.name, their.proto),
                );
            }
            // So it does with hidden variables.
            (Type::Var(var), Some(Type::Var(their))) if their.linkage == Linkage::Static => {
                out.same(|| format!("type {id}"), (&var.name, var.ty), (&their.name, their.ty));
            }
            (ty, their) => out.same(|| format!("type {id}"), Some(ty), their),
        }
    }
    if of_externs.is_empty() {
        out.same(
            || "number of types".into(),
            ours.types().count(),
            theirs.types().count(),
        );
    }
}

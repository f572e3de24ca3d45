//! Programs: which functions there are, which of them are programs, and each program with its subprograms as one stream.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use hitless_btf::{Btf, BtfExt, SectionRecords, TypeId};
use hitless_isa::Insn;

use crate::data::DataMap;
use crate::elf::{Elf, SymbolKind};
use crate::error::ObjectError;
use crate::maps::DeclaredMap;
use crate::reloc::{Function, Relocated, Relocator};
use crate::spec::{Line, ProgramSpec, Subprogram};

/// Most instruction slots of all programs of an object together.
pub const MAX_INSNS: usize = 4 << 20;

/// Builds every program of the object.
pub(crate) fn programs(
    elf: &Elf<'_>,
    btf: Option<(&Btf, &BtfExt)>,
    declared: &[DeclaredMap],
    data: &[DataMap],
) -> Result<Vec<ProgramSpec>, ObjectError> {
    let functions = functions(elf)?;
    let relocator = Relocator::new(elf, &functions, declared, data)?;
    let debug = DebugInfo::new(elf, btf.map(|(_, ext)| ext));
    let btf = btf.map(|(btf, _)| btf);
    let mut linker = Linker {
        elf,
        btf,
        functions: &functions,
        relocator,
        debug,
        done: HashMap::new(),
        insns: 0,
    };
    (0..functions.len())
        .filter(|&index| functions[index].entry)
        .map(|index| linker.link(index))
        .collect()
}

/// All functions, by section and start.
fn functions<'a>(elf: &Elf<'a>) -> Result<Vec<Function<'a>>, ObjectError> {
    let mut functions: Vec<Function<'a>> = Vec::new();
    for symbol in elf.symbols.iter().filter(|symbol| symbol.kind == SymbolKind::Func) {
        let Some(section) = symbol.section.filter(|&index| elf.sections[index].executable) else {
            continue;
        };
        let header = &elf.sections[section];
        let size = Insn::SIZE as u64;
        let inside = symbol
            .value
            .checked_add(symbol.size)
            .is_some_and(|end| end <= header.data.len() as u64);
        if !inside || symbol.size == 0 || symbol.value % size != 0 || symbol.size % size != 0 {
            return Err(ObjectError::Function {
                function: symbol.name.into(),
                section: header.name.into(),
                reason: format!(
                    "{} bytes at offset {}, of {} bytes",
                    symbol.size,
                    symbol.value,
                    header.data.len()
                ),
            });
        }
        functions.push(Function {
            name: symbol.name,
            section,
            start: (symbol.value / size) as usize,
            len: (symbol.size / size) as usize,
            // What clang puts into .text was not given a section. Static functions elsewhere are only called.
            entry: header.name != ".text" && !symbol.local,
        });
    }
    functions.sort_by_key(|f| (f.section, f.start, !f.entry));
    // Several names for the same function.
    functions.dedup_by_key(|f| (f.section, f.start, f.len));
    for pair in functions.windows(2) {
        if pair[0].section == pair[1].section && pair[0].start + pair[0].len > pair[1].start {
            return Err(ObjectError::Function {
                function: pair[1].name.into(),
                section: elf.sections[pair[1].section].name.into(),
                reason: format!("overlaps with function {:?}", pair[0].name),
            });
        }
    }
    Ok(functions)
}

/// What `.BTF.ext` says, by section and slot.
#[derive(Default)]
struct DebugInfo {
    lines: HashMap<usize, BTreeMap<usize, Line>>,
    funcs: HashMap<(usize, usize), TypeId>,
    /// Types of the first CO-RE relocation of each slot.
    core: HashMap<usize, BTreeMap<usize, TypeId>>,
}

impl DebugInfo {
    fn new(elf: &Elf<'_>, ext: Option<&BtfExt>) -> DebugInfo {
        let mut debug = DebugInfo::default();
        let Some(ext) = ext else { return debug };
        fn each<'r, T>(elf: &Elf<'_>, sections: &'r [SectionRecords<T>], mut record: impl FnMut(usize, &'r T)) {
            for section in sections {
                let Some((index, _)) = elf.section(&section.section) else {
                    continue;
                };
                section.records.iter().for_each(|r| record(index, r));
            }
        }
        let slot = |insn_off: u32| insn_off as usize / Insn::SIZE;
        each(elf, &ext.lines, |section, line| {
            let pc = slot(line.insn_off);
            let entry = Line {
                pc,
                file: line.file.clone(),
                line: line.line,
                text: line.text.clone(),
            };
            debug.lines.entry(section).or_default().insert(pc, entry);
        });
        each(elf, &ext.funcs, |section, func| {
            debug.funcs.insert((section, slot(func.insn_off)), func.func);
        });
        each(elf, &ext.core_relos, |section, relo| {
            debug
                .core
                .entry(section)
                .or_default()
                .insert(slot(relo.insn_off), relo.ty);
        });
        debug
    }
}

struct Linker<'a, 'e> {
    elf: &'e Elf<'a>,
    btf: Option<&'e Btf>,
    functions: &'e [Function<'a>],
    relocator: Relocator<'a, 'e>,
    debug: DebugInfo,
    /// Functions already relocated, by index.
    done: HashMap<usize, Relocated>,
    /// Instructions of all programs so far.
    insns: usize,
}

impl Linker<'_, '_> {
    /// Puts a program and the functions it reaches one after another, and resolves the calls between them.
    fn link(&mut self, main: usize) -> Result<ProgramSpec, ObjectError> {
        let mut order = vec![main];
        let mut start = HashMap::from([(main, 0)]);
        let mut program = ProgramSpec {
            name: self.functions[main].name.into(),
            section: self.elf.sections[self.functions[main].section].name.into(),
            insns: Vec::new(),
            subprograms: Vec::new(),
            lines: Vec::new(),
        };
        // Slot and function of every call, in the final stream.
        let mut calls = Vec::new();
        let mut next = 0;
        while let Some(&index) = order.get(next) {
            next += 1;
            let function = &self.functions[index];
            self.no_core(&program.name, function)?;
            self.insns += function.len;
            if self.insns > MAX_INSNS {
                let what = "instructions of all programs".to_string();
                return Err(ObjectError::TooLarge {
                    what,
                    found: self.insns as u64,
                    max: MAX_INSNS as u64,
                });
            }
            if !self.done.contains_key(&index) {
                self.done.insert(index, self.relocator.relocate(function)?);
            }
            let relocated = &self.done[&index];
            let base = program.insns.len();
            start.insert(index, base);
            for call in &relocated.calls {
                if let Entry::Vacant(entry) = start.entry(call.function) {
                    // Where it really starts is known once it is reached.
                    entry.insert(0);
                    order.push(call.function);
                }
                calls.push((base + call.slot, call.function));
            }
            program.insns.extend_from_slice(&relocated.insns);
            self.describe(&mut program, function, base);
        }
        for (slot, function) in calls {
            // Relative to the slot after the instruction, for calls and for addresses of functions.
            program.insns[slot].imm = (start[&function] as i64 - slot as i64 - 1) as i32;
        }
        Ok(program)
    }

    /// Adds a function's name and source lines, as it starts at `base` of the program.
    fn describe(&self, program: &mut ProgramSpec, function: &Function<'_>, base: usize) {
        let func = self.debug.funcs.get(&(function.section, function.start)).copied();
        program.subprograms.push(Subprogram {
            name: function.name.into(),
            start: base,
            func,
        });
        let Some(lines) = self.debug.lines.get(&function.section) else {
            return;
        };
        let range = function.start..function.start + function.len;
        let moved = lines.range(range).map(|(slot, line)| Line {
            pc: base + slot - function.start,
            ..line.clone()
        });
        program.lines.extend(moved);
    }

    fn no_core(&self, program: &str, function: &Function<'_>) -> Result<(), ObjectError> {
        let range = function.start..function.start + function.len;
        match self
            .debug
            .core
            .get(&function.section)
            .and_then(|core| core.range(range).next())
        {
            None => Ok(()),
            Some((&slot, ty)) => Err(ObjectError::CoreRelocation {
                program: program.into(),
                function: function.name.into(),
                section: self.elf.sections[function.section].name.into(),
                insn: slot as u64,
                ty: self.btf.map_or_else(|| ty.to_string(), |btf| btf.type_name(*ty)),
            }),
        }
    }
}

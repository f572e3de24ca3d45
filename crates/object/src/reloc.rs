//! One function at a time: its instructions with references to maps, global data and externs resolved, and what it calls.
//!
//! Calls stay open until the functions of a program have been put one after another; see `code`.

use std::collections::HashMap;

use hitless_btf::Btf;
use hitless_isa::Insn;

use crate::arena::ArenaData;
use crate::data::DataMap;
use crate::elf::{Elf, Place, Symbol, SymbolKind};
use crate::error::ObjectError;
use crate::externs::{Externs, why_undefined};
use crate::functions::Function;
use crate::maps::DeclaredMap;
use crate::spec::{ExternKind, ExternRef};

const R_BPF_NONE: u32 = 0;
const R_BPF_64_64: u32 = 1;
const R_BPF_64_32: u32 = 10;

const LD_IMM64: u8 = 0x18;
const CALL: u8 = 0x85;
const BPF_PSEUDO_CALL: u8 = 1;
const BPF_PSEUDO_KFUNC_CALL: u8 = 2;
const BPF_PSEUDO_FUNC: u8 = 4;
const BPF_PSEUDO_MAP_IDX: u8 = 5;
const BPF_PSEUDO_MAP_IDX_VALUE: u8 = 6;

/// A reference from an instruction to a function.
pub(crate) struct Call {
    /// Slot of the instruction, from the start of the calling function.
    pub(crate) slot: usize,
    /// Index of the function.
    pub(crate) function: usize,
}

/// A function's instructions, relocated but for its calls and externs.
pub(crate) struct Relocated {
    pub(crate) insns: Vec<Insn>,
    /// By slot.
    pub(crate) calls: Vec<Call>,
    /// By slot, from the start of the function.
    pub(crate) externs: Vec<ExternRef>,
}

/// What references are resolved with.
pub(crate) struct Relocator<'a, 'e> {
    elf: &'e Elf<'a>,
    btf: Option<&'e Btf>,
    /// By section and first slot.
    functions: &'e [Function<'a>],
    /// Relocations of each section, by slot; none for sections without code.
    relocs: Vec<Vec<InsnReloc>>,
    /// Index of each declared map, by section and offset.
    declared: HashMap<(usize, i64), usize>,
    /// The map that a section has become, or become a part of: its index, and the size of the section.
    data: HashMap<usize, (usize, u32)>,
    externs: &'e Externs,
    /// Index of the map of `.kconfig`.
    kconfig: usize,
}

/// The relocation of an instruction.
#[derive(Clone, Copy)]
struct InsnReloc {
    slot: usize,
    symbol: usize,
    kind: u32,
    addend: Option<i64>,
}

impl<'a, 'e> Relocator<'a, 'e> {
    pub(crate) fn new(
        elf: &'e Elf<'a>,
        btf: Option<&'e Btf>,
        functions: &'e [Function<'a>],
        declared: &[DeclaredMap],
        data: &[DataMap],
        arena: Option<ArenaData>,
        externs: &'e Externs,
    ) -> Result<Relocator<'a, 'e>, ObjectError> {
        Ok(Relocator {
            elf,
            btf,
            functions,
            relocs: (0..elf.sections.len())
                .map(|index| relocs(elf, index))
                .collect::<Result<_, _>>()?,
            declared: declared
                .iter()
                .enumerate()
                .map(|(i, map)| ((map.section, map.offset.into()), i))
                .collect(),
            data: (declared.len()..)
                .zip(data)
                .map(|(i, map)| (map.section, (i, map.spec.value_size)))
                .chain(arena.map(|arena| (arena.section, (arena.map, arena.size))))
                .collect(),
            externs,
            kconfig: declared.len() + data.len(),
        })
    }

    /// Resolves what a function refers to.
    pub(crate) fn relocate(&self, function: &Function<'a>) -> Result<Relocated, ObjectError> {
        let section = &self.elf.sections[function.section];
        let bytes = &section.data[function.start * Insn::SIZE..(function.start + function.len) * Insn::SIZE];
        let (chunks, _) = bytes.as_chunks::<{ Insn::SIZE }>();
        let mut out = Relocated {
            insns: chunks.iter().map(|&bytes| Insn::from_bytes(bytes)).collect(),
            calls: Vec::new(),
            externs: Vec::new(),
        };
        let relocs = &self.relocs[function.section];
        let first = relocs.partition_point(|reloc| reloc.slot < function.start);
        let mut relocs = relocs[first..].iter().peekable();
        let mut slot = 0;
        while slot < out.insns.len() {
            let insn = out.insns[slot];
            let wide = insn.code == LD_IMM64;
            if wide && slot + 1 == out.insns.len() {
                return Err(ObjectError::Function {
                    function: function.name.into(),
                    section: section.name.into(),
                    reason: "ends inside of a wide instruction".into(),
                });
            }
            match relocs.next_if(|reloc| reloc.slot == function.start + slot) {
                Some(reloc) => self.reference(function, &mut out, slot, reloc)?,
                None if matches!(
                    (insn.code, insn.src),
                    (CALL, BPF_PSEUDO_CALL) | (LD_IMM64, BPF_PSEUDO_FUNC)
                ) =>
                {
                    let target = (function.start + slot) as i64 + 1 + i64::from(insn.imm);
                    let called = self.function_at(function, slot, function.section, target)?;
                    out.calls.push(Call { slot, function: called });
                }
                None => {}
            }
            if wide {
                slot += 1;
                if relocs.next_if(|reloc| reloc.slot == function.start + slot).is_some() {
                    let reason = format!(
                        "relocation inside of the wide instruction in slot {}",
                        function.start + slot
                    );
                    return Err(ObjectError::Section {
                        section: section.name.into(),
                        reason,
                    });
                }
            }
            slot += 1;
        }
        Ok(out)
    }

    fn function_at(&self, from: &Function<'_>, slot: usize, section: usize, target: i64) -> Result<usize, ObjectError> {
        self.functions
            .binary_search_by_key(&(section, target), |function| (function.section, function.start as i64))
            .map_err(|_| ObjectError::CallTarget {
                section: self.elf.sections[from.section].name.into(),
                insn: (from.start + slot) as u64,
                target_section: self.elf.sections[section].name.into(),
                target,
            })
    }

    fn reference(
        &self,
        function: &Function<'_>,
        out: &mut Relocated,
        slot: usize,
        reloc: &InsnReloc,
    ) -> Result<(), ObjectError> {
        let symbol = &self.elf.symbols[reloc.symbol];
        let refused = |reason: String| ObjectError::Relocation {
            section: self.elf.sections[function.section].name.into(),
            insn: (function.start + slot) as u64,
            symbol: self.elf.symbol_name(symbol).into(),
            reason,
        };
        let insn = out.insns[slot];
        let call = match (reloc.kind, insn.code) {
            (R_BPF_64_32, CALL) if insn.src == BPF_PSEUDO_CALL => true,
            (R_BPF_64_64, LD_IMM64) => false,
            (kind, code) => {
                let kind = kind_name(kind);
                return Err(refused(format!(
                    "relocation {kind} of opcode {code:02x} is not supported"
                )));
            }
        };
        // What the instruction counts from the symbol, in bytes. Calls count slots, less one.
        let addend = reloc.addend.unwrap_or_else(|| match call {
            true => (i64::from(insn.imm) + 1) * Insn::SIZE as i64,
            // Clang leaves the second half zero, even below zero.
            false => match out.insns[slot + 1].imm {
                0 => i64::from(insn.imm),
                high => i64::from(high) << 32 | i64::from(insn.imm.cast_unsigned()),
            },
        });
        let Some(section) = symbol.section else {
            return self
                .extern_reference(out, slot, reloc.symbol, addend, call)
                .map_err(refused);
        };
        let offset = i64::try_from(symbol.value)
            .ok()
            .and_then(|value| value.checked_add(addend));
        let Some(offset) = offset else {
            return Err(refused(format!("offset {addend} from {:#x}", symbol.value)));
        };
        let target = &self.elf.sections[section];
        if target.executable {
            if offset % Insn::SIZE as i64 != 0 {
                return Err(refused(format!("offset {offset} is not that of an instruction")));
            }
            let called = self.function_at(function, slot, section, offset / Insn::SIZE as i64)?;
            out.calls.push(Call { slot, function: called });
            if !call {
                out.set_wide(slot, BPF_PSEUDO_FUNC, 0, 0);
            }
            return Ok(());
        }
        if call {
            return Err(refused(format!(
                "call into section {}, which holds no functions",
                target.name
            )));
        }
        let (src, imm, next) = self.data_reference(symbol, section, offset).map_err(refused)?;
        out.set_wide(slot, src, imm, next);
        Ok(())
    }

    /// What a wide instruction holds that refers to a map or to global data: the kind of immediate, and the immediates.
    fn data_reference(&self, symbol: &Symbol<'_>, section: usize, offset: i64) -> Result<(u8, i32, i32), String> {
        let target = &self.elf.sections[section];
        if let Some(&index) = self.declared.get(&(section, offset)) {
            return Ok((BPF_PSEUDO_MAP_IDX, index as i32, 0));
        }
        if let Some(&(index, size)) = self.data.get(&section) {
            return match u32::try_from(offset) {
                Ok(offset) if offset < size => Ok((BPF_PSEUDO_MAP_IDX_VALUE, index as i32, offset.cast_signed())),
                _ => Err(format!("offset {offset} in section {} of {size} bytes", target.name)),
            };
        }
        if target.name == ".maps" {
            return Err(format!("no map at offset {offset} of section .maps"));
        }
        let kind = if symbol.kind == SymbolKind::Section {
            "section"
        } else {
            "symbol in section"
        };
        Err(format!(
            "{kind} {}, which is neither code nor global data: maps belong in .maps, data in .data, .rodata or .bss",
            target.name
        ))
    }

    /// Resolves a reference to a symbol that is in no section.
    fn extern_reference(
        &self,
        out: &mut Relocated,
        slot: usize,
        symbol: usize,
        addend: i64,
        call: bool,
    ) -> Result<(), String> {
        let name = self.elf.symbols[symbol].name;
        match self.elf.symbols[symbol].place {
            Place::Undefined => {}
            Place::Common => return Err("has no place yet: build with -fno-common".into()),
            Place::Absolute => return Err("is at a fixed address, which programs cannot use".into()),
            Place::Section => return Err("is in a section that does not exist".into()),
        }
        let index = self.externs.of(symbol).ok_or_else(|| why_undefined(self.btf, name))?;
        if let ExternKind::Kconfig { offset, size } = self.externs.specs[index].kind {
            return match u32::try_from(addend) {
                _ if call => Err("call of a configuration value".into()),
                Ok(addend) if addend < size => {
                    let offset = (offset + addend).cast_signed();
                    out.set_wide(slot, BPF_PSEUDO_MAP_IDX_VALUE, self.kconfig as i32, offset);
                    Ok(())
                }
                _ => Err(format!("offset {addend} in a configuration value of {size} bytes")),
            };
        }
        if addend != 0 {
            return Err(format!("offset {addend} from something that is not in the object"));
        }
        match (call, self.externs.specs[index].kind) {
            (true, ExternKind::Function) => {
                let insn = out.insns[slot];
                out.insns[slot] = Insn {
                    src: BPF_PSEUDO_KFUNC_CALL,
                    off: 0,
                    imm: 0,
                    ..insn
                };
            }
            (true, _) => return Err("call of a variable".into()),
            (false, _) => out.set_wide(slot, 0, 0, 0),
        }
        out.externs.push(ExternRef { pc: slot, index });
        Ok(())
    }
}

impl Relocated {
    /// Sets what the wide instruction at `slot` holds.
    fn set_wide(&mut self, slot: usize, src: u8, imm: i32, next: i32) {
        let insn = self.insns[slot];
        self.insns[slot] = Insn { src, imm, ..insn };
        self.insns[slot + 1].imm = next;
    }
}

/// The relocations of a section of code, by slot.
fn relocs(elf: &Elf<'_>, index: usize) -> Result<Vec<InsnReloc>, ObjectError> {
    let section = &elf.sections[index];
    if !section.executable {
        return Ok(Vec::new());
    }
    let bad = |offset: u64| ObjectError::Section {
        section: section.name.into(),
        reason: format!("relocation at offset {offset} is not for one instruction"),
    };
    let mut relocs = Vec::with_capacity(section.relocs.len());
    for reloc in section.relocs.iter().filter(|reloc| reloc.kind != R_BPF_NONE) {
        if !reloc.offset.is_multiple_of(Insn::SIZE as u64) {
            return Err(bad(reloc.offset));
        }
        relocs.push(InsnReloc {
            slot: (reloc.offset / Insn::SIZE as u64) as usize,
            symbol: reloc.symbol,
            kind: reloc.kind,
            addend: reloc.addend,
        });
    }
    relocs.sort_by_key(|reloc| reloc.slot);
    match relocs.windows(2).find(|pair| pair[0].slot == pair[1].slot) {
        Some(pair) => Err(bad((pair[0].slot * Insn::SIZE) as u64)),
        None => Ok(relocs),
    }
}

fn kind_name(kind: u32) -> String {
    match kind {
        1 => "R_BPF_64_64".into(),
        2 => "R_BPF_64_ABS64".into(),
        3 => "R_BPF_64_ABS32".into(),
        4 => "R_BPF_64_NODYLD32".into(),
        10 => "R_BPF_64_32".into(),
        other => format!("type {other}"),
    }
}

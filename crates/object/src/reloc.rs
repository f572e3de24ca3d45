//! One function at a time: its instructions with references to maps and global data resolved, and what it calls.
//!
//! Calls stay open until the functions of a program have been put one after another; see `code`.

use std::collections::HashMap;

use hitless_isa::Insn;

use crate::data::DataMap;
use crate::elf::{Elf, Symbol, SymbolKind};
use crate::error::ObjectError;
use crate::maps::DeclaredMap;

const R_BPF_NONE: u32 = 0;
const R_BPF_64_64: u32 = 1;
const R_BPF_64_32: u32 = 10;

const LD_IMM64: u8 = 0x18;
const CALL: u8 = 0x85;
const BPF_PSEUDO_CALL: u8 = 1;
const BPF_PSEUDO_FUNC: u8 = 4;
const BPF_PSEUDO_MAP_IDX: u8 = 5;
const BPF_PSEUDO_MAP_IDX_VALUE: u8 = 6;

/// A function as its symbol describes it. Slots count from the start of the section.
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) section: usize,
    pub(crate) start: usize,
    pub(crate) len: usize,
    /// Whether it is a program, rather than a subprogram.
    pub(crate) entry: bool,
}

/// A reference from an instruction to a function.
pub(crate) struct Call {
    /// Slot of the instruction, from the start of the calling function.
    pub(crate) slot: usize,
    /// Index of the function.
    pub(crate) function: usize,
}

/// A function's instructions, relocated but for its calls.
pub(crate) struct Relocated {
    pub(crate) insns: Vec<Insn>,
    pub(crate) calls: Vec<Call>,
}

/// What references are resolved with.
pub(crate) struct Relocator<'a, 'e> {
    elf: &'e Elf<'a>,
    /// First slot of each function, by section.
    starts: HashMap<(usize, i64), usize>,
    /// Relocations by section and slot: symbol and kind.
    relocs: HashMap<(usize, usize), (usize, u32)>,
    /// Index of each declared map, by section and offset.
    declared: HashMap<(usize, i64), usize>,
    /// Index and size of the map that a section has become.
    data: HashMap<usize, (usize, u32)>,
}

impl<'a, 'e> Relocator<'a, 'e> {
    pub(crate) fn new(
        elf: &'e Elf<'a>,
        functions: &[Function<'a>],
        declared: &[DeclaredMap],
        data: &[DataMap],
    ) -> Result<Relocator<'a, 'e>, ObjectError> {
        let mut relocs = HashMap::new();
        for (index, section) in elf
            .sections
            .iter()
            .enumerate()
            .filter(|(_, section)| section.executable)
        {
            for reloc in section.relocs.iter().filter(|reloc| reloc.kind != R_BPF_NONE) {
                let slot = (reloc.offset / Insn::SIZE as u64) as usize;
                let twice = relocs.insert((index, slot), (reloc.symbol, reloc.kind)).is_some();
                if twice || !reloc.offset.is_multiple_of(Insn::SIZE as u64) {
                    let reason = format!("relocation at offset {} is not for one instruction", reloc.offset);
                    return Err(ObjectError::Section {
                        section: section.name.into(),
                        reason,
                    });
                }
            }
        }
        let start = |(index, f): (usize, &Function<'_>)| ((f.section, f.start as i64), index);
        Ok(Relocator {
            elf,
            starts: functions.iter().enumerate().map(start).collect(),
            relocs,
            declared: declared
                .iter()
                .enumerate()
                .map(|(i, map)| ((map.section, map.offset.into()), i))
                .collect(),
            data: (declared.len()..)
                .zip(data)
                .map(|(i, map)| (map.section, (i, map.spec.value_size)))
                .collect(),
        })
    }

    /// Resolves what a function refers to.
    pub(crate) fn relocate(&self, function: &Function<'a>) -> Result<Relocated, ObjectError> {
        let section = &self.elf.sections[function.section];
        let bytes = &section.data[function.start * Insn::SIZE..(function.start + function.len) * Insn::SIZE];
        let (chunks, _) = bytes.as_chunks::<{ Insn::SIZE }>();
        let insns = chunks.iter().map(|&bytes| Insn::from_bytes(bytes)).collect();
        let mut out = Relocated {
            insns,
            calls: Vec::new(),
        };
        let mut slot = 0;
        while slot < out.insns.len() {
            let wide = out.insns[slot].code == LD_IMM64;
            if wide && slot + 1 == out.insns.len() {
                return Err(ObjectError::Function {
                    function: function.name.into(),
                    section: section.name.into(),
                    reason: "ends inside of a wide instruction".into(),
                });
            }
            match self.relocs.get(&(function.section, function.start + slot)) {
                Some(&(symbol, kind)) => self.reference(function, &mut out, slot, &self.elf.symbols[symbol], kind)?,
                None if out.insns[slot].code == CALL && out.insns[slot].src == BPF_PSEUDO_CALL => {
                    let target = (function.start + slot) as i64 + 1 + i64::from(out.insns[slot].imm);
                    let called = self.function_at(function, slot, function.section, target)?;
                    out.calls.push(Call { slot, function: called });
                }
                None => {}
            }
            if wide {
                slot += 1;
                if self.relocs.contains_key(&(function.section, function.start + slot)) {
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
        self.starts
            .get(&(section, target))
            .copied()
            .ok_or_else(|| ObjectError::CallTarget {
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
        symbol: &Symbol<'_>,
        kind: u32,
    ) -> Result<(), ObjectError> {
        let refuse = |reason: String| {
            Err(ObjectError::Relocation {
                section: self.elf.sections[function.section].name.into(),
                insn: (function.start + slot) as u64,
                symbol: self.elf.symbol_name(symbol).into(),
                reason,
            })
        };
        let Some(section) = symbol.section else {
            return refuse("extern symbols are not supported".into());
        };
        let Ok(value) = i64::try_from(symbol.value) else {
            return refuse(format!("symbol value {:#x}", symbol.value));
        };
        let target = &self.elf.sections[section];
        let insn = out.insns[slot];
        if kind == R_BPF_64_32 && insn.code == CALL && insn.src == BPF_PSEUDO_CALL {
            if !target.executable {
                return refuse(format!("call into section {}, which holds no functions", target.name));
            }
            // The immediate counts slots from the symbol, less one.
            let slot_called = value / Insn::SIZE as i64 + i64::from(insn.imm) + 1;
            let called = self.function_at(function, slot, section, slot_called)?;
            out.calls.push(Call { slot, function: called });
            return Ok(());
        }
        if kind != R_BPF_64_64 || insn.code != LD_IMM64 {
            return refuse(format!(
                "relocation type {kind} of opcode {:02x} is not supported",
                insn.code
            ));
        }
        let addend = (u64::from(out.insns[slot + 1].imm.cast_unsigned()) << 32 | u64::from(insn.imm.cast_unsigned()))
            .cast_signed();
        let Some(offset) = value.checked_add(addend) else {
            return refuse(format!("offset {addend} from {value}"));
        };
        let (src, imm, next) = if target.executable {
            if offset % Insn::SIZE as i64 != 0 {
                return refuse(format!("offset {offset} is not that of an instruction"));
            }
            let called = self.function_at(function, slot, section, offset / Insn::SIZE as i64)?;
            out.calls.push(Call { slot, function: called });
            (BPF_PSEUDO_FUNC, 0, 0)
        } else if let Some(&index) = self.declared.get(&(section, offset)) {
            (BPF_PSEUDO_MAP_IDX, index as i32, 0)
        } else if let Some(&(index, size)) = self.data.get(&section) {
            match u32::try_from(offset) {
                Ok(offset) if offset < size => (BPF_PSEUDO_MAP_IDX_VALUE, index as i32, offset.cast_signed()),
                _ => return refuse(format!("offset {offset} in section {} of {size} bytes", target.name)),
            }
        } else if target.name == ".maps" {
            return refuse(format!("no map at offset {offset} of section .maps"));
        } else {
            let kind = if symbol.kind == SymbolKind::Section {
                "section"
            } else {
                "symbol in section"
            };
            return refuse(format!("{kind} {}, which is neither code nor global data", target.name));
        };
        out.insns[slot] = Insn { src, imm, ..insn };
        out.insns[slot + 1].imm = next;
        Ok(())
    }
}

//! What `.BTF.ext` says about instructions, by section and slot.

use std::collections::HashMap;

use hitless_btf::{BtfExt, CoreRelo, LineInfo, Name, SectionRecords, TypeId};
use hitless_isa::Insn;

use crate::elf::Elf;
use crate::error::ObjectError;
use crate::functions::Function;
use crate::spec::{CoreRelocation, Line};

/// Records with the slots that they are about, by section; those of a section by slot.
type BySection<'e, T> = HashMap<usize, Vec<(usize, &'e T)>>;

#[derive(Default)]
pub(crate) struct DebugInfo<'e> {
    lines: BySection<'e, LineInfo>,
    core_relos: BySection<'e, CoreRelo>,
    funcs: HashMap<(usize, usize), TypeId>,
}

impl<'e> DebugInfo<'e> {
    pub(crate) fn new(elf: &Elf<'_>, ext: Option<&'e BtfExt>) -> Result<DebugInfo<'e>, ObjectError> {
        let Some(ext) = ext else {
            return Ok(DebugInfo::default());
        };
        let mut lines = by_section(elf, &ext.lines, |line| line.insn_off)?;
        for records in lines.values_mut() {
            // Of several lines for one instruction, the last one counts.
            records.reverse();
            records.dedup_by_key(|(slot, _)| *slot);
            records.reverse();
        }
        let funcs = by_section(elf, &ext.funcs, |func| func.insn_off)?;
        let place =
            |(section, records): (usize, Vec<_>)| records.into_iter().map(move |(slot, func)| ((section, slot), func));
        Ok(DebugInfo {
            lines,
            core_relos: by_section(elf, &ext.core_relos, |relo| relo.insn_off)?,
            funcs: funcs
                .into_iter()
                .flat_map(place)
                .map(|(place, func)| (place, func.func))
                .collect(),
        })
    }

    /// The function's BTF type.
    pub(crate) fn func(&self, function: &Function<'_>) -> Option<TypeId> {
        self.funcs.get(&(function.section, function.start)).copied()
    }

    /// The function's source lines, as it starts at slot `base`.
    pub(crate) fn lines(&self, function: &Function<'_>, base: usize) -> impl ExactSizeIterator<Item = Line> {
        let start = function.start;
        within(&self.lines, function).iter().map(move |(slot, line)| Line {
            pc: base + slot - start,
            file: Name::clone(&line.file),
            line: line.line,
            column: line.column,
            text: Name::clone(&line.text),
        })
    }

    /// The function's CO-RE relocations, as it starts at slot `base`.
    pub(crate) fn core_relos(
        &self,
        function: &Function<'_>,
        base: usize,
    ) -> impl ExactSizeIterator<Item = CoreRelocation> {
        let start = function.start;
        within(&self.core_relos, function)
            .iter()
            .map(move |(slot, relo)| CoreRelocation {
                pc: base + slot - start,
                relo: CoreRelo::clone(relo),
            })
    }
}

/// The records about a function.
fn within<'d, 'e, T>(by_section: &'d BySection<'e, T>, function: &Function<'_>) -> &'d [(usize, &'e T)] {
    let records = by_section.get(&function.section).map_or(&[][..], Vec::as_slice);
    let start = records.partition_point(|(slot, _)| *slot < function.start);
    let len = records[start..].partition_point(|(slot, _)| *slot < function.start + function.len);
    &records[start..start + len]
}

fn by_section<'e, T>(
    elf: &Elf<'_>,
    sections: &'e [SectionRecords<T>],
    insn_off: impl Fn(&T) -> u32,
) -> Result<BySection<'e, T>, ObjectError> {
    let mut found: BySection<'e, T> = HashMap::new();
    for section in sections {
        // Records about sections that were removed belong to nobody.
        let Some((index, _)) = elf.section(&section.section) else {
            continue;
        };
        let records = found.entry(index).or_default();
        for record in &section.records {
            let offset = insn_off(record) as usize;
            if !offset.is_multiple_of(Insn::SIZE) {
                let reason = format!(
                    "record about offset {offset} of section {}, which is not that of an instruction",
                    section.section
                );
                return Err(ObjectError::Section {
                    section: ".BTF.ext".into(),
                    reason,
                });
            }
            records.push((offset / Insn::SIZE, record));
        }
    }
    for records in found.values_mut() {
        records.sort_by_key(|(slot, _)| *slot);
    }
    Ok(found)
}

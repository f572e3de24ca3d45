//! Pointers in data: what a relocation of a section that holds no code points to.

use std::collections::HashMap;

use crate::elf::{Elf, Symbol};

const R_BPF_64_64: u32 = 1;
const R_BPF_64_ABS64: u32 = 2;

/// Size of a pointer in bytes.
pub(crate) const SIZE: u64 = 8;

/// A pointer in a section of data.
#[derive(Clone, Copy)]
pub(crate) struct Pointer {
    /// Where it is, in bytes from the start of its section.
    pub(crate) at: u64,
    /// Index of the symbol that the relocation names.
    pub(crate) symbol: usize,
    /// Index of the section pointed into; `None` for what is not in the object.
    pub(crate) section: Option<usize>,
    /// Where in that section it points.
    pub(crate) offset: u64,
}

/// The pointers of a section, by where they are, or what is wrong with one of them.
pub(crate) fn pointers(elf: &Elf<'_>, section: usize) -> Result<Vec<Pointer>, String> {
    let section = &elf.sections[section];
    let mut pointers = Vec::with_capacity(section.relocs.len());
    for reloc in section.relocs.iter().filter(|reloc| reloc.kind != 0) {
        let symbol = &elf.symbols[reloc.symbol];
        // Compilers before clang 13 have only the first.
        if ![R_BPF_64_64, R_BPF_64_ABS64].contains(&reloc.kind) {
            let (kind, at, name) = (reloc.kind, reloc.offset, elf.symbol_name(symbol));
            return Err(format!(
                "relocation type {kind} at offset {at}, for {name:?}, expected a pointer"
            ));
        }
        let at = usize::try_from(reloc.offset).unwrap_or(usize::MAX);
        let Some(addend) = section.data.get(at..).and_then(|rest| rest.first_chunk()) else {
            let (at, size) = (reloc.offset, section.data.len());
            return Err(format!("relocation at offset {at}, of {size} bytes"));
        };
        pointers.push(Pointer {
            at: reloc.offset,
            symbol: reloc.symbol,
            section: symbol.section,
            offset: symbol.value.wrapping_add(u64::from_le_bytes(*addend)),
        });
    }
    pointers.sort_by_key(|pointer| pointer.at);
    match pointers.windows(2).find(|pair| pair[1].at - pair[0].at < SIZE) {
        Some(pair) => Err(format!(
            "relocations at offsets {} and {} overlap",
            pair[0].at, pair[1].at
        )),
        None => Ok(pointers),
    }
}

/// Names of what pointers point to.
pub(crate) struct Names<'a, 'e> {
    elf: &'e Elf<'a>,
    /// Symbols by section and offset; compilers name only the section of static ones.
    named: HashMap<(usize, u64), &'a str>,
}

impl<'a, 'e> Names<'a, 'e> {
    pub(crate) fn new(elf: &'e Elf<'a>) -> Names<'a, 'e> {
        let place = |symbol: &Symbol<'a>| Some(((symbol.section?, symbol.value), symbol.name));
        let symbols = elf.symbols.iter().filter(|symbol| !symbol.name.is_empty());
        Names {
            elf,
            named: symbols.filter_map(place).collect(),
        }
    }

    /// What to call it in messages.
    pub(crate) fn of(&self, pointer: &Pointer) -> &'a str {
        let place = pointer.section.map(|section| (section, pointer.offset));
        place
            .and_then(|place| self.named.get(&place).copied())
            .unwrap_or_else(|| self.elf.symbol_name(&self.elf.symbols[pointer.symbol]))
    }
}

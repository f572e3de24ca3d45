//! Global data in an arena: the section into which compilers put variables of that address space. It is the start of the
//! object's only arena, rather than a map of its own.

use crate::elf::Elf;
use crate::error::ObjectError;
use crate::map_type;
use crate::maps::DeclaredMap;

pub(crate) const SECTION: &str = ".addr_space.1";

/// The arena that holds global data.
pub(crate) struct ArenaData {
    /// Index of the section.
    pub(crate) section: usize,
    /// Index of the map.
    pub(crate) map: usize,
    /// Size of the section in bytes.
    pub(crate) size: u32,
}

/// Gives the arena its global data, if there is any.
pub(crate) fn fill(elf: &Elf<'_>, maps: &mut [DeclaredMap]) -> Result<Option<ArenaData>, ObjectError> {
    let Some((section, header)) = elf.section(SECTION).filter(|(_, section)| section.size > 0) else {
        return Ok(None);
    };
    let bad = |reason: String| ObjectError::Section {
        section: SECTION.into(),
        reason,
    };
    let mut arenas = (maps.iter_mut().enumerate()).filter(|(_, map)| map.spec.map_type == map_type::ARENA);
    let (Some((map, arena)), None) = (arenas.next(), arenas.next()) else {
        let count = maps.iter().filter(|map| map.spec.map_type == map_type::ARENA).count();
        return Err(bad(format!(
            "global data of an arena, but {count} maps of type {}, expected 1",
            map_type::describe(map_type::ARENA)
        )));
    };
    if let Some(reloc) = header.relocs.first() {
        let symbol = elf.symbol_name(&elf.symbols[reloc.symbol]);
        return Err(bad(format!(
            "pointer to {symbol:?} at offset {}: pointers in global data are not supported",
            reloc.offset
        )));
    }
    let size = u32::try_from(header.size).map_err(|_| ObjectError::TooLarge {
        what: format!("bytes in section {SECTION}"),
        found: header.size,
        max: u32::MAX.into(),
    })?;
    arena.spec.data = Some(header.data.to_vec());
    Ok(Some(ArenaData { section, map, size }))
}

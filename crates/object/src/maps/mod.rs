//! Maps that an object declares: in `.maps` by their types (`btf_defined`), or the old way by their contents (`legacy`).
//!
//! Declarations are read before programs are, as instructions refer to them. What a map holds from the start can be
//! resolved only once all maps and programs are known; until then it is kept as [`Slot`]s.

mod btf_defined;
mod legacy;
mod lock;
mod values;

use hitless_btf::Btf;

use crate::elf::Elf;
use crate::error::ObjectError;
use crate::map_type;
use crate::pointer::Pointer;
use crate::spec::MapSpec;

pub(crate) use lock::Locks;
pub(crate) use values::resolve;

/// Most maps of an object; and most sections of global data.
pub(crate) const MAX_MAPS: usize = 4096;

/// A declared map.
pub(crate) struct DeclaredMap {
    /// Index of the section.
    pub(crate) section: usize,
    /// Offset of the variable in it, by which instructions refer to the map.
    pub(crate) offset: u32,
    pub(crate) spec: MapSpec,
    /// What it holds from the start.
    slots: Vec<Slot>,
}

/// An element that a map holds from the start.
struct Slot {
    index: u32,
    target: SlotTarget,
}

enum SlotTarget {
    /// What a pointer in the declaration points to.
    Pointer(Pointer),
    /// A declared map, by index.
    Map(usize),
    /// The only program of a section.
    Section(usize),
}

/// Reads all declarations: the old ones in the order of their sections and offsets, then those of `.maps`.
pub(crate) fn declared(elf: &Elf<'_>, btf: Option<&Btf>, locks: &Locks<'_>) -> Result<Vec<DeclaredMap>, ObjectError> {
    let mut maps = legacy::declared(elf, btf, locks)?;
    maps.extend(btf_defined::declared(elf, btf, locks)?);
    check_count("maps", maps.len())?;
    Ok(maps)
}

/// Refuses more than [`MAX_MAPS`] of something.
pub(crate) fn check_count(what: &str, found: usize) -> Result<(), ObjectError> {
    if found <= MAX_MAPS {
        return Ok(());
    }
    Err(ObjectError::TooLarge {
        what: what.into(),
        found: found as u64,
        max: MAX_MAPS as u64,
    })
}

fn bad(map: &str, reason: impl Into<String>) -> ObjectError {
    ObjectError::Map {
        map: map.into(),
        reason: reason.into(),
    }
}

fn is_map_in_map(map_type: u32) -> bool {
    [map_type::ARRAY_OF_MAPS, map_type::HASH_OF_MAPS].contains(&map_type)
}

/// What libbpf calls the template of the maps in a map.
fn inner_name(outer: &str) -> String {
    format!("{outer}.inner")
}

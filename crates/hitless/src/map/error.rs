//! What map operations refuse, with the kernel's errno.

use hitless_verifier::MapKind;

use super::MapFlags;

/// Why an operation on a map failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// `-EEXIST`: [`UpdateFlags::NOEXIST`](crate::UpdateFlags::NOEXIST) was given and the key is there; in an array every
    /// key is.
    #[error("the key exists")]
    Exists,
    /// `-ENOENT`: the key is not there.
    #[error("no such key")]
    NotFound,
    /// `-E2BIG`: the map is full, or the index is not below `max_entries`.
    #[error("the map holds {max_entries} elements, its max_entries")]
    Full {
        /// The map's limit.
        max_entries: u32,
    },
    /// `-E2BIG`: no such index in an array.
    #[error("index {index} is not below max_entries {max_entries}")]
    IndexTooLarge {
        /// The index.
        index: u32,
        /// The map's limit.
        max_entries: u32,
    },
    /// `-EINVAL`: flags that the operation does not know.
    #[error("invalid update flags {flags:#x}")]
    InvalidFlags {
        /// The flags.
        flags: u64,
    },
    /// `-ERANGE`: no such slot.
    #[error("slot {slot} is not below the number of slots, {slots}")]
    NoSlot {
        /// The slot.
        slot: u32,
        /// How many there are.
        slots: u32,
    },
    /// `-EINVAL`: the key has another size.
    #[error("key size {found}, expected {expected}")]
    KeySize {
        /// Bytes given.
        found: usize,
        /// The map's key size.
        expected: u32,
    },
    /// `-EINVAL`: the value has another size.
    #[error("value size {found}, expected {expected}")]
    ValueSize {
        /// Bytes given.
        found: usize,
        /// The map's value size.
        expected: u32,
    },
    /// `-EINVAL`: the elements of an array cannot be deleted.
    #[error("elements of an array cannot be deleted")]
    NotDeletable,
    /// `-EBUSY`: a signal handler interrupted this very part of the map, or a traced map in the middle of a change.
    #[error("busy: the operation would wait for the code that this signal handler interrupted")]
    Busy,
    /// `-EPERM`: the map was frozen.
    #[error("the map is frozen")]
    Frozen,
    /// `-ESTALE`: the map's content was moved to a new map by an upgrade.
    #[error("the map was replaced by an upgrade: its content has moved to the new map")]
    Migrated,
    /// `-ECHILD`: the caller is a forked child of the process that owns the map.
    #[error(transparent)]
    Forked(#[from] crate::run::Forked),
}

impl MapError {
    /// The kernel's number for it, positive.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        match self {
            MapError::Exists => libc::EEXIST,
            MapError::NotFound => libc::ENOENT,
            MapError::Full { .. } | MapError::IndexTooLarge { .. } => libc::E2BIG,
            MapError::InvalidFlags { .. }
            | MapError::KeySize { .. }
            | MapError::ValueSize { .. }
            | MapError::NotDeletable => libc::EINVAL,
            MapError::NoSlot { .. } => libc::ERANGE,
            MapError::Busy => libc::EBUSY,
            MapError::Frozen => libc::EPERM,
            MapError::Migrated => libc::ESTALE,
            MapError::Forked(_) => libc::ECHILD,
        }
    }
}

/// Why a map could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MapCreateError {
    /// `-EINVAL`: a size or count that this kind of map cannot have.
    #[error("map {name}: {what} is {found}, expected {expected}")]
    Invalid {
        /// The map's name.
        name: String,
        /// Which attribute.
        what: &'static str,
        /// Its value.
        found: u64,
        /// What it may be.
        expected: &'static str,
    },
    /// `-EINVAL`: a type that there is not.
    #[error("map {name}: type {} ({}) is not supported", super::kind_name(*kind), kind.number())]
    Kind {
        /// The map's name.
        name: String,
        /// The type.
        kind: MapKind,
    },
    /// `-EINVAL`: flags that this type of map does not have.
    #[error("map {name}: flags {flags:?} are not supported, expected no other than {known:?}")]
    Flags {
        /// The map's name.
        name: String,
        /// Its flags.
        flags: MapFlags,
        /// Those that are known.
        known: MapFlags,
    },
    /// `-E2BIG`: the map would need more memory than can be addressed.
    #[error("map {name}: {max_entries} elements of {element_size} bytes are more than a region can hold")]
    TooLarge {
        /// The map's name.
        name: String,
        /// Its `max_entries`.
        max_entries: u32,
        /// Bytes for each element.
        element_size: u64,
    },
    /// The memory could not be had.
    #[error("map {name}: cannot reserve {bytes} bytes")]
    Memory {
        /// The map's name.
        name: String,
        /// How much was asked for.
        bytes: u64,
        /// The reason.
        source: std::io::Error,
    },
}

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
    /// `-ENOMEM`: there is no room where the key belongs, though the map is not full.
    #[error("no memory for the key where it belongs")]
    NoMemory,
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
    /// `-EINVAL`: no such index, for deletes.
    #[error("index {index} is not below max_entries {max_entries}")]
    NoSuchIndex {
        /// The index.
        index: u32,
        /// The map's limit.
        max_entries: u32,
    },
    /// `-ENOSPC`: the trie is full.
    #[error("the map holds {max_entries} elements, its max_entries")]
    NoRoom {
        /// The map's limit.
        max_entries: u32,
    },
    /// `-EINVAL`: a prefix that is longer than the key's data.
    #[error("prefix length {found}, expected at most {limit} bits")]
    PrefixLength {
        /// Its length.
        found: u32,
        /// The longest that there can be.
        limit: u32,
    },
    /// `-EINVAL`: the map has no keys.
    #[error("the map has no keys")]
    Keyless,
    /// `-ENOTSUPP`: a ring buffer has no elements.
    #[error("a ring buffer has no elements")]
    NoElements,
    /// `-EOPNOTSUPP`: a bloom filter gives nothing away.
    #[error("a bloom filter only takes values, and says whether it has one")]
    Unsupported,
    /// `-ENOTSUPP`: maps of this type do not have the operation.
    #[error("a map of type {} has no {operation}", super::kind_name(*kind))]
    OtherKind {
        /// The map's type.
        kind: MapKind,
        /// The operation.
        operation: &'static str,
    },
    /// `-EBADF`: the map's elements are programs, maps or buffers.
    #[error("elements of this map are no bytes: see Map::insert_program, insert_map and insert_buffer")]
    NotBytes,
    /// `-EACCES`: what is to be read or written refers to objects that programs have allocated.
    #[error("objects that programs have allocated are theirs alone")]
    OfPrograms,
    /// `-EINVAL`: the program does not fit to those that the array has, or that use it.
    #[error("the program is of another type than those that the array has, or that use it")]
    IncompatibleProgram,
    /// `-EINVAL`: the map is not like the template of the maps in this one.
    #[error("{what} of the inner map is {found}, expected {expected}")]
    OtherInnerMap {
        /// Which attribute.
        what: &'static str,
        /// What it is.
        found: u64,
        /// What the template has.
        expected: u64,
    },
    /// `-EINVAL`: what is to be put in belongs to another runtime.
    #[error("what is to be put in belongs to another runtime")]
    OtherRuntime,
    /// `-EDEADLK`: the call waits for a grace period, and was made from inside a run.
    #[error("the call waits for a grace period: from inside a run it would wait for itself")]
    InRun,
    /// `-EINVAL`: the inner map is traced by a program that may write the maps in this one: it would trace itself.
    #[error("the inner map is traced by a program that may write the maps in this one: it would loop")]
    TraceLoop,
    /// `-ENOTSUP`: the inner map is traced, and a program that may write it cannot be made to tell its tracers.
    #[error("the inner map is traced, and the traced variant of a program that may write it cannot be made")]
    TraceVariant,
    /// `-ETIMEDOUT`: the inner map is traced, and a run that has to end before did not.
    #[error("the inner map is traced, and a run that began before did not end in time")]
    Overdue,
    /// `-E2BIG`: a record is longer than it may be.
    #[error("the record is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// `-ENOSPC`: the buffer is full of records that were not read.
    #[error("no space: the buffer is full of records that were not read yet")]
    NoSpace,
    /// `-EINVAL`: there is no record where one should be: whoever maps the memory has overwritten it.
    #[error("no record at position {at}: whoever maps the memory has overwritten it")]
    Corrupt {
        /// The position.
        at: u64,
    },
    /// `-EOPNOTSUPP`: the buffer is another slot's.
    #[error("the buffer belongs to another slot")]
    OtherSlot,
    /// `-EINVAL`: no device has the number 0.
    #[error("no device has the number 0")]
    NoDevice,
    /// `-ESRCH`: there is no such thread.
    #[error("the process has no thread {thread}")]
    NoThread {
        /// Its id.
        thread: u32,
    },
    /// `-EPERM`: the map was made to be read only, or written only, by the host.
    #[error("the map may only be {only} by the host")]
    Access {
        /// What the host may do.
        only: &'static str,
    },
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

/// The kernel's own `ENOTSUPP`, which no header for user space names.
const ENOTSUPP: i32 = 524;

impl MapError {
    /// The kernel's number for it, positive.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        match self {
            MapError::Exists => libc::EEXIST,
            MapError::NotFound => libc::ENOENT,
            MapError::Full { .. } | MapError::IndexTooLarge { .. } | MapError::TooLong { .. } => libc::E2BIG,
            MapError::InvalidFlags { .. }
            | MapError::KeySize { .. }
            | MapError::ValueSize { .. }
            | MapError::NotDeletable
            | MapError::NoSuchIndex { .. }
            | MapError::PrefixLength { .. }
            | MapError::Keyless
            | MapError::IncompatibleProgram
            | MapError::OtherInnerMap { .. }
            | MapError::OtherRuntime
            | MapError::TraceLoop
            | MapError::NoDevice
            | MapError::Corrupt { .. } => libc::EINVAL,
            MapError::NoRoom { .. } | MapError::NoSpace => libc::ENOSPC,
            MapError::NoElements | MapError::OtherKind { .. } => ENOTSUPP,
            MapError::Unsupported | MapError::OtherSlot => libc::EOPNOTSUPP,
            MapError::NotBytes => libc::EBADF,
            MapError::OfPrograms => libc::EACCES,
            MapError::InRun => libc::EDEADLK,
            MapError::NoMemory => libc::ENOMEM,
            MapError::TraceVariant => libc::ENOTSUP,
            MapError::Overdue => libc::ETIMEDOUT,
            MapError::NoThread { .. } => libc::ESRCH,
            MapError::NoSlot { .. } => libc::ERANGE,
            MapError::Busy => libc::EBUSY,
            MapError::Frozen | MapError::Access { .. } => libc::EPERM,
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
    #[error("map {name}: type {} is not supported{}", crate::load_maps::type_name(kind.number()), crate::load_maps::reason(kind.number()))]
    Kind {
        /// The map's name.
        name: String,
        /// The type.
        kind: MapKind,
    },
    /// `-EINVAL`: a map of maps without a description of the maps in it.
    #[error("map {name}: what the maps in it are like is not said")]
    NoTemplate {
        /// The map's name.
        name: String,
    },
    /// `-ENOTSUPP`: maps of this type cannot be in others.
    #[error("map {name}: maps of type {} cannot be in others", super::kind_name(*kind))]
    Template {
        /// The map's name.
        name: String,
        /// The type.
        kind: MapKind,
    },
    /// `-ENOTSUPP`: the elements of an LRU map are there from the start.
    #[error("map {name}: BPF_F_NO_PREALLOC is not for LRU maps, whose elements are there from the start")]
    LruOnDemand {
        /// The map's name.
        name: String,
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
    /// `-EOPNOTSUPP`: values of maps of this type cannot have such a field.
    #[error("map {name}: values of a map of type {} cannot have a {field}", super::kind_name(*kind))]
    Field {
        /// The map's name.
        name: String,
        /// The type.
        kind: MapKind,
        /// The struct that the field is.
        field: &'static str,
    },
    /// `-EACCES`: such a field is for programs to read and write.
    #[error("map {name}: a {field} needs programs to read and write the values")]
    Protected {
        /// The map's name.
        name: String,
        /// The struct that the field is.
        field: &'static str,
    },
    /// `-ENOTSUPP`: keys and values of maps of this type have no types.
    #[error("map {name}: keys and values of a map of type {} have no types", super::kind_name(*kind))]
    Untyped {
        /// The map's name.
        name: String,
        /// The type.
        kind: MapKind,
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
    /// `-EPERM`: the maps of the runtime would take up more than they may ([`MemoryLimit`](crate::MemoryLimit)).
    #[error("map {name}: {bytes} bytes are needed, but {used} of {limit} are in use; raise the limit on memory")]
    Limit {
        /// The map's name.
        name: String,
        /// What it would take up.
        bytes: u64,
        /// What the other maps take up.
        used: u64,
        /// What all maps may take up.
        limit: u64,
    },
    /// `-EINVAL`: a map that cannot be kept in a file, since it refers to programs, maps, buffers or threads of the process.
    #[error("map {name}: a map of type {} cannot be kept in a file", super::kind_name(*kind))]
    NotKept {
        /// The map's name.
        name: String,
        /// The type.
        kind: MapKind,
    },
    /// The file that the map is to be kept in could not be made.
    #[error("map {name}: cannot be kept in {}", path.display())]
    File {
        /// The map's name.
        name: String,
        /// The file.
        path: std::path::PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// `-EINVAL`: the region in a file is not as long as such a map's.
    #[error("map {name}: its region in the file has {found} bytes, expected {expected}")]
    OtherSize {
        /// The map's name.
        name: String,
        /// Bytes of the region.
        found: u64,
        /// What such a map's has.
        expected: u64,
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

impl MapCreateError {
    /// The kernel's number for it, positive.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            MapCreateError::Invalid { .. }
            | MapCreateError::Kind { .. }
            | MapCreateError::Flags { .. }
            | MapCreateError::NotKept { .. }
            | MapCreateError::OtherSize { .. }
            | MapCreateError::NoTemplate { .. } => libc::EINVAL,
            MapCreateError::File { source, .. } => source.raw_os_error().unwrap_or(libc::EEXIST),
            MapCreateError::Template { .. } | MapCreateError::LruOnDemand { .. } | MapCreateError::Untyped { .. } => {
                ENOTSUPP
            }
            MapCreateError::Field { .. } => libc::EOPNOTSUPP,
            MapCreateError::Protected { .. } => libc::EACCES,
            MapCreateError::TooLarge { .. } => libc::E2BIG,
            MapCreateError::Limit { .. } => libc::EPERM,
            MapCreateError::Memory { .. } => libc::ENOMEM,
        }
    }
}

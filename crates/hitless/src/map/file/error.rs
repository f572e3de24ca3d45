//! Why a map's file could not be opened.

use std::io;
use std::path::PathBuf;

use super::super::MapCreateError;
use super::super::audit::Audit;

/// Why a map could not be opened from a file.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the map in {}", path.display())]
pub struct MapOpenError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub reason: MapOpenReason,
}

/// What was wrong with the file of a map.
#[derive(Debug, thiserror::Error)]
pub enum MapOpenReason {
    /// The system refuses it.
    #[error(transparent)]
    System(#[from] io::Error),
    /// `-EINVAL`: a directory, a device, a pipe.
    #[error("not a regular file")]
    NotAFile,
    /// `-EBUSY`: a process has the map open, maybe this one; or a child of it that has neither ended nor executed another program.
    #[error("the map is in use by the process that has it open")]
    InUse,
    /// `-EINVAL`: it is too short to have a header, or not as long as its header says.
    #[error("{found} bytes long, expected {expected}")]
    Length {
        /// How long it is.
        found: u64,
        /// How long it should be.
        expected: u64,
    },
    /// `-EINVAL`: it does not begin as the file of a map does.
    #[error("not the file of a map")]
    Magic,
    /// `-EINVAL`: another version of hitless has made it.
    #[error("format version {found}, expected {expected}")]
    Version {
        /// That of the file.
        found: u32,
        /// The only one that is known.
        expected: u32,
    },
    /// `-EINVAL`: a machine with another byte order has made it.
    #[error("made by a machine of another byte order")]
    ByteOrder,
    /// `-EINVAL`: the header was damaged.
    #[error("checksum of the header {found:#010x}, expected {expected:#010x}")]
    Checksum {
        /// What it says.
        found: u32,
        /// What it is.
        expected: u32,
    },
    /// `-EINVAL`: the header, though its checksum is right, says what cannot be.
    #[error("the header has a {what} of {found}")]
    Header {
        /// Which of its fields.
        what: &'static str,
        /// What it says.
        found: u64,
    },
    /// `-EINVAL`: the map was made for another number of slots, and has something for each.
    #[error("made for {found} slots, the runtime has {expected}; make the runtime with as many (Options::slots)")]
    Slots {
        /// How many the map is for.
        found: u32,
        /// How many the runtime has.
        expected: u32,
    },
    /// There is no such map, or no memory for it.
    #[error(transparent)]
    Map(#[from] MapCreateError),
    /// `-EUCLEAN`: the map was damaged by something else than the end of its process.
    #[error("damaged: {0}; see hitless map check --repair")]
    Damaged(Audit),
}

impl MapOpenReason {
    /// The kernel's number for it, positive.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            MapOpenReason::System(error) => error.raw_os_error().unwrap_or(libc::EIO),
            MapOpenReason::InUse => libc::EBUSY,
            MapOpenReason::Map(error) => error.errno(),
            MapOpenReason::Damaged(_) => libc::EUCLEAN,
            MapOpenReason::NotAFile
            | MapOpenReason::Length { .. }
            | MapOpenReason::Magic
            | MapOpenReason::Version { .. }
            | MapOpenReason::ByteOrder
            | MapOpenReason::Checksum { .. }
            | MapOpenReason::Header { .. }
            | MapOpenReason::Slots { .. } => libc::EINVAL,
        }
    }
}

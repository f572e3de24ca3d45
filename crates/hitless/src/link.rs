//! Links: what attaches a program to a hook or to a map.

use std::sync::Arc;

use crate::program::BuildError;
use crate::run::SyncError;
use crate::runtime::Inner;
use crate::sys;

/// An attachment, undone when the link is dropped.
#[derive(Debug)]
#[must_use = "the program is detached when the link is dropped"]
pub struct Link {
    runtime: Arc<Inner>,
    id: u32,
}

impl Link {
    pub(crate) fn new(runtime: Arc<Inner>, id: u32) -> Link {
        Link { runtime, id }
    }

    /// The link's id, unique in its runtime.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Detaches; when it returns, the program no longer runs here.
    ///
    /// # Errors
    /// [`SyncError::Deadlock`] from inside a run; then the program stays attached until the runtime ends.
    pub fn detach(self) -> Result<(), SyncError> {
        self.runtime.detach(self.id)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if sys::forked() {
            // The parent's business.
            return;
        }
        // A second detach finds nothing; one from inside a run is refused, which the docs of `detach` name.
        let _ = self.runtime.detach(self.id);
    }
}

/// Why a program could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// `-EINVAL`: the program is of another type.
    #[error("program {program} is of type {found}, expected {expected}")]
    WrongType {
        /// The program.
        program: String,
        /// Its type.
        found: String,
        /// What the place takes.
        expected: String,
    },
    /// `-EACCES`: the tracer reads past the end of the map's key or value.
    #[error("tracer {program} reads {extent} bytes of the {field}, but in map {map} it has {size}")]
    OutOfBounds {
        /// The tracer.
        program: String,
        /// The map.
        map: String,
        /// `key` or `value`.
        field: &'static str,
        /// How many bytes the program may read.
        extent: u32,
        /// How many there are.
        size: u32,
    },
    /// `-EINVAL`: the maps that the tracer may write lead back to the traced map.
    #[error("tracing map {map} with this program would loop: what it writes leads back to the map")]
    Loop {
        /// The map.
        map: String,
    },
    /// `-E2BIG`: the map has as many tracers for this event as it may.
    #[error("map {map} has {limit} tracers for this event already")]
    TooMany {
        /// The map.
        map: String,
        /// The limit.
        limit: usize,
    },
    /// `-EINVAL`: the program, and what it is to be attached to, belong to different runtimes.
    #[error("program {program} belongs to another runtime than what it is to be attached to")]
    OtherRuntime {
        /// The program.
        program: String,
    },
    /// `-ESTALE`: the program writes a map whose content an upgrade has moved to another map.
    #[error("program {program} writes map {map}, which was replaced by an upgrade")]
    Migrated {
        /// The program.
        program: String,
        /// The map.
        map: String,
    },
    /// The traced variant of a program that writes the map could not be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// `-EDEADLK`: called from inside a run.
    #[error(transparent)]
    Sync(#[from] SyncError),
}

impl AttachError {
    /// The kernel's number for it, positive.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        match self {
            AttachError::WrongType { .. } | AttachError::OtherRuntime { .. } | AttachError::Loop { .. } => libc::EINVAL,
            AttachError::Migrated { .. } => libc::ESTALE,
            AttachError::OutOfBounds { .. } => libc::EACCES,
            AttachError::TooMany { .. } => libc::E2BIG,
            AttachError::Build(_) => libc::ENOTSUP,
            AttachError::Sync(SyncError::Deadlock) => libc::EDEADLK,
            AttachError::Sync(SyncError::TimedOut { .. }) => libc::ETIMEDOUT,
        }
    }
}

//! What some kinds of maps can do beside, or instead of, finding elements by keys.

use super::inner::InnerMaps;
use super::perf::PerfEventArray;
use super::prog_array::ProgArray;
use super::ringbuf::Ringbuf;
use super::task_storage::TaskStorage;
use super::user_ringbuf::UserRingbuf;
use super::values::ValueOps;
use super::{Key, Map, MapError, UpdateFlags};
use crate::run::Run;

/// What a kind can do beside, or instead of, finding elements by keys.
pub(crate) enum Special<'a> {
    /// Nothing.
    None,
    /// Push, pop and peek.
    Values(&'a dyn ValueOps),
    /// A ring buffer that programs write.
    Ringbuf(&'a Ringbuf),
    /// A ring buffer that the host writes.
    UserRingbuf(&'a UserRingbuf),
    /// Programs for tail calls.
    Programs(&'a ProgArray),
    /// Maps.
    Maps(&'a dyn InnerMaps),
    /// Buffers for records.
    Events(&'a PerfEventArray),
    /// Values of threads.
    Tasks(&'a TaskStorage),
}

impl Map {
    /// Push, pop and peek, in a queue, stack or bloom filter.
    pub(crate) fn values(&self) -> Option<&dyn ValueOps> {
        match self.ops.special() {
            Special::Values(values) => Some(values),
            _ => None,
        }
    }

    /// The ring buffer that programs write.
    pub(crate) fn ringbuf(&self) -> Option<&Ringbuf> {
        match self.ops.special() {
            Special::Ringbuf(ringbuf) => Some(ringbuf),
            _ => None,
        }
    }

    /// The ring buffer that the host writes.
    pub(crate) fn user_ringbuf(&self) -> Option<&UserRingbuf> {
        match self.ops.special() {
            Special::UserRingbuf(ringbuf) => Some(ringbuf),
            _ => None,
        }
    }

    /// The programs for tail calls.
    pub(crate) fn programs(&self) -> Option<&ProgArray> {
        match self.ops.special() {
            Special::Programs(programs) => Some(programs),
            _ => None,
        }
    }

    /// The maps in it.
    pub(crate) fn inner_maps(&self) -> Option<&dyn InnerMaps> {
        match self.ops.special() {
            Special::Maps(maps) => Some(maps),
            _ => None,
        }
    }

    /// The buffers for records.
    pub(crate) fn events(&self) -> Option<&PerfEventArray> {
        match self.ops.special() {
            Special::Events(events) => Some(events),
            _ => None,
        }
    }

    /// The values of threads.
    pub(crate) fn tasks(&self) -> Option<&TaskStorage> {
        match self.ops.special() {
            Special::Tasks(tasks) => Some(tasks),
            _ => None,
        }
    }

    /// Whether `len` bytes at an address lie in records of a ring buffer.
    pub(crate) fn holds_record(&self, address: u64, len: usize) -> bool {
        match self.ops.special() {
            Special::Ringbuf(ringbuf) => ringbuf.holds(address, len),
            Special::UserRingbuf(ringbuf) => ringbuf.holds(address, len),
            _ => false,
        }
    }

    /// Looks up in a map of another sort: the next value of a queue, for instance. `None` if it is of the usual sort.
    pub(super) fn lookup_special(&self, key: &[u8], value: &mut [u8]) -> Option<Result<bool, MapError>> {
        let error = match self.ops.special() {
            Special::Values(_) => return Some(self.check_key(key).and_then(|_| self.next_into(value, false))),
            Special::Ringbuf(_) | Special::UserRingbuf(_) => MapError::NoElements,
            Special::Events(_) => self.lacks("lookup"),
            Special::None | Special::Programs(_) | Special::Maps(_) | Special::Tasks(_) => return None,
        };
        Some(Err(error))
    }

    /// Updates a map of another sort: pushes to a queue, for instance. `None` if it is of the usual sort.
    pub(super) fn update_special(&self, key: &[u8], value: &[u8], flags: UpdateFlags) -> Option<Result<(), MapError>> {
        let error = match self.ops.special() {
            Special::None | Special::Tasks(_) => return None,
            // No such value has a spin lock.
            _ if flags.bits() & UpdateFlags::LOCK.bits() != 0 => MapError::InvalidFlags { flags: flags.bits() },
            Special::Values(_) => return Some(self.check_key(key).and_then(|_| self.push(value, flags))),
            Special::Ringbuf(_) | Special::UserRingbuf(_) => MapError::NoElements,
            Special::Programs(_) | Special::Maps(_) | Special::Events(_) => MapError::NotBytes,
        };
        Some(Err(error))
    }

    /// Deletes from a map of another sort. `None` if it is of the usual sort.
    pub(super) fn delete_special(&self, key: &[u8]) -> Option<Result<(), MapError>> {
        match self.ops.special() {
            Special::Values(_) | Special::Ringbuf(_) | Special::UserRingbuf(_) => {
                let refused = |run: &Run<'_>| self.ops.delete(run, &Key::from_words(0, |_| 0));
                Some(self.check_key(key).and_then(|_| self.slots.run(refused)?))
            }
            Special::Programs(_) | Special::Maps(_) | Special::Events(_) => Some(self.delete_object(key)),
            Special::None | Special::Tasks(_) => None,
        }
    }

    /// What an operation says that maps of this type do not have.
    pub(super) fn lacks(&self, operation: &'static str) -> MapError {
        MapError::OtherKind {
            kind: self.def.kind,
            operation,
        }
    }
}

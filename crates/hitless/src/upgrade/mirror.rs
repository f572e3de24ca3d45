//! The tracer that an upgrade hangs on an old map: it brings every change over into the new one.

use std::ops::Range;
use std::sync::Arc;

use hitless_btf::layout::Transform;

use crate::map::{Key, Map, MapError, UpdateFlags};
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::primitive::relax;
use crate::region::SharedBytes;
use crate::run::Run;
use crate::scratch::Scratch;
use crate::trace::{Cell, Mirror};

/// How often a full new map is tried again. It can be full for a moment though it is as large as the old one: another thread
/// has deleted an element, its place was taken at once, and its own mirror has yet to delete it here.
const FULL_TRIES: u32 = 20_000;

/// Carries changes of one old map into its successor. Every method is called with the stripe of the key held, so for each
/// key the changes arrive in the order in which they happened.
pub(super) struct MapMirror {
    new: Arc<Map>,
    key: Transform,
    value: Transform,
    /// Bytes of old keys that are not carried over; they must be zero, lest two keys become one.
    key_padding: Vec<Range<usize>>,
    buffers: Scratch,
    updates: AtomicU64,
    deletes: AtomicU64,
    poison: AtomicU32,
}

/// Why the new map can no longer be an exact image of the old one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[repr(u32)]
pub enum Poison {
    /// The new map had no room for an element of the old one.
    #[error("the new map has no room for an element of the old one")]
    Full = 1,
    /// The new map, or a value of the old one, could not be locked.
    #[error("a change was made in a signal handler that interrupted another one")]
    Busy = 2,
    /// A key has something in padding bytes, which are not carried over.
    #[error("a key of the old map has other bytes than zero in its padding, so two keys could become one")]
    Padding = 3,
    /// A change could not be registered for tracing.
    #[error("a program wrote more elements through pointers than could be registered")]
    Lost = 4,
}

impl Poison {
    const ALL: [Poison; 4] = [Poison::Full, Poison::Busy, Poison::Padding, Poison::Lost];
}

impl MapMirror {
    pub(super) fn new(new: Arc<Map>, key: Transform, value: Transform, slots: usize) -> MapMirror {
        let buffers = Scratch::new(slots, key.new_size() + value.old_size() + value.new_size());
        MapMirror {
            new,
            key_padding: key.unread(),
            key,
            value,
            buffers,
            updates: AtomicU64::new(0),
            deletes: AtomicU64::new(0),
            poison: AtomicU32::new(0),
        }
    }

    pub(super) fn updates(&self) -> u64 {
        self.updates.load(Relaxed)
    }

    pub(super) fn deletes(&self) -> u64 {
        self.deletes.load(Relaxed)
    }

    /// Why the copy is not exact, if it is not.
    pub(super) fn poison(&self) -> Option<Poison> {
        let code = self.poison.load(Acquire);
        Poison::ALL.into_iter().find(|poison| *poison as u32 == code)
    }

    fn set_poison(&self, poison: Poison) {
        // The first reason stays.
        let _ = self.poison.compare_exchange(0, poison as u32, Release, Relaxed);
    }

    /// Brings the current value of a key's element over; its stripe is held.
    pub(super) fn copy(&self, run: &Run<'_>, old: &Map, key: &[u8], cell: Cell) {
        let copied = self.with_key(run, key, |new_key, values| {
            let (old_value, new_value) = values.split_at_mut(self.value.old_size());
            old.read_element(run, cell, old_value)?;
            self.value.apply(old_value, new_value);
            self.insert(run, new_key, new_value)
        });
        match copied {
            Ok(()) => {}
            Err(MapError::Full { .. }) => self.set_poison(Poison::Full),
            Err(_) => self.set_poison(Poison::Busy),
        }
    }

    /// Gives `f` the new key, and space for an old and a new value.
    fn with_key(
        &self,
        run: &Run<'_>,
        key: &[u8],
        f: impl FnOnce(&Key, &mut [u8]) -> Result<(), MapError>,
    ) -> Result<(), MapError> {
        if self
            .key_padding
            .iter()
            .any(|range| key[range.clone()].iter().any(|byte| *byte != 0))
        {
            self.set_poison(Poison::Padding);
        }
        let result = self.buffers.with(run, |buffer| {
            let (new_key, values) = buffer.split_at_mut(self.key.new_size());
            self.key.apply(key, new_key);
            f(&Key::new(SharedBytes::from_slice(new_key)), values)
        });
        result.unwrap_or(Err(MapError::Busy))
    }

    fn insert(&self, run: &Run<'_>, key: &Key, value: &[u8]) -> Result<(), MapError> {
        let mut turn = 0;
        loop {
            match self
                .new
                .update_untraced(run, key, SharedBytes::from_slice(value), UpdateFlags::ANY)
            {
                Ok(_) => return Ok(()),
                Err(MapError::Full { .. }) if turn < FULL_TRIES => relax(turn.min(512)),
                Err(error) => return Err(error),
            }
            turn += 1;
        }
    }
}

impl Mirror for MapMirror {
    fn updated(&self, run: &Run<'_>, map: &Map, key: &[u8], cell: Cell) {
        self.copy(run, map, key, cell);
        self.updates.fetch_add(1, Relaxed);
    }

    fn removed(&self, run: &Run<'_>, key: &[u8], _evicted: bool) {
        let deleted = self.with_key(run, key, |new_key, _| match self.new.delete_untraced(run, new_key) {
            // The bulk copy may not have come to it yet.
            Ok(()) | Err(MapError::NotFound) => Ok(()),
            Err(error) => Err(error),
        });
        if deleted.is_err() {
            self.set_poison(Poison::Busy);
        }
        self.deletes.fetch_add(1, Relaxed);
    }

    fn lost(&self) {
        self.set_poison(Poison::Lost);
    }
}

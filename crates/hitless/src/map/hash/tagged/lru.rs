//! Full maps that evict.
//!
//! Buckets have nothing behind them. When there is no room, in the bucket or in the map, the bucket evicts one of its own
//! elements: one that has not been used since all of the bucket had been, in turns. The meta word's own bits hold who was used (9..0)
//! and whose turn it is (13..10). A new element has not been used. So what is asked for once goes before what is asked for
//! again and again: with keys by Zipf's law more are found than if the oldest went. If the bucket is empty but there is no free
//! element, one of the buckets that follow evicts, if it is not locked. While the map is traced, it does not evict by itself
//! (`Put::evict`): whoever inserts first deletes the next victim.

use super::super::bucket::{Meta, Tried, publish, publish_locked, try_lock};
use super::{ALL, Content, Held, Place, SLOTS, Tagged};
use crate::map::key::Words;
use crate::map::{Elem, Key, MapError, MapOps};
use crate::primitive::Ordering::{Acquire, Relaxed};
use crate::run::Run;

/// How many buckets, its own among them, a key may find somebody to evict in.
const NEIGHBOURS: u32 = 64;
/// Where the meta word has whose turn it is.
const TURN: u32 = 10;

impl<const LRU: bool> Tagged<LRU> {
    /// Inserts a key whose bucket is held, in an LRU map, and lets go of the bucket.
    pub(super) fn insert_evicting<K: Words>(
        &self,
        run: &Run<'_>,
        held: Held,
        content: &Content<'_, K>,
    ) -> Result<Elem, MapError> {
        let Held { home, meta, tag } = held;
        let free = self.tags(home).matches(0);
        let mut reason = MapError::Full {
            max_entries: self.common.max_entries,
        };
        let from_pool = match free {
            0 => None,
            // With nothing to evict here, it pays to look further.
            ALL => self.pool.take(run, self).unwrap_or_else(|error| {
                reason = error;
                None
            }),
            _ => self.pool.take_near(run, self),
        };
        let evict = content.put.evict;
        let (slot, index, meta) = match from_pool {
            Some(index) => (free.trailing_zeros(), index, meta),
            None if evict && free != ALL => {
                let (place, meta) = self.evict(home, meta, free);
                // Before the element is used again.
                publish_locked(run, self.meta(home), meta);
                (place.slot, place.index, meta)
            }
            None => match evict.then(|| self.evict_neighbour(run, home)).flatten() {
                Some(index) => (0, index, meta),
                None => {
                    publish(self.meta(home), meta);
                    return Err(reason);
                }
            },
        };
        self.fill(run, index, content);
        let bucket = home;
        self.set(Place { bucket, slot, index }, tag);
        publish(self.meta(home), meta);
        Ok(Elem(index))
    }

    /// Takes the element that is to go out of a bucket that is held; `free` are the slots without one. Returns it,
    /// and the meta word to be published before it is used again.
    fn evict(&self, bucket: u32, meta: Meta, free: u32) -> (Place, Meta) {
        let (slot, own) = choose(meta.own() as u32, ALL & !free);
        let index = self.index(bucket, slot).load(Relaxed);
        let place = Place { bucket, slot, index };
        self.unset(place);
        (place, meta.with(own.into()).next_version())
    }

    /// Evicts an element of another bucket, one of those that follow, for a key whose own bucket has none.
    #[cold]
    fn evict_neighbour(&self, run: &Run<'_>, home: u32) -> Option<u32> {
        for bucket in self.neighbours(home) {
            if self.tags(bucket).matches(0) == ALL {
                continue;
            }
            // Another thread may wait for the home bucket with this one held.
            let Tried::Locked(meta) = try_lock(run, self.meta(bucket)) else {
                continue;
            };
            let free = self.tags(bucket).matches(0);
            if free == ALL {
                publish(self.meta(bucket), meta);
                continue;
            }
            let (place, meta) = self.evict(bucket, meta, free);
            publish(self.meta(bucket), meta);
            return Some(place.index);
        }
        None
    }

    /// The buckets that follow, as far as anybody looks.
    pub(super) fn neighbours(&self, home: u32) -> impl Iterator<Item = u32> {
        let buckets = self.buckets;
        (1..buckets.min(NEIGHBOURS)).map(move |i| ((u64::from(home) + u64::from(i)) % u64::from(buckets)) as u32)
    }

    /// The key that is to go from a bucket.
    pub(super) fn next_victim(&self, bucket: u32) -> Option<Key> {
        let held = ALL & !self.tags(bucket).matches(0);
        if held == 0 {
            return None;
        }
        let (slot, _) = choose(Meta::load(self.meta(bucket)).own() as u32, held);
        self.key_of(Elem(self.index(bucket, slot).load(Acquire)))
    }
}

/// Which of the slots that hold something is to go, and the bits of the bucket after that.
fn choose(own: u32, held: u32) -> (u32, u32) {
    let turn = (own >> TURN) % SLOTS;
    let used = if own & held == held { 0 } else { own & held };
    let candidates = held & !used;
    let ahead = candidates & (ALL << turn);
    let slot = if ahead == 0 { candidates } else { ahead }.trailing_zeros();
    (slot, used & !(1 << slot) | ((slot + 1) % SLOTS) << TURN)
}

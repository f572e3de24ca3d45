//! Full maps that evict.
//!
//! Buckets have nothing behind them. When there is no room, in the bucket or in the map, the bucket evicts one of its own
//! elements that have no use to their credit, in turns. An element gets two at most: for the first use a bit of the meta word's own
//! (9..0; 13..10 is whose turn it is), for another one a bit beside the tags. When all elements of a bucket have one, each
//! loses one. A new element has none. So what is asked for once goes before what is asked for again and again: with keys by
//! Zipf's law more are found than if the oldest went. The bits are hints, and one may be lost.
//!
//! If the bucket is empty but there is no free element, one of the buckets that follow evicts, if it is not locked. While the map is
//! traced, it does not evict by itself (`Put::evict`): whoever inserts first deletes the next victim.

use super::super::bucket::{Meta, Tried, publish, publish_locked, try_lock};
use super::{ALL, Content, Held, Place, SLOTS, TAGS, Tagged};
use crate::map::key::Words;
use crate::map::{Elem, Key, MapError, MapOps};
use crate::primitive::Ordering::{Acquire, Relaxed};
use crate::run::Run;

/// How many buckets, its own among them, a key may find somebody to evict in.
const NEIGHBOURS: u32 = 64;
/// Where the meta word has whose turn it is.
const TURN: u32 = 10;
/// Where the second word of tags has who was used again.
const AGAIN: u32 = 16;

impl<const LRU: bool> Tagged<LRU> {
    /// Notes that an element was used, which was found while its bucket's meta word was this one.
    #[inline(always)]
    pub(super) fn note_use(&self, place: Place, meta: Meta) {
        let used = 1 << place.slot;
        if LRU && meta.own() & used == 0 {
            self.meta(place.bucket).fetch_or(used, Relaxed);
        } else if LRU {
            self.note_use_again(place);
        }
    }

    /// Likewise of a bucket that is held; returns the meta word to be published.
    #[inline(always)]
    pub(super) fn note_use_held(&self, place: Place, meta: Meta) -> Meta {
        let used = 1 << place.slot;
        if !LRU {
            return meta;
        }
        if meta.own() & used != 0 {
            self.note_use_again(place);
        }
        meta.with(meta.own() | used)
    }

    #[inline(always)]
    fn note_use_again(&self, place: Place) {
        let (word, again) = (self.word(place.bucket, TAGS[1]), 1 << (AGAIN + place.slot));
        if word.load(Relaxed) & again == 0 {
            word.fetch_or(again, Relaxed);
        }
    }

    /// Forgets that an element of a bucket that is held was used; returns the meta word to be published.
    #[inline(always)]
    pub(super) fn forget_use(&self, place: Place, meta: Meta) -> Meta {
        if !LRU {
            return meta;
        }
        let word = self.word(place.bucket, TAGS[1]);
        word.store(word.load(Relaxed) & !(1 << (AGAIN + place.slot)), Relaxed);
        meta.with(meta.own() & !(1 << place.slot))
    }

    /// Who was used again, in a bucket.
    fn used_again(&self, bucket: u32) -> u32 {
        (self.word(bucket, TAGS[1]).load(Relaxed) >> AGAIN) as u32 & ALL
    }

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
                self.forget(run, place.index);
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
        let chosen = choose(meta.own() as u32, self.used_again(bucket), ALL & !free);
        let slot = chosen.slot;
        let index = self.index(bucket, slot).load(Relaxed);
        let place = Place { bucket, slot, index };
        self.unset(place);
        let word = self.word(bucket, TAGS[1]);
        let others = word.load(Relaxed) & !(u64::from(ALL) << AGAIN);
        word.store(others | u64::from(chosen.again) << AGAIN, Relaxed);
        (place, meta.with(chosen.own.into()).next_version())
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
            self.forget(run, place.index);
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
        let own = Meta::load(self.meta(bucket)).own() as u32;
        let slot = choose(own, self.used_again(bucket), held).slot;
        self.key_of(Elem(self.index(bucket, slot).load(Acquire)))
    }
}

/// Which slot is to go, and the bits of its bucket after that.
struct Chosen {
    slot: u32,
    own: u32,
    again: u32,
}

/// Chooses among the slots that hold something, at least one.
fn choose(own: u32, again: u32, held: u32) -> Chosen {
    let turn = (own >> TURN) % SLOTS;
    let (mut used, mut again) = (own & held, again & own & held);
    if used == held {
        // Each loses a use; if that leaves each with one, then that too.
        used = if again == held { 0 } else { again };
        again = 0;
    }
    let candidates = held & !used;
    let ahead = candidates & (ALL << turn);
    let slot = if ahead == 0 { candidates } else { ahead }.trailing_zeros();
    Chosen {
        slot,
        own: used | ((slot + 1) % SLOTS) << TURN,
        again,
    }
}

//! What every kind of map implements.

use super::{Content, SLOTS, Tagged};
use crate::map::audit::Audit;
use crate::map::common::Common;
use crate::map::{Elem, Key, MapCalls, MapError, MapOps, Put};
use crate::primitive::Ordering::{Acquire, Relaxed};
use crate::region::SharedBytes;
use crate::run::Run;

impl<const LRU: bool> MapOps for Tagged<LRU> {
    fn lookup(&self, key: &Key) -> Option<Elem> {
        self.find(key).map(|(place, _)| Elem(place.index))
    }

    fn update(&self, run: &Run<'_>, key: &Key, value: SharedBytes<'_>, put: Put) -> Result<Elem, MapError> {
        self.put(run, &Content { key, value, put })
    }

    fn delete(&self, run: &Run<'_>, key: &Key) -> Result<(), MapError> {
        self.take_out(run, key, |_| ())
    }

    fn take(&self, run: &Run<'_>, key: &Key, look: &mut dyn FnMut(Elem)) -> Result<(), MapError> {
        self.take_out(run, key, look)
    }

    fn indices(&self) -> u32 {
        self.elements
    }

    fn key_of(&self, elem: Elem) -> Option<Key> {
        // What was never used is not touched, so that nobody pays for it.
        let used = elem.0 < self.pool.used() || elem.0 >= self.common.max_entries;
        let word = |i| self.key_word(elem.0, i).load(Relaxed);
        (used && elem.0 < self.elements).then(|| Key::from_words(self.common.key_size as usize, word))
    }

    fn value(&self, elem: Elem, slot: u32) -> SharedBytes<'_> {
        self.region
            .bytes(self.values.offset(elem.0, slot), self.common.value_size as usize)
    }

    fn element_at(&self, address: u64, len: usize) -> Option<Elem> {
        let off = self.region.offset_of(address)?;
        self.values
            .element_at(off, len, self.common.value_size as usize, self.elements)
    }

    fn victim(&self, key: &Key) -> Option<Key> {
        if !LRU {
            return None;
        }
        let home = self.home(self.seed.hash(key));
        let mut buckets = std::iter::once(home).chain(self.neighbours(home));
        buckets.find_map(|bucket| self.next_victim(bucket))
    }

    fn stripe_hash(&self, key: &Key) -> u64 {
        self.seed.hash(key) >> 32
    }

    fn positions(&self) -> u64 {
        u64::from(self.buckets + self.used_buckets.load(Acquire)) * u64::from(SLOTS)
    }

    fn at(&self, position: u64) -> Option<Elem> {
        let (bucket, slot) = (
            (position / u64::from(SLOTS)) as u32,
            (position % u64::from(SLOTS)) as u32,
        );
        if bucket >= self.buckets + self.overflow || self.tags(bucket).matches(0) & 1 << slot != 0 {
            return None;
        }
        Some(Elem(self.index(bucket, slot).load(Acquire)))
    }

    fn place_of(&self, key: &Key) -> Option<(u64, Elem)> {
        let (place, _) = self.find(key)?;
        let position = u64::from(place.bucket) * u64::from(SLOTS) + u64::from(place.slot);
        Some((position, Elem(place.index)))
    }

    fn recover(&mut self, audit: &mut Audit) {
        let (live, behind) = self.recover_chains(audit);
        self.recover_free(&live, &behind);
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn calls(&self) -> MapCalls {
        self.calls_by_size()
    }
}

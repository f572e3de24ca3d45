//! What every kind of map implements.

use super::super::bucket::Meta;
use super::super::credits::Credits;
use super::{BUCKET, INDICES, Inline, VALUES, WordKey};
use crate::map::audit::Audit;
use crate::map::common::Common;
use crate::map::key::Short;
use crate::map::{Elem, Key, MapCalls, MapError, MapOps, Put};
use crate::region::SharedBytes;
use crate::run::Run;

/// The key as a word.
fn word_key(key: &Key) -> WordKey {
    Short([key.words()[0]])
}

impl<const WIDE: bool> MapOps for Inline<WIDE> {
    fn lookup(&self, key: &Key) -> Option<Elem> {
        self.find(word_key(key)).map(|found| found.elem())
    }

    fn update(&self, run: &Run<'_>, key: &Key, value: SharedBytes<'_>, put: Put) -> Result<Elem, MapError> {
        self.put(run, word_key(key), value.load_word(), put.rule)
    }

    fn delete(&self, run: &Run<'_>, key: &Key) -> Result<(), MapError> {
        self.take_out(run, word_key(key), &mut |_| ())
    }

    fn take(&self, run: &Run<'_>, key: &Key, look: &mut dyn FnMut(Elem)) -> Result<(), MapError> {
        self.take_out(run, word_key(key), look)
    }

    fn indices(&self) -> u32 {
        self.buckets * INDICES
    }

    fn key_of(&self, elem: Elem) -> Option<Key> {
        let (bucket, slot) = (elem.0 / INDICES, elem.0 % INDICES);
        if bucket >= self.buckets {
            return None;
        }
        let words = self.words(bucket);
        if Meta::load(&words[0]).own() & Self::FULL & 1 << slot == 0 {
            return None;
        }
        let word = Self::key_at(words, slot).0[0];
        Some(Key::from_words(self.common.key_size as usize, |_| word))
    }

    fn value(&self, elem: Elem, _slot: u32) -> SharedBytes<'_> {
        let (bucket, slot) = (elem.0 / INDICES, elem.0 % INDICES);
        let off = bucket as usize * BUCKET + (VALUES + slot as usize) * 8;
        self.region.bytes(off, self.common.value_size as usize)
    }

    fn element_at(&self, address: u64, len: usize) -> Option<Elem> {
        let off = self.region.offset_of(address)?;
        let inside = (off % BUCKET).checked_sub(VALUES * 8)?;
        let (bucket, slot) = ((off / BUCKET) as u32, (inside / 8) as u32);
        let fits = bucket < self.buckets && inside % 8 + len <= self.common.value_size as usize;
        (fits && slot < Self::SLOTS).then_some(Elem(bucket * INDICES + slot))
    }

    fn stripe_hash(&self, key: &Key) -> u64 {
        self.seed.hash(key) >> 32
    }

    fn positions(&self) -> u64 {
        self.indices().into()
    }

    fn at(&self, position: u64) -> Option<Elem> {
        let elem = Elem(position as u32);
        self.key_of(elem).map(|_| elem)
    }

    fn place_of(&self, key: &Key) -> Option<(u64, Elem)> {
        self.lookup(key).map(|elem| (elem.0.into(), elem))
    }

    fn recover(&mut self, audit: &mut Audit) {
        self.recover_slots(audit);
        self.recover_counts(audit);
        let max_entries = self.common.max_entries;
        let left = u64::from(max_entries) - audit.elements;
        self.credits = Credits::new(self.slots, left as u32, max_entries);
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn calls(&self) -> MapCalls {
        self.calls_by_size()
    }
}

//! `BPF_MAP_TYPE_HASH`: everything in one flat region, readers without locks, elements that never move.
//!
//! ```text
//! 0     magic, version, sizes                     written once
//! 64    free list head: tag << 32 | index         one word, compare-and-swap
//! 72    elements never used so far                u32
//! 128   spare element of each slot                u32 each
//! ...   buckets: {lock, head, version, -: u32}    a power of two, at least max_entries
//! ...   elements: {next, free_next, generation, -: u32; key; value}   max_entries + slots, 8-byte aligned
//! ```
//!
//! A chain ends in a marker that names its bucket. A reader that follows an element which is deleted and recycled under
//! its feet may be led into another chain; it then meets a foreign marker and starts again (the idea of Linux'
//! `hlist_nulls`). It may also be led past a part of its own chain, by an element that was recycled further back in it; so
//! the bucket's version changes before an element that the chain has held is put into it again, and "not found" counts
//! only if the version was the same before and after. Thus no reader misses a key that was there throughout. `generation`
//! is odd while an element is rewritten; a match counts only if it was even and the same before and after the comparison. A
//! free element keeps its `next`.
//!
//! All links are zero in untouched memory: an index is stored plus one, and an empty bucket's head is zero. So creation touches
//! no bucket and no element; memory is paid for page by page.
//!
//! Writers hold the bucket's lock, which names the slot that holds it: a signal handler that interrupted that very holder
//! fails with [`MapError::Busy`]. Each change becomes visible by one store: of the bucket's head (insert), of the
//! predecessor's link (delete, and replace: the new element takes the old one's place in the chain). A value of at most
//! eight bytes is replaced by one store into the element itself.
//!
//! Elements come from the free list, `max_entries` of them, which makes that limit exact. A replacement takes the slot's
//! own spare and leaves the old element in its stead, so it needs no free element and works in a full map.
//! As in Linux, a deleted element may be handed out again at once.

use super::common::{Common, Values, calls_by_ops};
use super::{Creation, Elem, Key, MapCalls, MapCreateError, MapError, MapFlags, MapOps, Put, Rule, key};
use crate::lock::lock;
use crate::primitive::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::region::{Region, SharedBytes, round_up_8};
use crate::run::Run;
use hitless_verifier::MapKind;

const MAGIC: u64 = u64::from_le_bytes(*b"hitlesh1");
const FREE_HEAD: usize = 64;
const FRESH: usize = 72;
const SPARES: usize = 128;
const BUCKET: usize = 16;
const ELEMENT_HEADER: usize = 16;
/// A link with this bit is the end of the chain of the bucket that the rest names; another one but 0 is an index plus one.
const END: u32 = 1 << 31;
/// In place of a spare's index: it is in use.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Hash {
    common: Common,
    region: Region,
    seed: u64,
    key_size: usize,
    value_size: usize,
    max_entries: u32,
    values: Values,
    slots: u32,
    evicts: bool,
    hand: AtomicU32,
    elements: u32,
    bucket_mask: u32,
    buckets_at: usize,
    elements_at: usize,
    stride: usize,
    spin_lock: Option<usize>,
}

pub(super) fn make(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    Ok(Box::new(Hash::new(creation)?))
}

impl Hash {
    fn new(creation: &Creation<'_>) -> Result<Hash, MapCreateError> {
        let (def, slots) = (creation.def, creation.slots);
        creation.check(
            (1..=key::MAX_KEY_SIZE).contains(&(def.key_size as usize)),
            "key_size",
            def.key_size,
            "1 to 512 for a hash",
        )?;
        creation.check(def.value_size > 0, "value_size", def.value_size, "at least 1")?;
        creation.check(def.max_entries > 0, "max_entries", def.max_entries, "at least 1")?;
        let key_words = (def.key_size as usize).div_ceil(8);
        let value_stride = round_up_8(def.value_size as usize);
        let per_cpu = def.is_per_cpu();
        if per_cpu {
            creation.check_per_cpu_value()?;
        }
        let stride = ELEMENT_HEADER + key_words * 8 + if per_cpu { 0 } else { value_stride };
        let elements = u64::from(def.max_entries) + slots as u64;
        let buckets = u64::from(def.max_entries).next_power_of_two();
        let buckets_at = (SPARES + slots * 4).next_multiple_of(BUCKET);
        let elements_at = buckets_at as u64 + buckets * BUCKET as u64;
        let size = (stride + if per_cpu { slots * value_stride } else { 0 }) as u64;
        if elements >= u64::from(END) || buckets >= u64::from(END) {
            return Err(creation.too_large(size));
        }
        let end = elements_at + elements * stride as u64;
        let (values, bytes) = if per_cpu {
            let block = (elements * value_stride as u64).next_multiple_of(4096);
            let at = end.next_multiple_of(4096);
            let values = Values {
                at: at as usize,
                stride: value_stride,
                slot_stride: block as usize,
            };
            (values, at + block * slots as u64)
        } else {
            let values = Values {
                at: elements_at as usize + ELEMENT_HEADER + key_words * 8,
                stride,
                slot_stride: 0,
            };
            (values, end)
        };
        let region = creation.reserve(size, bytes)?;
        let hash = Hash {
            common: Common::new(def),
            region,
            seed: if def.flags.contains(MapFlags::ZERO_SEED) {
                0
            } else {
                random_seed()
            },
            key_size: def.key_size as usize,
            value_size: def.value_size as usize,
            max_entries: def.max_entries,
            values,
            slots: slots as u32,
            evicts: matches!(def.kind, MapKind::LruHash | MapKind::LruPercpuHash),
            hand: AtomicU32::new(0),
            elements: elements as u32,
            bucket_mask: (buckets - 1) as u32,
            buckets_at,
            elements_at: elements_at as usize,
            stride,
            spin_lock: def.spin_lock.map(|off| off as usize),
        };
        hash.format(slots as u32);
        Ok(hash)
    }

    /// Takes an element out of another bucket than the one that is locked.
    fn evict(&self, run: &Run<'_>, locked: u32) -> Option<u32> {
        for _ in 0..=self.bucket_mask {
            let bucket = self.hand.fetch_add(1, Relaxed) & self.bucket_mask;
            if bucket == locked || self.head(bucket).load(Relaxed) == 0 {
                continue;
            }
            let Ok(_guard) = lock(run, self.lock_word(bucket)) else {
                continue;
            };
            let head = self.head(bucket);
            if let Some(index) = element(head.load(Relaxed)) {
                head.store(self.next(index).load(Relaxed), Release);
                return Some(index);
            }
        }
        None
    }

    fn format(&self, slots: u32) {
        for slot in 0..slots {
            self.spare(slot).store(self.max_entries + slot, Relaxed);
        }
        self.region.word64(8).store(u64::from(self.max_entries), Relaxed);
        self.region
            .word64(16)
            .store((self.key_size as u64) << 32 | self.value_size as u64, Relaxed);
        self.region.word64(0).store(MAGIC, Release);
    }

    fn free_head(&self) -> &AtomicU64 {
        self.region.word64(FREE_HEAD)
    }

    fn spare(&self, slot: u32) -> &AtomicU32 {
        self.region.word32(SPARES + slot as usize * 4)
    }

    fn lock_word(&self, bucket: u32) -> &AtomicU32 {
        self.region.word32(self.buckets_at + bucket as usize * BUCKET)
    }

    fn head(&self, bucket: u32) -> &AtomicU32 {
        self.region.word32(self.buckets_at + bucket as usize * BUCKET + 4)
    }

    fn version(&self, bucket: u32) -> &AtomicU32 {
        self.region.word32(self.buckets_at + bucket as usize * BUCKET + 8)
    }

    fn at(&self, index: u32) -> usize {
        self.elements_at + index as usize * self.stride
    }

    fn next(&self, index: u32) -> &AtomicU32 {
        self.region.word32(self.at(index))
    }

    fn free_next(&self, index: u32) -> &AtomicU32 {
        self.region.word32(self.at(index) + 4)
    }

    fn generation(&self, index: u32) -> &AtomicU32 {
        self.region.word32(self.at(index) + 8)
    }

    fn key_word(&self, index: u32, word: usize) -> &AtomicU64 {
        self.region.word64(self.at(index) + ELEMENT_HEADER + word * 8)
    }

    fn value_at(&self, index: u32) -> usize {
        self.values.offset(index, 0)
    }

    fn is_per_cpu(&self) -> bool {
        self.values.slot_stride > 0
    }

    fn bucket_of(&self, key: &Key) -> u32 {
        (key.hash(self.seed) >> 32) as u32 & self.bucket_mask
    }

    fn key_equals(&self, index: u32, key: &Key) -> bool {
        key.words()
            .iter()
            .enumerate()
            .all(|(i, word)| self.key_word(index, i).load(Relaxed) == *word)
    }

    /// The element with this key and the link that leads to it, for a writer that holds the bucket's lock.
    fn find_locked(&self, bucket: u32, key: &Key) -> Option<(u32, &AtomicU32)> {
        let mut link = self.head(bucket);
        while let Some(index) = element(link.load(Relaxed)) {
            if self.key_equals(index, key) {
                return Some((index, link));
            }
            link = self.next(index);
        }
        None
    }

    /// An element that is in no chain: one that was freed, else one that was never used.
    fn pop_free(&self) -> Option<u32> {
        loop {
            let head = self.free_head().load(Acquire);
            let Some(index) = element(head as u32) else { break };
            let next = self.free_next(index).load(Relaxed);
            // The tag changes with every pop, so that a head that was popped and pushed back meanwhile is not mistaken.
            let tagged = ((head >> 32).wrapping_add(1) << 32) | u64::from(next);
            if self.free_head().compare_exchange(head, tagged, AcqRel, Relaxed).is_ok() {
                return Some(index);
            }
        }
        let fresh = self.region.word32(FRESH);
        loop {
            let used = fresh.load(Relaxed);
            if used >= self.max_entries {
                return None;
            }
            if fresh.compare_exchange(used, used + 1, Relaxed, Relaxed).is_ok() {
                return Some(used);
            }
        }
    }

    fn push_free(&self, index: u32) {
        loop {
            let head = self.free_head().load(Relaxed);
            self.free_next(index).store(head as u32, Relaxed);
            let tagged = (head & !u64::from(u32::MAX)) | u64::from(index + 1);
            if self
                .free_head()
                .compare_exchange(head, tagged, Release, Relaxed)
                .is_ok()
            {
                return;
            }
        }
    }

    /// Fills an element that no chain links; readers that still stand on it see from the generation that they must not.
    fn fill(&self, run: &Run<'_>, index: u32, key: &Key, value: SharedBytes<'_>, put: Put) {
        let generation = self.generation(index);
        generation.store(generation.load(Relaxed).wrapping_add(1), Relaxed);
        std::sync::atomic::fence(Release);
        let target = self.value(Elem(index), 0);
        // SAFETY: memory of this map's region, which is writable.
        unsafe {
            match self.spin_lock {
                None if self.is_per_cpu() => put
                    .cpus
                    .fill(run, value, self.slots, |slot| self.value(Elem(index), slot)),
                None => target.write(value),
                // The lock stays as it is: somebody who looked the element up before it was recycled may hold it, and will
                // release it. It was zero when the map was made.
                Some(off) => target.write_around(value, (off, 4)),
            }
        }
        for (i, word) in key.words().iter().enumerate() {
            self.key_word(index, i).store(*word, Relaxed);
        }
        generation.store(generation.load(Relaxed).wrapping_add(1), Release);
    }

    /// Whether no element has been put back into the bucket's chain since its version was read.
    fn is_unchanged(&self, bucket: u32, version: u32) -> bool {
        #[cfg(hitless_model)]
        if crate::model::fault(crate::model::Fault::NoBucketVersion) {
            return true;
        }
        self.version(bucket).load(Relaxed) == version
    }

    /// Gives an existing element a new value; returns the element that holds it.
    fn replace(
        &self,
        run: &Run<'_>,
        bucket: u32,
        (old, link): (u32, &AtomicU32),
        key: &Key,
        value: SharedBytes<'_>,
        put: Put,
    ) -> Result<u32, MapError> {
        if self.is_per_cpu() {
            put.cpus
                .write(run, value, self.slots, |slot| self.value(Elem(old), slot));
            return Ok(old);
        }
        let target = self.value(Elem(old), 0);
        if let Some(off) = self.spin_lock.filter(|_| put.in_place) {
            // SAFETY: memory of this map's region, which is writable; the lock word is left alone.
            crate::spin::with_lock(run, target.part(off, 4), || unsafe {
                target.write_around(value, (off, 4))
            })?;
            return Ok(old);
        }
        if self.value_size <= 8 && self.spin_lock.is_none() {
            let mut word = [0; 8];
            value.read(&mut word[..self.value_size]);
            self.region
                .word64(self.value_at(old))
                .store(u64::from_le_bytes(word), Release);
            return Ok(old);
        }
        let spare = self.spare(run.index()).swap(NONE, Relaxed);
        if spare == NONE {
            return Err(MapError::Busy);
        }
        // The spare may have been in this very chain, with a reader still on it; the fence in `fill` orders this before its links.
        let version = self.version(bucket);
        version.store(version.load(Relaxed).wrapping_add(1), Relaxed);
        self.fill(run, spare, key, value, put);
        self.next(spare).store(self.next(old).load(Relaxed), Relaxed);
        link.store(spare + 1, Release);
        self.spare(run.index()).store(old, Relaxed);
        Ok(spare)
    }
}

impl MapOps for Hash {
    fn lookup(&self, key: &Key) -> Option<Elem> {
        let bucket = self.bucket_of(key);
        'restart: loop {
            let version = self.version(bucket).load(Acquire);
            let mut link = self.head(bucket).load(Acquire);
            // A chain is never longer than the map; a longer walk has been led astray.
            for _ in 0..=self.elements {
                let Some(index) = element(link) else {
                    std::sync::atomic::fence(Acquire);
                    let own_end = link == 0 || link == END | bucket;
                    if own_end && self.is_unchanged(bucket, version) {
                        return None;
                    }
                    continue 'restart;
                };
                let before = self.generation(index).load(Acquire);
                if self.key_equals(index, key) {
                    std::sync::atomic::fence(Acquire);
                    if before.is_multiple_of(2) && self.generation(index).load(Relaxed) == before {
                        return Some(Elem(index));
                    }
                    continue 'restart;
                }
                link = self.next(index).load(Acquire);
            }
        }
    }

    fn update(&self, run: &Run<'_>, key: &Key, value: SharedBytes<'_>, put: Put) -> Result<Elem, MapError> {
        let bucket = self.bucket_of(key);
        let _guard = lock(run, self.lock_word(bucket))?;
        match (self.find_locked(bucket, key), put.rule) {
            (Some(_), Rule::NoExist) => Err(MapError::Exists),
            (None, Rule::Exist) => Err(MapError::NotFound),
            (Some(found), _) => self.replace(run, bucket, found, key, value, put).map(Elem),
            (None, _) => {
                let free = self.pop_free();
                let evicts = self.evicts && put.evict;
                let free = free.or_else(|| if evicts { self.evict(run, bucket) } else { None });
                let index = free.ok_or(MapError::Full {
                    max_entries: self.max_entries,
                })?;
                self.fill(run, index, key, value, put);
                let head = self.head(bucket).load(Relaxed);
                self.next(index)
                    .store(if head == 0 { END | bucket } else { head }, Relaxed);
                self.head(bucket).store(index + 1, Release);
                Ok(Elem(index))
            }
        }
    }

    fn delete(&self, run: &Run<'_>, key: &Key) -> Result<(), MapError> {
        self.take(run, key, &mut |_| ())
    }

    fn take(&self, run: &Run<'_>, key: &Key, look: &mut dyn FnMut(Elem)) -> Result<(), MapError> {
        let bucket = self.bucket_of(key);
        let guard = lock(run, self.lock_word(bucket))?;
        let (index, link) = self.find_locked(bucket, key).ok_or(MapError::NotFound)?;
        look(Elem(index));
        link.store(self.next(index).load(Relaxed), Release);
        drop(guard);
        self.push_free(index);
        Ok(())
    }

    fn victim(&self, _key: &Key) -> Option<Key> {
        let buckets = (0..=self.bucket_mask).map(|_| self.hand.fetch_add(1, Relaxed) & self.bucket_mask);
        let mut firsts = buckets.filter_map(|bucket| element(self.head(bucket).load(Acquire)));
        firsts
            .find_map(|index| self.key_of(Elem(index)))
            .filter(|_| self.evicts)
    }

    fn indices(&self) -> u32 {
        self.elements
    }

    fn key_of(&self, elem: Elem) -> Option<Key> {
        let before = self.generation(elem.0).load(Acquire);
        if before == 0 || !before.is_multiple_of(2) {
            return None;
        }
        let key = Key::from_words(self.key_size, |i| self.key_word(elem.0, i).load(Relaxed));
        std::sync::atomic::fence(Acquire);
        (self.generation(elem.0).load(Relaxed) == before).then_some(key)
    }

    fn value(&self, elem: Elem, slot: u32) -> SharedBytes<'_> {
        self.region.bytes(self.values.offset(elem.0, slot), self.value_size)
    }

    fn element_at(&self, address: u64, len: usize) -> Option<Elem> {
        let off = self.region.offset_of(address)?;
        self.values.element_at(off, len, self.value_size, self.elements)
    }

    fn positions(&self) -> u64 {
        self.elements.into()
    }

    fn at(&self, position: u64) -> Option<Elem> {
        let elem = Elem(position as u32);
        self.key_of(elem).map(|_| elem)
    }

    fn position_of(&self, key: &Key) -> Option<u64> {
        self.lookup(key).map(|elem| elem.0.into())
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn calls(&self) -> MapCalls {
        calls_by_ops(self)
    }

    fn stripe_hash(&self, key: &Key) -> u64 {
        key.hash(self.seed)
    }
}

/// The index of the element that a link leads to.
fn element(link: u32) -> Option<u32> {
    if link & END != 0 { None } else { link.checked_sub(1) }
}

/// A seed that an attacker who chooses keys does not know; fixed in the model, which replays schedules.
pub(super) fn random_seed() -> u64 {
    let mut seed = [0; 8];
    if !cfg!(hitless_model) {
        // A short read or an error leaves zeros: a weaker seed, no failure.
        let _ = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::NONBLOCK);
    }
    u64::from_le_bytes(seed)
}

//! Hash maps of any keys and values, also with a value for each slot, also LRU: buckets of tags and indices, elements beside.
//!
//! ```text
//! header | buckets | overflow buckets | elements: key, value | per-CPU values: a block for each slot
//!
//! bucket, 64 bytes
//!  0      meta
//!  8, 16  10 tags, a byte each, 0 where there is nothing
//! 20      the overflow bucket behind this one: its number plus one
//! 24      10 indices of elements: u32
//! ```
//!
//! A tag is a byte of the key's hash; a search compares all tags of a bucket at once, and then the keys of what matches. A full
//! bucket is continued by another one, of which there are enough for any distribution that a seeded hash yields; one that
//! gets empty is taken out.
//!
//! Elements never move. Each change becomes visible by one store: of the tags (an element comes or goes), of an index (another
//! element takes the place of the one that held the key), of a link (a bucket comes or goes), or of the value itself if it
//! has at most eight bytes. A replacement takes the slot's own spare element, and leaves the old one in its stead, so it needs
//! no free element and works in a full map. Values of which each slot has one are changed in place.
//!
//! **Readers** take no lock. An element that the bucket, or one behind it, has let go of may be used again at once; so the
//! version of the first bucket changes before that, and what a reader has found, or not found, counts only if the version is
//! the same before and after.
//!
//! **Writers** take the first bucket, which stands for all behind it.
//!
//! **LRU** buckets have nothing behind them. When there is no room, in the bucket or in the map, the bucket evicts one of its own
//! elements, by the clock algorithm: the meta word's own bits hold who was used (9..0) and the clock's hand (13..10). If the bucket
//! is empty but there is no free element, one of the buckets that follow evicts, if it is not locked. While the map is traced,
//! it does not evict by itself (`Put::evict`): whoever inserts first deletes the next victim.
//!
//! If a process is killed at any instant, its region may be left with a bucket locked, and with an element, or an empty bucket, that
//! nothing refers to; every completed change is in it.

use std::sync::atomic::fence;

use hitless_verifier::MapKind;

use super::bucket::{Meta, Tried, lock, publish, publish_locked, try_lock};
use super::cells::Cells;
use super::header::{Header, Layout};
use super::pool::{Links, Pool, Stack};
use crate::map::common::{Common, Values, errno};
use crate::map::key::{Seed, Short, Words};
use crate::map::{Creation, Elem, Key, MapCalls, MapCreateError, MapError, MapOps, Put, Rule, UpdateFlags};
use crate::primitive::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::region::{Region, SharedBytes, load_word, round_up_8};
use crate::run::Run;

const BUCKET: usize = 64;
const TAGS: [usize; 2] = [8, 16];
const INDICES: usize = 24;
/// Elements of a bucket.
const SLOTS: u32 = 10;
/// A bit for each of them.
const ALL: u32 = (1 << SLOTS) - 1;
/// What a bucket holds on the average when the map is full, in eighths.
const LOAD: u64 = 50;
/// How many buckets, its own among them, a key may find somebody to evict in.
const NEIGHBOURS: u32 = 64;
/// Where the meta word has the clock's hand.
const HAND: u32 = 10;
/// How many free elements a slot keeps to itself in an LRU map, where nobody steals.
const KEPT: u32 = 64;

/// A hash map with tags; `LRU` if it evicts.
#[derive(Debug)]
pub(super) struct Tagged<const LRU: bool> {
    common: Common,
    region: Region,
    seed: Seed,
    buckets: u32,
    overflow: u32,
    elements: u32,
    elements_at: usize,
    stride: usize,
    values: Values,
    slots: u32,
    pool: Pool,
    /// An element for each slot, for replacements.
    spares: Cells<AtomicU32>,
    /// Overflow buckets that were taken out, and how many were ever used.
    free_buckets: Stack,
    used_buckets: AtomicU32,
}

/// Where an element is: its bucket, its place in it, and itself.
#[derive(Clone, Copy)]
struct Place {
    bucket: u32,
    slot: u32,
    index: u32,
}

/// A bucket that is held, and what a key in it or behind it is to have.
#[derive(Clone, Copy)]
struct Held {
    home: u32,
    meta: Meta,
    tag: u8,
}

/// What an element is to be.
struct Content<'a, K> {
    key: &'a K,
    value: SharedBytes<'a>,
    put: Put,
}

/// The tags of a bucket, and the link that shares a word with some of them.
#[derive(Clone, Copy)]
struct Tags([u64; 2]);

impl Tags {
    /// Bits for the slots with this tag, 0 for those with nothing.
    #[inline]
    fn matches(self, tag: u8) -> u32 {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
            // SAFETY: SSE2 is part of x86-64.
            let bits = unsafe {
                let tags = _mm_set_epi64x(self.0[1].cast_signed(), self.0[0].cast_signed());
                _mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8(tag.cast_signed())))
            };
            bits as u32 & ALL
        }
        #[cfg(not(target_arch = "x86_64"))]
        (0..SLOTS).fold(0, |bits, slot| bits | u32::from(self.get(slot) == tag) << slot)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn get(self, slot: u32) -> u8 {
        (self.0[slot as usize / 8] >> (slot % 8 * 8)) as u8
    }

    /// The number of the bucket behind, plus one.
    #[inline]
    fn link(self) -> u32 {
        (self.0[1] >> 32) as u32
    }
}

pub(super) fn make(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    Ok(match creation.def.kind {
        MapKind::LruHash | MapKind::LruPercpuHash => Box::new(Tagged::<true>::new(creation)?),
        _ => Box::new(Tagged::<false>::new(creation)?),
    })
}

impl<const LRU: bool> Links for Tagged<LRU> {
    /// In the memory of the key: whoever reads that finds the version changed.
    #[inline]
    fn link(&self, index: u32) -> &AtomicU64 {
        self.key_word(index, 0)
    }
}

/// The links of overflow buckets that were taken out.
struct BucketLinks<'a, const LRU: bool>(&'a Tagged<LRU>);

impl<const LRU: bool> Links for BucketLinks<'_, LRU> {
    /// The meta word, which has no other use in an overflow bucket.
    fn link(&self, index: u32) -> &AtomicU64 {
        self.0.meta(self.0.buckets + index)
    }
}

impl<const LRU: bool> Tagged<LRU> {
    fn new(creation: &Creation<'_>) -> Result<Self, MapCreateError> {
        let (def, slots) = (creation.def, creation.slots);
        let per_cpu = def.is_per_cpu();
        if per_cpu {
            creation.check_per_cpu_value()?;
        }
        let max = u64::from(def.max_entries);
        let buckets = (max * 8).div_ceil(LOAD);
        // What a seeded hash overflows into is less than this, also while keys come and go; a small map can have all its keys
        // in one bucket.
        let overflow = if LRU {
            0
        } else {
            (buckets * 3 / 16).max(max.div_ceil(SLOTS.into()).min(1000))
        };
        let elements = max + if per_cpu { 0 } else { slots as u64 };
        let key_bytes = round_up_8(def.key_size as usize);
        let value_bytes = round_up_8(def.value_size as usize);
        let stride = key_bytes + if per_cpu { 0 } else { value_bytes };
        let size = (stride + if per_cpu { value_bytes * slots } else { 0 }) as u64;
        if elements >= u64::from(u32::MAX / 2) {
            return Err(creation.too_large(size));
        }
        let elements_at = (buckets + overflow) * BUCKET as u64;
        let end = elements_at + elements * stride as u64;
        let header = Header::LEN as u64;
        let (values, body) = if per_cpu {
            let at = end.next_multiple_of(4096);
            let block = (elements * value_bytes as u64).next_multiple_of(4096);
            let values = Values {
                at: (header + at) as usize,
                stride: value_bytes,
                slot_stride: block as usize,
            };
            (values, at + block * slots as u64)
        } else {
            let values = Values {
                at: (header + elements_at) as usize + key_bytes,
                stride,
                slot_stride: 0,
            };
            (values, end)
        };
        let layout = Layout {
            kind: if LRU { Layout::TAGGED_LRU } else { Layout::TAGGED },
            buckets: buckets as u32,
            overflow: overflow as u32,
            elements: elements as u32,
        };
        let (region, header) = Header::reserve(creation, layout, size, body)?;
        let map = Tagged {
            common: Common::new(def),
            region,
            seed: header.seed,
            buckets: buckets as u32,
            overflow: overflow as u32,
            elements: elements as u32,
            elements_at: Header::LEN + elements_at as usize,
            stride,
            values,
            slots: slots as u32,
            pool: Pool::new(slots, def.max_entries, if LRU { KEPT } else { u32::MAX }),
            spares: Cells::new(slots),
            free_buckets: Stack::default(),
            used_buckets: AtomicU32::new(0),
        };
        if !per_cpu {
            for (index, spare) in (def.max_entries..).zip(map.spares.all()) {
                spare.store(index, Relaxed);
            }
        }
        Ok(map)
    }

    /// The word at `off` of a bucket, a multiple of eight less than its size.
    #[inline]
    fn word(&self, bucket: u32, off: usize) -> &AtomicU64 {
        debug_assert!(bucket < self.buckets + self.overflow);
        // SAFETY: so many buckets are behind the header, and every bucket number is below that: it comes from `home`, from
        // `behind`, or was compared.
        unsafe {
            self.region
                .word64_unchecked(Header::LEN + bucket as usize * BUCKET + off)
        }
    }

    #[inline]
    fn meta(&self, bucket: u32) -> &AtomicU64 {
        self.word(bucket, 0)
    }

    #[inline]
    fn tags(&self, bucket: u32) -> Tags {
        Tags(TAGS.map(|off| self.word(bucket, off).load(Acquire)))
    }

    /// The word for the index of an element.
    #[inline]
    fn index(&self, bucket: u32, slot: u32) -> &AtomicU32 {
        debug_assert!(bucket < self.buckets + self.overflow && slot < SLOTS);
        let off = Header::LEN + bucket as usize * BUCKET + INDICES + slot as usize * 4;
        // SAFETY: as in `word`; there are so many slots in a bucket.
        unsafe { self.region.word32_unchecked(off) }
    }

    /// A word of an element's key.
    #[inline]
    fn key_word(&self, index: u32, word: usize) -> &AtomicU64 {
        assert!(index < self.elements);
        // SAFETY: there are so many elements, and keys have so many words.
        unsafe {
            self.region
                .word64_unchecked(self.elements_at + index as usize * self.stride + word * 8)
        }
    }

    #[inline]
    fn home(&self, hash: u64) -> u32 {
        (((hash >> 32) * u64::from(self.buckets)) >> 32) as u32
    }

    /// The bucket behind one with these tags.
    #[inline]
    fn behind(&self, tags: Tags) -> Option<u32> {
        let number = tags.link().checked_sub(1)?;
        (number < self.overflow).then(|| self.buckets + number)
    }

    #[inline]
    fn key_equals(&self, index: u32, key: &impl Words) -> bool {
        (0..key.count()).all(|i| self.key_word(index, i).load(Relaxed) == key.word(i))
    }

    #[inline]
    fn is_per_cpu(&self) -> bool {
        self.values.slot_stride > 0
    }

    #[inline]
    fn value_address(&self, index: u32, slot: u32) -> u64 {
        self.region.address(self.values.offset(index, slot))
    }

    /// The key's element in a bucket or behind it, for whoever holds the bucket, or looks again.
    #[inline]
    fn search(&self, home: u32, tag: u8, key: &impl Words) -> Option<Place> {
        let mut bucket = home;
        let mut left = self.overflow;
        loop {
            let tags = self.tags(bucket);
            let mut found = tags.matches(tag);
            while found != 0 {
                let slot = found.trailing_zeros();
                let index = self.index(bucket, slot).load(Acquire);
                if self.key_equals(index, key) {
                    return Some(Place { bucket, slot, index });
                }
                found &= found - 1;
            }
            if LRU {
                return None;
            }
            // More buckets than there are: a reader was led astray, and will look again.
            bucket = self.behind(tags).filter(|_| left > 0)?;
            left -= 1;
        }
    }

    /// The key's element, and the meta word of its first bucket.
    #[inline]
    fn find(&self, key: &impl Words) -> Option<(Place, Meta)> {
        let hash = self.seed.hash(key);
        let home = self.home(hash);
        loop {
            let meta = Meta::load(self.meta(home));
            let found = self.search(home, tag(hash), key);
            fence(Acquire);
            if self.is_unchanged(home, meta) {
                return found.map(|place| (place, meta));
            }
        }
    }

    /// Whether the bucket, and those behind it, have let go of nothing since its word was read.
    #[inline]
    fn is_unchanged(&self, bucket: u32, meta: Meta) -> bool {
        #[cfg(hitless_model)]
        if crate::model::fault(crate::model::Fault::NoBucketVersion) {
            return true;
        }
        Meta::load(self.meta(bucket)).has_version_of(meta)
    }

    /// Finds a key for a program, and notes that it was used.
    #[inline]
    fn find_for_use(&self, key: &impl Words) -> Option<u32> {
        let (place, meta) = self.find(key)?;
        let used = 1 << place.slot;
        if LRU && meta.own() & used == 0 {
            self.meta(place.bucket).fetch_or(used, Relaxed);
        }
        Some(place.index)
    }

    /// Writes an element that is in no bucket.
    #[inline]
    fn fill<K: Words>(&self, run: &Run<'_>, index: u32, content: &Content<'_, K>) {
        let Content { key, value, put } = *content;
        // Whoever sees a word of this also sees the version changed.
        fence(Release);
        if self.is_per_cpu() {
            put.cpus
                .fill(run, value, self.slots, |slot| self.value(Elem(index), slot));
        } else {
            let target = self.value(Elem(index), 0);
            // SAFETY: memory of this map's region, which is writable.
            unsafe {
                match self.common.spin_lock {
                    None => target.write(value),
                    // The lock stays as it is: somebody who looked the element up before it was recycled may hold it, and will
                    // release it. It was zero when the map was made.
                    Some(off) => target.write_around(value, (off as usize, 4)),
                }
            }
        }
        for i in 0..key.count() {
            self.key_word(index, i).store(key.word(i), Relaxed);
        }
    }

    /// Puts an element that was filled where there is none: visible from here on.
    #[inline]
    fn set(&self, place: Place, tag: u8) {
        self.index(place.bucket, place.slot).store(place.index, Relaxed);
        let word = self.word(place.bucket, TAGS[place.slot as usize / 8]);
        word.store(word.load(Relaxed) | u64::from(tag) << (place.slot % 8 * 8), Release);
    }

    /// Takes an element out.
    #[inline]
    fn unset(&self, place: Place) {
        let word = self.word(place.bucket, TAGS[place.slot as usize / 8]);
        word.store(word.load(Relaxed) & !(0xff << (place.slot % 8 * 8)), Release);
    }

    #[inline]
    fn put<K: Words>(&self, run: &Run<'_>, content: &Content<'_, K>) -> Result<Elem, MapError> {
        let hash = self.seed.hash(content.key);
        let (home, tag) = (self.home(hash), tag(hash));
        let meta = lock(run, self.meta(home))?;
        let held = Held { home, meta, tag };
        let result = match (self.search(home, tag, content.key), content.put.rule) {
            (Some(_), Rule::NoExist) => Err(MapError::Exists),
            (Some(place), _) => return self.replace(run, held, place, content),
            (None, Rule::Exist) => Err(MapError::NotFound),
            (None, _) if LRU => return self.insert_evicting(run, held, content),
            (None, _) => self.insert(run, held, content),
        };
        publish(self.meta(home), meta);
        result
    }

    /// Gives a key that is there another value, and lets go of its bucket.
    #[inline]
    fn replace<K: Words>(
        &self,
        run: &Run<'_>,
        held: Held,
        place: Place,
        content: &Content<'_, K>,
    ) -> Result<Elem, MapError> {
        let word = self.meta(held.home);
        let meta = if LRU {
            held.meta.with(held.meta.own() | 1 << place.slot)
        } else {
            held.meta
        };
        let elem = Elem(place.index);
        match self.replace_in_place(run, elem, content) {
            Ok(false) => {}
            done => {
                publish(word, meta);
                return done.map(|_| elem);
            }
        }
        let Some(spare) = self.spares.own(run) else {
            publish(word, meta);
            return Err(MapError::Busy);
        };
        let index = spare.load(Relaxed);
        self.fill(run, index, content);
        self.index(place.bucket, place.slot).store(index, Release);
        publish(word, meta.next_version());
        spare.store(place.index, Relaxed);
        Ok(Elem(index))
    }

    /// Writes a new value into the element that holds the key; false if another element has to take its place.
    #[inline]
    fn replace_in_place<K>(&self, run: &Run<'_>, elem: Elem, content: &Content<'_, K>) -> Result<bool, MapError> {
        let (value, put) = (content.value, content.put);
        if self.is_per_cpu() {
            put.cpus.write(run, value, self.slots, |slot| self.value(elem, slot));
            return Ok(true);
        }
        if let Some(off) = self.common.spin_lock {
            if put.in_place {
                let (target, off) = (self.value(elem, 0), off as usize);
                // SAFETY: memory of this map's region, which is writable; the lock word is left alone.
                let write = || unsafe { target.write_around(value, (off, 4)) };
                crate::spin::with_lock(run, target.part(off, 4), write)?;
            }
            return Ok(put.in_place);
        }
        if self.common.value_size <= 8 {
            // SAFETY: a value has at least one whole word in the region.
            let word = unsafe { self.region.word64_unchecked(self.values.offset(elem.0, 0)) };
            word.store(value.load_word(), Release);
            return Ok(true);
        }
        Ok(false)
    }

    /// Inserts a key whose bucket is held; lets go of nothing.
    #[inline]
    fn insert<K: Words>(&self, run: &Run<'_>, held: Held, content: &Content<'_, K>) -> Result<Elem, MapError> {
        let Held { home, tag, .. } = held;
        let Some(index) = self.pool.take(run, self)? else {
            return Err(MapError::Full {
                max_entries: self.common.max_entries,
            });
        };
        self.fill(run, index, content);
        let free = self.tags(home).matches(0);
        if free != 0 {
            let slot = free.trailing_zeros();
            self.set(
                Place {
                    bucket: home,
                    slot,
                    index,
                },
                tag,
            );
            return Ok(Elem(index));
        }
        self.insert_behind(run, home, tag, index)
    }

    /// Finds a place behind a full bucket for an element that was filled.
    #[cold]
    fn insert_behind(&self, run: &Run<'_>, home: u32, tag: u8, index: u32) -> Result<Elem, MapError> {
        let mut last = home;
        while let Some(bucket) = self.behind(self.tags(last)) {
            let free = self.tags(bucket).matches(0);
            if free != 0 {
                let slot = free.trailing_zeros();
                self.set(Place { bucket, slot, index }, tag);
                return Ok(Elem(index));
            }
            last = bucket;
        }
        let Some(number) = self.take_bucket() else {
            self.pool.put(run, self, index);
            return Err(MapError::NoMemory);
        };
        let bucket = self.buckets + number;
        for off in TAGS {
            self.word(bucket, off).store(0, Relaxed);
        }
        let place = Place { bucket, slot: 0, index };
        self.set(place, tag);
        self.link(last, number + 1);
        Ok(Elem(index))
    }

    /// Changes what is behind a bucket.
    fn link(&self, bucket: u32, link: u32) {
        let word = self.word(bucket, TAGS[1]);
        word.store(word.load(Relaxed) & 0xffff_ffff | u64::from(link) << 32, Release);
    }

    /// The number of an overflow bucket that nobody uses.
    fn take_bucket(&self) -> Option<u32> {
        if let Some(number) = self.free_buckets.pop(&BucketLinks(self)) {
            return Some(number);
        }
        let mut used = self.used_buckets.load(Relaxed);
        while used < self.overflow {
            match self.used_buckets.compare_exchange(used, used + 1, AcqRel, Relaxed) {
                Ok(_) => return Some(used),
                Err(now) => used = now,
            }
        }
        None
    }

    /// Inserts a key whose bucket is held, in an LRU map, and lets go of the bucket.
    fn insert_evicting<K: Words>(&self, run: &Run<'_>, held: Held, content: &Content<'_, K>) -> Result<Elem, MapError> {
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

    /// Takes the element that the clock points at out of a bucket that is held; `free` are the slots without one. Returns it,
    /// and the meta word to be published before it is used again.
    fn evict(&self, bucket: u32, meta: Meta, free: u32) -> (Place, Meta) {
        let (slot, own) = clock(meta.own() as u32, ALL & !free);
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
    fn neighbours(&self, home: u32) -> impl Iterator<Item = u32> {
        let buckets = self.buckets;
        (1..buckets.min(NEIGHBOURS)).map(move |i| ((u64::from(home) + u64::from(i)) % u64::from(buckets)) as u32)
    }

    /// The key that the clock points at in a bucket.
    fn next_victim(&self, bucket: u32) -> Option<Key> {
        let held = ALL & !self.tags(bucket).matches(0);
        if held == 0 {
            return None;
        }
        let (slot, _) = clock(Meta::load(self.meta(bucket)).own() as u32, held);
        self.key_of(Elem(self.index(bucket, slot).load(Acquire)))
    }

    #[inline]
    fn take_out(&self, run: &Run<'_>, key: &impl Words, look: impl FnOnce(Elem)) -> Result<(), MapError> {
        let hash = self.seed.hash(key);
        let home = self.home(hash);
        let meta = lock(run, self.meta(home))?;
        let Some(place) = self.search(home, tag(hash), key) else {
            publish(self.meta(home), meta);
            return Err(MapError::NotFound);
        };
        look(Elem(place.index));
        self.unset(place);
        let empty = if place.bucket == home {
            None
        } else {
            self.unlink_if_empty(home, place.bucket)
        };
        let meta = if LRU {
            meta.with(meta.own() & !(1 << place.slot))
        } else {
            meta
        };
        publish(self.meta(home), meta.next_version());
        // Only now may they be used again.
        self.pool.put(run, self, place.index);
        if let Some(number) = empty {
            self.free_buckets.push(&BucketLinks(self), number);
        }
        Ok(())
    }

    /// Takes an overflow bucket out of the chain that begins at `home` if it has become empty; returns its number then.
    #[cold]
    fn unlink_if_empty(&self, home: u32, bucket: u32) -> Option<u32> {
        let tags = self.tags(bucket);
        if tags.matches(0) != ALL {
            return None;
        }
        let mut before = home;
        while let Some(next) = self.behind(self.tags(before)) {
            if next == bucket {
                self.link(before, tags.link());
                return Some(bucket - self.buckets);
            }
            before = next;
        }
        None
    }
}

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

    fn common(&self) -> &Common {
        &self.common
    }

    fn calls(&self) -> MapCalls {
        match self.common.key_size {
            4 => self.calls_for::<OneWord<4>>(),
            8 => self.calls_for::<OneWord<8>>(),
            16 => self.calls_for::<TwoWords>(),
            _ => self.calls_for::<AnyKey>(),
        }
    }
}

/// Keys of a size that compiled code has functions of its own for.
trait KeyClass {
    type Key: Words;

    /// # Safety
    /// `size` bytes are readable at `key`.
    unsafe fn read(key: *const u8, size: usize) -> Self::Key;
}

struct OneWord<const SIZE: usize>;
struct TwoWords;
struct AnyKey;

impl<const SIZE: usize> KeyClass for OneWord<SIZE> {
    type Key = Short<1>;

    #[inline]
    unsafe fn read(key: *const u8, _size: usize) -> Short<1> {
        // SAFETY: the caller vouches for it.
        Short([unsafe { load_word(key, SIZE) }])
    }
}

impl KeyClass for TwoWords {
    type Key = Short<2>;

    #[inline]
    unsafe fn read(key: *const u8, _size: usize) -> Short<2> {
        // SAFETY: the caller vouches for it.
        Short(unsafe { [load_word(key, 8), load_word(key.add(8), 8)] })
    }
}

impl KeyClass for AnyKey {
    type Key = Key;

    #[inline]
    unsafe fn read(key: *const u8, size: usize) -> Key {
        // SAFETY: the caller vouches for it.
        Key::new(unsafe { SharedBytes::from_raw(key as u64, size) })
    }
}

/// What compiled code calls.
impl<const LRU: bool> Tagged<LRU> {
    fn calls_for<C: KeyClass>(&self) -> MapCalls {
        MapCalls {
            state: std::ptr::from_ref(self).cast(),
            lookup: Self::lookup_call::<C>,
            update: Self::update_call::<C>,
            delete: Self::delete_call::<C>,
        }
    }

    /// # Safety
    /// As [`MapCalls`] says.
    #[inline]
    unsafe fn map_and_key<'a, C: KeyClass>(state: *const (), key: *const u8) -> (&'a Self, C::Key) {
        // SAFETY: the caller keeps to what `MapCalls` says.
        unsafe {
            let map = &*state.cast::<Self>();
            (map, C::read(key, map.common.key_size as usize))
        }
    }

    unsafe extern "C" fn lookup_call<C: KeyClass>(state: *const (), run: &Run<'_>, key: *const u8) -> u64 {
        // SAFETY: as in `map_and_key`.
        let (map, key) = unsafe { Self::map_and_key::<C>(state, key) };
        let found = map.find_for_use(&key);
        found.map_or(0, |index| map.value_address(index, run.index()))
    }

    unsafe extern "C" fn update_call<C: KeyClass>(
        state: *const (),
        run: &Run<'_>,
        key: *const u8,
        value: *const u8,
        flags: u64,
    ) -> i64 {
        // SAFETY: as in `map_and_key`.
        let (map, key, value) = unsafe {
            let (map, key) = Self::map_and_key::<C>(state, key);
            let value = SharedBytes::from_raw(value as u64, map.common.value_size as usize);
            (map, key, value)
        };
        let result = map.common.check_current().and_then(|()| {
            let put = UpdateFlags::from_bits(flags).of_program(map.common.spin_lock.is_some())?;
            map.put(run, &Content { key: &key, value, put })
        });
        errno(map.common.count_busy(result))
    }

    unsafe extern "C" fn delete_call<C: KeyClass>(state: *const (), run: &Run<'_>, key: *const u8) -> i64 {
        // SAFETY: as in `map_and_key`.
        let (map, key) = unsafe { Self::map_and_key::<C>(state, key) };
        let result = map
            .common
            .check_current()
            .and_then(|()| map.take_out(run, &key, |_| ()));
        errno(map.common.count_busy(result))
    }
}

/// Which of the slots in use the clock takes out, and the bits of the bucket after that: those that the hand has passed by have
/// to be used again to stay.
fn clock(own: u32, held: u32) -> (u32, u32) {
    let hand = (own >> HAND) % SLOTS;
    let used = if own & held == held { 0 } else { own & held };
    let candidates = held & !used;
    let ahead = candidates & (ALL << hand);
    let slot = if ahead == 0 { candidates } else { ahead }.trailing_zeros();
    let below = (1 << slot) - 1;
    let passed = if ahead == 0 {
        ALL << hand | below
    } else {
        ALL << hand & below
    };
    (slot, used & !passed & !(1 << slot) | ((slot + 1) % SLOTS) << HAND)
}

/// A byte of the hash that has no part in the choice of the bucket; never 0.
#[inline]
fn tag(hash: u64) -> u8 {
    ((hash >> 24) as u8).max(1)
}

//! Hash maps of any keys and values, also with a value for each slot, also LRU: buckets of tags and indices, elements beside.
//!
//! ```text
//! buckets | overflow buckets | elements: key, value | per-CPU values: a block for each slot
//!
//! bucket, 64 bytes
//!  0      meta
//!  8, 16  10 tags, a byte each, 0 where there is nothing
//! 18      in an LRU map, who was used again: 10 bits
//! 20      in others, the overflow bucket behind this one: its number plus one
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
//! **Writers** take the first bucket, which stands for all behind it. Compiled code may look for a key before that: one that was
//! found is still there if the version is the same, one that was not has to be looked for again, since insertions leave the
//! version as it is.
//!
//! **LRU** maps evict by bucket (`lru.rs`), and have nothing behind their buckets.
//!
//! If a process is killed at any instant, its region may be left with a bucket locked, and with an element, or an empty bucket, that
//! nothing refers to; every completed change is in it.

mod calls;
mod lru;
mod ops;
mod overflow;
mod recover;
mod search;
mod write;

use hitless_verifier::MapKind;

use super::bucket::Meta;
use super::cells::Cells;
use super::pool::{Links, Pool, Stack};
use crate::map::common::{Common, Values};
use crate::map::key::Seed;
use crate::map::{Creation, MapCreateError, MapOps, Put};
use crate::primitive::Ordering::Relaxed;
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::region::{Region, SharedBytes, round_up_8};

const BUCKET: usize = 64;
const TAGS: [usize; 2] = [8, 16];
const INDICES: usize = 24;
/// Elements of a bucket.
const SLOTS: u32 = 10;
/// A bit for each of them.
const ALL: u32 = (1 << SLOTS) - 1;
/// What a bucket holds on the average when the map is full, in eighths.
const LOAD: u64 = 50;
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
        let (values, body) = if per_cpu {
            let at = end.next_multiple_of(4096);
            let block = (elements * value_bytes as u64).next_multiple_of(4096);
            let values = Values {
                at: at as usize,
                stride: value_bytes,
                slot_stride: block as usize,
            };
            (values, at + block * slots as u64)
        } else {
            let values = Values {
                at: elements_at as usize + key_bytes,
                stride,
                slot_stride: 0,
            };
            (values, end)
        };
        let region = creation.reserve(size, body)?;
        let map = Tagged {
            common: Common::new(def).owning(creation),
            region,
            seed: creation.seed,
            buckets: buckets as u32,
            overflow: overflow as u32,
            elements: elements as u32,
            elements_at: elements_at as usize,
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
        // SAFETY: so many buckets are there, and every bucket number is below that: it comes from `home`, from
        // `behind`, or was compared.
        unsafe { self.region.word64_unchecked(bucket as usize * BUCKET + off) }
    }

    #[inline]
    fn meta(&self, bucket: u32) -> &AtomicU64 {
        self.word(bucket, 0)
    }

    /// The word for the index of an element.
    #[inline]
    fn index(&self, bucket: u32, slot: u32) -> &AtomicU32 {
        debug_assert!(bucket < self.buckets + self.overflow && slot < SLOTS);
        let off = bucket as usize * BUCKET + INDICES + slot as usize * 4;
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
        Seed::bucket(hash, self.buckets)
    }

    #[inline]
    fn is_per_cpu(&self) -> bool {
        self.values.slot_stride > 0
    }

    #[inline]
    fn value_address(&self, index: u32, slot: u32) -> u64 {
        self.region.address(self.values.offset(index, slot))
    }
}

/// A byte of the hash that has no part in the choice of the bucket; never 0.
#[inline]
fn tag(hash: u64) -> u8 {
    ((hash >> 24) as u8).max(1)
}

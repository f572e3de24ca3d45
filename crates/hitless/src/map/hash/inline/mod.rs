//! Hash maps of small keys and values, at most eight bytes each: everything about a key in one cache line.
//!
//! ```text
//! bucket, 64 bytes   keys of up to 4 bytes     keys of up to 8 bytes
//!  0                 meta                      meta
//!  8                                           keys: u64, 3 of them
//! 16                 keys: u32, 4 of them
//! 32                 values: u64, 4 of them    values: u64, 3 of them
//!
//! the meta word's own bits:   7..0 which slots hold a key    15..8 how many keys passed by
//! ```
//!
//! A key lies in its home bucket, or, if that was full, in the next one with a free slot. The buckets that it passed by count
//! it, so a search ends at the first bucket that nothing passed by. A count of 255 stays, which costs a look more and nothing
//! else.
//!
//! An element is a slot of a bucket; it never moves. A slot is written, value first, while no bit says that it holds a key; the
//! store of the meta word that sets the bit makes the key visible. Values are replaced by a single store.
//!
//! **Readers** take no lock. The bits and the version are read first, then the keys. A key that was there throughout is in
//! its slot with its bit set, and counted by each bucket that it passed by, so it is found. A key that is found counts only
//! if the version is still the same: else its slot may have been given to it meanwhile, by an insertion that others do not
//! see yet.
//!
//! **Writers** take the home bucket, and so have the key to themselves. To put a key into another bucket or out of it, they take
//! all buckets on the way too, in order. At the end of the table they would have to take the first ones while they hold the
//! last: there they only try, and start again. A visible bit is set or cleared before the counts follow, and the home
//! bucket is let go last.
//!
//! What compiled code calls looks first and takes the bucket then (`calls.rs`): if the meta word is still what it was, no slot was
//! given to another key, so what was seen of the slots that hold one is still true, and so is that the key is not among them. A
//! key leaves its home bucket by one compare-and-swap of that word, which nobody else may hold then.
//!
//! If a process is killed at any instant, its region may be left with a bucket locked, and with counts too high, or too low for a
//! key whose insertion had not ended; every completed change is in it.

mod calls;
mod ops;
mod recover;
mod write;

use std::sync::atomic::fence;

use hitless_verifier::MapKind;

use super::bucket::{Meta, publish};
use super::credits::Credits;
use crate::map::common::Common;
use crate::map::key::{Seed, Short};
use crate::map::{Creation, Elem, MapCreateError, MapOps};
use crate::primitive::Ordering::{Acquire, Relaxed};
use crate::primitive::atomic::AtomicU64;
use crate::region::Region;

const BUCKET: usize = 64;
/// The word in which values begin.
const VALUES: usize = 4;
/// Element indices of a bucket, of which the last is not used if keys are wide.
const INDICES: u32 = 4;
const PASSED: u64 = 1 << 8;
const MANY_PASSED: u64 = 0xff << 8;

/// A hash map with everything in its buckets; `WIDE` if keys have more than four bytes.
#[derive(Debug)]
pub(super) struct Inline<const WIDE: bool> {
    common: Common,
    region: Region,
    seed: Seed,
    buckets: u32,
    /// How many slots the runtime has.
    slots: usize,
    credits: Credits,
}

/// The key as a word, padded with zeros.
type WordKey = Short<1>;

/// The words of a bucket.
type Words = [AtomicU64; BUCKET / 8];

/// A bucket, its words, and its meta word: as it was when it was read, or, if the bucket is held, as it is.
#[derive(Clone, Copy)]
struct Bucket<'a> {
    number: u32,
    words: &'a Words,
    meta: Meta,
}

impl<'a> Bucket<'a> {
    /// The value of a slot.
    #[inline(always)]
    fn value(self, slot: u32) -> &'a AtomicU64 {
        &self.words[VALUES + (slot % INDICES) as usize]
    }

    /// The meta word once a slot is free.
    #[inline(always)]
    fn without(self, slot: u32) -> Meta {
        self.meta.with(self.meta.own() & !(1 << slot)).next_version()
    }

    /// Lets go of it, if it is held, as it was.
    #[inline(always)]
    fn release(self) {
        publish(&self.words[0], self.meta);
    }
}

/// Where a key is.
#[derive(Clone, Copy)]
struct Found<'a> {
    bucket: Bucket<'a>,
    slot: u32,
}

impl<'a> Found<'a> {
    #[inline(always)]
    fn new(bucket: Bucket<'a>, bits: u64) -> Found<'a> {
        let slot = bits.trailing_zeros();
        Found { bucket, slot }
    }

    #[inline(always)]
    fn elem(self) -> Elem {
        Elem(self.bucket.number * INDICES + self.slot)
    }

    /// The key's value.
    #[inline(always)]
    fn value(self) -> &'a AtomicU64 {
        self.bucket.value(self.slot)
    }
}

/// Makes one, or tells that keys and values are too large for it, or a spin lock, or what refers to objects, must not move.
pub(super) fn make(creation: &Creation<'_>) -> Option<Result<Box<dyn MapOps>, MapCreateError>> {
    let def = creation.def;
    let plain = def.kind == MapKind::Hash && def.spin_lock.is_none() && creation.owned.is_none();
    if def.key_size > 8 || def.value_size > 8 || !plain {
        return None;
    }
    Some(if def.key_size > 4 {
        Inline::<true>::new(creation).map(|map| Box::new(map) as Box<dyn MapOps>)
    } else {
        Inline::<false>::new(creation).map(|map| Box::new(map) as Box<dyn MapOps>)
    })
}

impl<const WIDE: bool> Inline<WIDE> {
    const SLOTS: u32 = if WIDE { 3 } else { 4 };
    const FULL: u64 = (1 << Self::SLOTS) - 1;
    /// The word in which keys begin.
    const KEYS: usize = if WIDE { 1 } else { 2 };

    fn new(creation: &Creation<'_>) -> Result<Self, MapCreateError> {
        let max = u64::from(creation.def.max_entries);
        // Three fifths of the slots are in use when the map is full.
        let buckets = (max * 5).div_ceil(3 * u64::from(Self::SLOTS));
        let size = BUCKET as u64 * 5 / (3 * u64::from(Self::SLOTS));
        if buckets > u64::from(u32::MAX / INDICES) {
            return Err(creation.too_large(size));
        }
        let region = creation.reserve(size, buckets * BUCKET as u64)?;
        Ok(Inline {
            common: Common::new(creation.def),
            region,
            seed: creation.seed,
            buckets: buckets as u32,
            slots: creation.slots,
            credits: Credits::new(creation.slots, creation.def.max_entries, creation.def.max_entries),
        })
    }

    #[inline(always)]
    fn home(&self, key: WordKey) -> u32 {
        Seed::bucket(self.seed.hash(&key), self.buckets)
    }

    #[inline]
    fn next(&self, bucket: u32) -> u32 {
        if bucket + 1 == self.buckets { 0 } else { bucket + 1 }
    }

    #[inline(always)]
    fn words(&self, bucket: u32) -> &Words {
        debug_assert!(bucket < self.buckets);
        // SAFETY: the region has `buckets` buckets, and every bucket number here is below that: it comes
        // from `home`, from `next`, or was compared.
        unsafe { self.region.words_unchecked(bucket as usize * BUCKET) }
    }

    #[inline(always)]
    fn meta(&self, bucket: u32) -> &AtomicU64 {
        &self.words(bucket)[0]
    }

    /// Bits for the slots whose key, present or not, is this one.
    #[inline(always)]
    fn matches(words: &Words, key: WordKey) -> u64 {
        let key = key.0[0];
        let word = |index: usize| words[Self::KEYS + index].load(Relaxed);
        if WIDE {
            return (0..3).fold(0, |bits, slot| bits | u64::from(word(slot) == key) << slot);
        }
        let (low, high) = (word(0), word(1));
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{
                _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_movemask_ps, _mm_set_epi64x, _mm_set1_epi32,
            };
            // SAFETY: SSE2 is part of x86-64.
            let bits = unsafe {
                let keys = _mm_set_epi64x(high.cast_signed(), low.cast_signed());
                let same = _mm_cmpeq_epi32(keys, _mm_set1_epi32(key as i32));
                _mm_movemask_ps(_mm_castsi128_ps(same))
            };
            u64::from(bits.cast_unsigned())
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let same = |word: u64, slot: u32| u64::from(word as u32 == key as u32) << slot;
            same(low, 0) | same(low >> 32, 1) | same(high, 2) | same(high >> 32, 3)
        }
    }

    /// The key in a slot, if there is one.
    fn key_at(words: &Words, slot: u32) -> WordKey {
        if WIDE {
            return Short([words[Self::KEYS + slot as usize].load(Relaxed)]);
        }
        let pair = words[Self::KEYS + slot as usize / 2].load(Relaxed);
        Short([pair >> (slot % 2 * 32) & 0xffff_ffff])
    }

    /// A bucket, and the slots in which it has the key. If its meta word is still the same when it is taken, then so are these.
    #[inline(always)]
    fn look(&self, number: u32, key: WordKey) -> (Bucket<'_>, u64) {
        Self::look_at(number, self.words(number), key)
    }

    #[inline(always)]
    fn look_at(number: u32, words: &Words, key: WordKey) -> (Bucket<'_>, u64) {
        let meta = Meta::load(&words[0]);
        let found = Self::matches(words, key) & meta.own() & Self::FULL;
        (Bucket { number, words, meta }, found)
    }

    fn find(&self, key: WordKey) -> Option<Found<'_>> {
        let mut number = self.home(key);
        let mut left = self.buckets;
        loop {
            let (bucket, found) = self.look(number, key);
            if found != 0 {
                fence(Acquire);
                if Self::is_unchanged(bucket) {
                    return Some(Found::new(bucket, found));
                }
                continue;
            }
            left -= 1;
            if bucket.meta.own() < PASSED || left == 0 {
                return None;
            }
            number = self.next(number);
        }
    }

    /// Whether no slot of the bucket was given away since its word was read.
    #[inline(always)]
    fn is_unchanged(bucket: Bucket<'_>) -> bool {
        #[cfg(hitless_model)]
        if crate::model::fault(crate::model::Fault::NoBucketVersion) {
            return true;
        }
        Meta::load(&bucket.words[0]).has_version_of(bucket.meta)
    }

    /// Finds a key whose home bucket is held, so that it stays where it is.
    #[inline(always)]
    fn find_held<'a>(&'a self, home: Bucket<'a>, key: WordKey) -> Option<Found<'a>> {
        let found = Self::matches(home.words, key) & home.meta.own() & Self::FULL;
        if found != 0 {
            return Some(Found::new(home, found));
        }
        if home.meta.own() < PASSED {
            None
        } else {
            self.find_passed(home.number, key)
        }
    }

    #[inline(never)]
    fn find_passed(&self, home: u32, key: WordKey) -> Option<Found<'_>> {
        let mut number = self.next(home);
        while number != home {
            let (bucket, found) = self.look(number, key);
            if found != 0 {
                return Some(Found::new(bucket, found));
            }
            if bucket.meta.own() < PASSED {
                return None;
            }
            number = self.next(number);
        }
        None
    }
}

//! How a key is found: tags of a bucket first, then the keys of what matches.

use std::sync::atomic::fence;

use super::super::bucket::Meta;
use super::{ALL, Place, TAGS, Tagged, tag};
use crate::map::key::Words;
use crate::primitive::Ordering::{Acquire, Relaxed};

/// The tags of a bucket, and the link that shares a word with some of them.
#[derive(Clone, Copy)]
pub(super) struct Tags(pub(super) [u64; 2]);

impl Tags {
    /// Bits for the slots with this tag, 0 for those with nothing.
    #[inline]
    pub(super) fn matches(self, tag: u8) -> u32 {
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
        (0..super::SLOTS).fold(0, |bits, slot| bits | u32::from(self.get(slot) == tag) << slot)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn get(self, slot: u32) -> u8 {
        (self.0[slot as usize / 8] >> (slot % 8 * 8)) as u8
    }

    /// The number of the bucket behind, plus one.
    #[inline]
    pub(super) fn link(self) -> u32 {
        (self.0[1] >> 32) as u32
    }
}

impl<const LRU: bool> Tagged<LRU> {
    #[inline]
    pub(super) fn tags(&self, bucket: u32) -> Tags {
        Tags(TAGS.map(|off| self.word(bucket, off).load(Acquire)))
    }

    /// The bucket behind one with these tags.
    #[inline]
    pub(super) fn behind(&self, tags: Tags) -> Option<u32> {
        let number = tags.link().checked_sub(1)?;
        (number < self.overflow).then(|| self.buckets + number)
    }

    #[inline(always)]
    fn key_equals(&self, index: u32, key: &impl Words) -> bool {
        (0..key.count()).all(|i| self.key_word(index, i).load(Relaxed) == key.word(i))
    }

    /// The key's element in a bucket, with the bucket's tags, or behind it; for whoever holds the bucket, or looks again.
    #[inline(always)]
    pub(super) fn search(&self, home: u32, tag: u8, key: &impl Words) -> Option<Place> {
        let tags = self.tags(home);
        let found = self.search_bucket(home, tags, tag, key);
        if found.is_some() || LRU || tags.link() == 0 {
            return found;
        }
        self.search_behind(tags, tag, key)
    }

    #[inline(always)]
    pub(super) fn search_bucket(&self, bucket: u32, tags: Tags, tag: u8, key: &impl Words) -> Option<Place> {
        let mut found = tags.matches(tag);
        while found != 0 {
            let slot = found.trailing_zeros();
            let index = self.index(bucket, slot).load(Acquire);
            if self.key_equals(index, key) {
                return Some(Place { bucket, slot, index });
            }
            found &= found - 1;
        }
        None
    }

    #[inline(never)]
    fn search_behind(&self, mut tags: Tags, tag: u8, key: &impl Words) -> Option<Place> {
        // If there seem to be more buckets than there are, a reader was led astray, and will look again.
        for _ in 0..self.overflow {
            let bucket = self.behind(tags)?;
            tags = self.tags(bucket);
            let found = self.search_bucket(bucket, tags, tag, key);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The key's element, and the meta word of its first bucket.
    #[inline(always)]
    pub(super) fn find(&self, key: &impl Words) -> Option<(Place, Meta)> {
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
    #[inline(always)]
    pub(super) fn is_unchanged(&self, bucket: u32, meta: Meta) -> bool {
        #[cfg(hitless_model)]
        if crate::model::fault(crate::model::Fault::NoBucketVersion) {
            return true;
        }
        Meta::load(self.meta(bucket)).has_version_of(meta)
    }
}

//! Buckets behind full ones.

use super::super::pool::Links;
use super::{ALL, Place, TAGS, Tagged};
use crate::map::{Elem, MapError};
use crate::primitive::Ordering::{AcqRel, Relaxed, Release};
use crate::primitive::atomic::AtomicU64;
use crate::run::Run;

/// The links of overflow buckets that were taken out.
struct BucketLinks<'a, const LRU: bool>(&'a Tagged<LRU>);

impl<const LRU: bool> Links for BucketLinks<'_, LRU> {
    /// The meta word, which has no other use in an overflow bucket.
    fn link(&self, index: u32) -> &AtomicU64 {
        self.0.meta(self.0.buckets + index)
    }
}

impl<const LRU: bool> Tagged<LRU> {
    /// Finds a place behind a full bucket for an element that was filled.
    #[cold]
    pub(super) fn insert_behind(&self, run: &Run<'_>, home: u32, tag: u8, index: u32) -> Result<Elem, MapError> {
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
    pub(super) fn link(&self, bucket: u32, link: u32) {
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

    /// Gives one back.
    pub(super) fn give_bucket(&self, number: u32) {
        self.free_buckets.push(&BucketLinks(self), number);
    }

    /// Takes an overflow bucket out of the chain that begins at `home` if it has become empty; returns its number then.
    #[cold]
    pub(super) fn unlink_if_empty(&self, home: u32, bucket: u32) -> Option<u32> {
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

//! Mending what another process has left.
//!
//! A writer may have been killed with buckets held, and, as it put a key into another bucket than its home or took it out of there,
//! before the counts of the buckets on the way were right. The key is there or not: that is one bit.

use std::collections::HashSet;

use super::super::bucket::{Meta, publish, release};
use super::{INDICES, Inline};
use crate::map::audit::{Audit, FindingKind};

impl<const WIDE: bool> Inline<WIDE> {
    /// Lets go of buckets, and empties slots that hold no key of the map, or one that is there already.
    pub(super) fn recover_slots(&self, audit: &mut Audit) {
        let unused = if self.common.key_size < 8 {
            u64::MAX << (8 * self.common.key_size)
        } else {
            0
        };
        // Keys that are not in their home bucket.
        let mut away = HashSet::new();
        for bucket in 0..self.buckets {
            if release(self.meta(bucket)) {
                audit.note(FindingKind::Lock, bucket);
            }
            let meta = Meta::load(self.meta(bucket));
            let mut own = meta.own();
            for slot in 0..8 {
                if own & 1 << slot == 0 {
                    continue;
                }
                if slot >= Self::SLOTS {
                    audit.note(FindingKind::Reference, bucket * INDICES + slot);
                    own &= !(1 << slot);
                    continue;
                }
                let key = Self::key_at(self.words(bucket), slot);
                let home = self.home(key);
                let here = Self::matches(self.words(bucket), key) & own & ((1 << slot) - 1);
                let there = Self::matches(self.words(home), key) & Meta::load(self.meta(home)).own() & Self::FULL;
                let problem = if key.0[0] & unused != 0 {
                    Some(FindingKind::Key)
                } else if here != 0 || (home != bucket && (there != 0 || !away.insert(key.0[0]))) {
                    Some(FindingKind::Duplicate)
                } else if audit.elements == self.common.max_entries.into() {
                    Some(FindingKind::Excess)
                } else {
                    None
                };
                match problem {
                    Some(problem) => {
                        audit.note(problem, bucket * INDICES + slot);
                        own &= !(1 << slot);
                    }
                    None => audit.elements += 1,
                }
            }
            if own != meta.own() {
                publish(self.meta(bucket), meta.with(own));
            }
        }
    }

    /// Sets how many keys passed by each bucket.
    pub(super) fn recover_counts(&self, audit: &mut Audit) {
        // Where keys begin to pass by, less where they end.
        let mut change = vec![0i32; self.buckets as usize];
        let mut passed = 0i64;
        for bucket in 0..self.buckets {
            let own = Meta::load(self.meta(bucket)).own();
            for slot in (0..Self::SLOTS).filter(|slot| own & 1 << slot != 0) {
                let home = self.home(Self::key_at(self.words(bucket), slot));
                change[home as usize] += 1;
                change[bucket as usize] -= 1;
                // They go on at the start of the table.
                passed += i64::from(home > bucket);
            }
        }
        for (bucket, change) in (0..self.buckets).zip(change) {
            passed += i64::from(change);
            let meta = Meta::load(self.meta(bucket));
            let (found, right) = (meta.own() >> 8, passed.clamp(0, 0xff) as u64);
            // One that cannot be counted stays at the highest.
            if found != right && found != 0xff {
                audit.note(FindingKind::Passed, bucket);
            }
            if found != right {
                publish(self.meta(bucket), meta.with(meta.own() & 0xff | right << 8));
            }
        }
    }
}

//! Mending what another process has left: buckets that it held, one that it has emptied and not taken out. Elements that it has
//! taken and not put in are free, as are all that no bucket has.

use super::super::bucket::release;
use super::super::pool::Pool;
use super::{ALL, KEPT, Place, Tagged, tag};
use crate::map::Key;
use crate::map::audit::{Audit, Bits, FindingKind};
use crate::primitive::Ordering::Relaxed;

impl<const LRU: bool> Tagged<LRU> {
    /// Looks at all buckets and what is in them; the elements and the overflow buckets that are in use.
    pub(super) fn recover_chains(&self, audit: &mut Audit) -> (Bits, Bits) {
        let (mut live, mut behind) = (Bits::new(self.elements), Bits::new(self.overflow));
        let mut keys = Vec::new();
        for home in 0..self.buckets {
            if release(self.meta(home)) {
                audit.note(FindingKind::Lock, home);
            }
            keys.clear();
            let mut bucket = home;
            loop {
                self.recover_bucket(home, bucket, &mut live, &mut keys, audit);
                let Some(next) = self.recover_link(bucket, &mut behind, audit) else {
                    break;
                };
                bucket = next;
            }
            self.drop_duplicates(&mut keys, audit);
        }
        (live, behind)
    }

    /// Looks at the elements of a bucket.
    fn recover_bucket(&self, home: u32, bucket: u32, live: &mut Bits, keys: &mut Vec<Place>, audit: &mut Audit) {
        let mut held = ALL & !self.tags(bucket).matches(0);
        while held != 0 {
            let slot = held.trailing_zeros();
            held &= held - 1;
            let index = self.index(bucket, slot).load(Relaxed);
            let place = Place { bucket, slot, index };
            let problem = if index >= self.elements {
                Some(FindingKind::Reference)
            } else if live.contains(index) {
                Some(FindingKind::Shared)
            } else {
                self.misfit(home, place).or_else(|| {
                    let is_full = audit.elements == self.common.max_entries.into();
                    is_full.then_some(FindingKind::Excess)
                })
            };
            if let Some(problem) = problem {
                audit.note(problem, bucket);
                self.unset(place);
                continue;
            }
            live.insert(index);
            keys.push(place);
            audit.elements += 1;
        }
    }

    /// What is wrong with the key of an element in, or behind, a bucket.
    fn misfit(&self, home: u32, place: Place) -> Option<FindingKind> {
        let size = self.common.key_size as usize;
        let key = Key::from_words(size, |i| self.key_word(place.index, i).load(Relaxed));
        let hash = self.seed.hash(&key);
        let is_here = self.home(hash) == home && self.tags(place.bucket).matches(tag(hash)) & 1 << place.slot != 0;
        if key.is_padded() {
            (!is_here).then_some(FindingKind::Misplaced)
        } else {
            Some(FindingKind::Key)
        }
    }

    /// Takes out, of these elements, those whose key another one has that comes before.
    fn drop_duplicates(&self, keys: &mut [Place], audit: &mut Audit) {
        let words = (self.common.key_size as usize).div_ceil(8);
        let key = |place: &Place| {
            let index = place.index;
            (0..words).map(move |i| self.key_word(index, i).load(Relaxed))
        };
        keys.sort_by(|one, other| key(one).cmp(key(other)));
        for pair in keys.windows(2) {
            if key(&pair[0]).eq(key(&pair[1])) {
                audit.note(FindingKind::Duplicate, pair[1].bucket);
                audit.elements -= 1;
                self.unset(pair[1]);
            }
        }
    }

    /// The bucket behind another one, unless it is empty and was taken out.
    fn recover_link(&self, bucket: u32, behind: &mut Bits, audit: &mut Audit) -> Option<u32> {
        loop {
            let number = self.tags(bucket).link().checked_sub(1)?;
            if number >= self.overflow || !behind.insert(number) {
                audit.note(FindingKind::Reference, bucket);
                self.link(bucket, 0);
                return None;
            }
            let next = self.buckets + number;
            let tags = self.tags(next);
            if tags.matches(0) != ALL {
                return Some(next);
            }
            audit.note(FindingKind::EmptyBucket, next);
            self.link(bucket, tags.link());
            // It is free now, so a chain that comes back to it ends there.
            self.link(next, 0);
            behind.remove(number);
        }
    }

    /// Finds out what is free. Each slot gets a spare element first: of those that were in use before, if there are enough, as
    /// those below `fresh` and above `max_entries` were.
    pub(super) fn recover_free(&mut self, live: &Bits, behind: &Bits) {
        let max_entries = self.common.max_entries;
        let fresh = (0..max_entries).rev().find(|index| live.contains(*index));
        let mut fresh = fresh.map_or(0, |index| index + 1);
        let free: Vec<u32> = (max_entries..self.elements)
            .chain(0..fresh)
            .filter(|index| !live.contains(*index))
            .collect();
        let mut free = free.into_iter();
        if !self.is_per_cpu() {
            for spare in self.spares.all() {
                let index = free.next().unwrap_or_else(|| {
                    fresh += 1;
                    fresh - 1
                });
                spare.store(index, Relaxed);
            }
        }
        let shape = (self.slots as usize, max_entries, if LRU { KEPT } else { u32::MAX });
        self.pool = Pool::recovered(shape, fresh, self, free);
        let used = (0..self.overflow).rev().find(|number| behind.contains(*number));
        let used = used.map_or(0, |number| number + 1);
        self.used_buckets.store(used, Relaxed);
        for number in (0..used).filter(|number| !behind.contains(*number)) {
            self.give_bucket(number);
        }
    }
}

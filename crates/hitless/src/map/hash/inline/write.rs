//! Changes: a key put in, or taken out, with its home bucket held.

use super::super::bucket::{Meta, Tried, lock, publish, try_lock};
use super::{Bucket, Found, INDICES, Inline, MANY_PASSED, PASSED, WordKey, Words};
use crate::map::{Elem, MapError, Rule};
use crate::primitive::Ordering::{Relaxed, Release};
use crate::primitive::relax;
use crate::run::Run;

impl<const WIDE: bool> Inline<WIDE> {
    fn store_key(words: &Words, slot: u32, key: WordKey) {
        if WIDE {
            words[Self::KEYS + slot as usize].store(key.0[0], Relaxed);
            return;
        }
        // The whole word, since that is what is read: the processor hands a store on to loads of no more than it wrote.
        let (word, shift) = (&words[Self::KEYS + slot as usize / 2], slot % 2 * 32);
        let other = word.load(Relaxed) & !(0xffff_ffff << shift);
        word.store(other | key.0[0] << shift, Relaxed);
    }

    /// Takes the home bucket of a key.
    #[inline(always)]
    fn hold(&self, run: &Run<'_>, home: u32) -> Result<Bucket<'_>, MapError> {
        let words = self.words(home);
        let meta = lock(run, &words[0])?;
        Ok(Bucket {
            number: home,
            words,
            meta,
        })
    }

    pub(super) fn put(&self, run: &Run<'_>, key: WordKey, value: u64, rule: Rule) -> Result<Elem, MapError> {
        let held = self.hold(run, self.home(key))?;
        self.put_held(run, held, key, value, rule)
    }

    /// Puts a key in, or replaces its value, and lets go of its home bucket.
    pub(super) fn put_held(
        &self,
        run: &Run<'_>,
        held: Bucket<'_>,
        key: WordKey,
        value: u64,
        rule: Rule,
    ) -> Result<Elem, MapError> {
        if let Some(found) = self.find_held(held, key) {
            return Self::replace(held, found, value, rule);
        }
        let credit = if rule == Rule::Exist {
            Err(MapError::NotFound)
        } else {
            self.credits.take(run).and_then(|there| {
                there.then_some(()).ok_or(MapError::Full {
                    max_entries: self.common.max_entries,
                })
            })
        };
        if let Err(error) = credit {
            held.release();
            return Err(error);
        }
        let free = !held.meta.own() & Self::FULL;
        if free != 0 {
            return Ok(Self::occupy(held, free.trailing_zeros(), key, value));
        }
        self.put_further(run, held.number, key, value, rule)
    }

    /// Fills a free slot of a bucket that is held, makes it visible, and lets go of the bucket.
    #[inline(always)]
    pub(super) fn occupy(held: Bucket<'_>, slot: u32, key: WordKey, value: u64) -> Elem {
        let Bucket { number, words, meta } = held;
        let slot = slot % INDICES;
        held.value(slot).store(value, Relaxed);
        // A reader that saw the slot in use, and so may find the key early, finds the version changed.
        Self::store_key(words, slot, key);
        publish(&words[0], meta.with(meta.own() | 1 << slot));
        Elem(number * INDICES + slot)
    }

    /// Puts a key into the next bucket with a free slot. The home bucket is held, the key is not there, and a credit was taken.
    #[cold]
    fn put_further(&self, run: &Run<'_>, home: u32, key: WordKey, value: u64, rule: Rule) -> Result<Elem, MapError> {
        let mut turn = 0;
        loop {
            let mut last = home;
            let taken = loop {
                let bucket = self.next(last);
                let meta = match self.take_next(run, home, bucket) {
                    Tried::Locked(meta) => meta,
                    Tried::Own => break Err(MapError::Busy),
                    Tried::Other => break Ok(None),
                };
                last = bucket;
                let free = !meta.own() & Self::FULL;
                if free != 0 {
                    break Ok(Some((meta, free.trailing_zeros())));
                }
            };
            if let Ok(Some((meta, slot))) = taken {
                let held = Bucket {
                    number: last,
                    words: self.words(last),
                    meta,
                };
                let elem = Self::occupy(held, slot, key, value);
                self.recount(home, last, |own| {
                    if own & MANY_PASSED == MANY_PASSED {
                        own
                    } else {
                        own + PASSED
                    }
                });
                return Ok(elem);
            }
            self.recount(home, self.next(last), |own| own);
            if taken.is_err() || (run.is_nested() && turn >= 64) {
                self.credits.put(run);
                return Err(MapError::Busy);
            }
            relax(turn);
            turn += 1;
            let held = match self.hold(run, home) {
                Ok(held) => held,
                Err(error) => {
                    self.credits.put(run);
                    return Err(error);
                }
            };
            // Meanwhile others may have put the key in, or have made room.
            if let Some(found) = self.find_held(held, key) {
                self.credits.put(run);
                return Self::replace(held, found, value, rule);
            }
            let free = !held.meta.own() & Self::FULL;
            if free != 0 {
                return Ok(Self::occupy(held, free.trailing_zeros(), key, value));
            }
        }
    }

    /// Gives a key whose home bucket is held another value, and lets go of the bucket.
    #[inline(always)]
    fn replace(held: Bucket<'_>, found: Found<'_>, value: u64, rule: Rule) -> Result<Elem, MapError> {
        if rule != Rule::NoExist {
            found.value().store(value, Release);
        }
        held.release();
        if rule == Rule::NoExist {
            Err(MapError::Exists)
        } else {
            Ok(found.elem())
        }
    }

    /// Takes the next bucket on the way from a home bucket; only tries where that is against the order.
    fn take_next(&self, run: &Run<'_>, home: u32, bucket: u32) -> Tried {
        if bucket < home {
            return try_lock(run, self.meta(bucket));
        }
        lock(run, self.meta(bucket)).map_or(Tried::Own, Tried::Locked)
    }

    /// Changes the own bits of the buckets from `home` to the one before `end`, all of them held, and lets go of them, of the
    /// home bucket last.
    fn recount(&self, home: u32, end: u32, change: impl Fn(u64) -> u64) {
        let mut bucket = end;
        while bucket != home {
            bucket = if bucket == 0 { self.buckets - 1 } else { bucket - 1 };
            let meta = Meta::load(self.meta(bucket));
            publish(self.meta(bucket), meta.with(change(meta.own())));
        }
    }

    pub(super) fn take_out(&self, run: &Run<'_>, key: WordKey, look: &mut dyn FnMut(Elem)) -> Result<(), MapError> {
        let held = self.hold(run, self.home(key))?;
        self.take_out_held(run, held, key, look)
    }

    /// Takes a key out, and lets go of its home bucket.
    pub(super) fn take_out_held<'a>(
        &'a self,
        run: &Run<'_>,
        mut held: Bucket<'a>,
        key: WordKey,
        look: &mut dyn FnMut(Elem),
    ) -> Result<(), MapError> {
        let home = held.number;
        let mut turn = 0;
        loop {
            let Some(found) = self.find_held(held, key) else {
                held.release();
                return Err(MapError::NotFound);
            };
            if found.bucket.number == home {
                look(found.elem());
                Self::vacate(held, found.slot);
                break;
            }
            if self.take_out_further(run, home, found, look)? {
                break;
            }
            if run.is_nested() && turn >= 64 {
                return Err(MapError::Busy);
            }
            relax(turn);
            turn += 1;
            held = self.hold(run, home)?;
        }
        self.credits.put(run);
        Ok(())
    }

    /// Makes a slot of a bucket that is held free, and lets go of the bucket.
    #[inline(always)]
    pub(super) fn vacate(held: Bucket<'_>, slot: u32) {
        publish(&held.words[0], held.without(slot));
    }

    /// Takes a key out of a bucket that is not its home, which is held. False if it has to be tried again, with the home bucket
    /// let go.
    #[cold]
    fn take_out_further(
        &self,
        run: &Run<'_>,
        home: u32,
        found: Found<'_>,
        look: &mut dyn FnMut(Elem),
    ) -> Result<bool, MapError> {
        let bucket = found.bucket.number;
        let mut last = home;
        while last != bucket {
            let next = self.next(last);
            match self.take_next(run, home, next) {
                Tried::Locked(_) => last = next,
                tried => {
                    self.recount(home, self.next(last), |own| own);
                    return if matches!(tried, Tried::Own) {
                        Err(MapError::Busy)
                    } else {
                        Ok(false)
                    };
                }
            }
        }
        look(found.elem());
        let meta = Meta::load(&found.bucket.words[0]);
        Self::vacate(Bucket { meta, ..found.bucket }, found.slot);
        self.recount(home, bucket, |own| {
            if own & MANY_PASSED == MANY_PASSED {
                own
            } else {
                own - PASSED
            }
        });
        Ok(true)
    }
}

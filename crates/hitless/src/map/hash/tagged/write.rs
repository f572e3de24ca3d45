//! Changes: an element put in, replaced, or taken out, with the first bucket held.

use std::sync::atomic::fence;

use super::super::bucket::{lock, publish};
use super::{Content, Held, Place, TAGS, Tagged, tag};
use crate::map::key::Words;
use crate::map::{Elem, MapError, MapOps, Rule};
use crate::primitive::Ordering::{Relaxed, Release};
use crate::run::Run;

impl<const LRU: bool> Tagged<LRU> {
    /// Writes an element that is in no bucket.
    #[inline]
    pub(super) fn fill<K: Words>(&self, run: &Run<'_>, index: u32, content: &Content<'_, K>) {
        let Content { key, value, put } = *content;
        // Whoever sees a word of this also sees the version changed.
        fence(Release);
        if self.is_per_cpu() {
            put.cpus.fill(&self.common, run, value, self.slots, |slot| {
                self.value(Elem(index), slot)
            });
        } else {
            // The lock stays as it is: somebody who looked the element up before it was recycled may hold it, and will
            // release it. It was zero when the map was made.
            // SAFETY: memory of this map's region, which is writable.
            unsafe { self.common.store(self.value(Elem(index), 0), value) };
        }
        for i in 0..key.count() {
            self.key_word(index, i).store(key.word(i), Relaxed);
        }
    }

    /// Lets go of what an element refers to that no key has any more.
    #[inline]
    pub(super) fn forget(&self, run: &Run<'_>, index: u32) {
        let slots = if self.is_per_cpu() { self.slots } else { 1 };
        self.common
            .forget(run, (0..slots).map(|slot| self.value(Elem(index), slot)));
    }

    /// Puts an element that was filled where there is none: visible from here on.
    #[inline]
    pub(super) fn set(&self, place: Place, tag: u8) {
        self.index(place.bucket, place.slot).store(place.index, Relaxed);
        let word = self.word(place.bucket, TAGS[place.slot as usize / 8]);
        word.store(word.load(Relaxed) | u64::from(tag) << (place.slot % 8 * 8), Release);
    }

    /// Takes an element out.
    #[inline]
    pub(super) fn unset(&self, place: Place) {
        let word = self.word(place.bucket, TAGS[place.slot as usize / 8]);
        word.store(word.load(Relaxed) & !(0xff << (place.slot % 8 * 8)), Release);
    }

    pub(super) fn put<K: Words>(&self, run: &Run<'_>, content: &Content<'_, K>) -> Result<Elem, MapError> {
        self.common.check_forget(run)?;
        let hash = self.seed.hash(content.key);
        let (home, tag) = (self.home(hash), tag(hash));
        let meta = lock(run, self.meta(home))?;
        self.put_held(run, Held { home, meta, tag }, content)
    }

    /// Puts a key in, or replaces its value, and lets go of its bucket.
    pub(super) fn put_held<K: Words>(
        &self,
        run: &Run<'_>,
        held: Held,
        content: &Content<'_, K>,
    ) -> Result<Elem, MapError> {
        let Held { home, meta, tag } = held;
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
        let meta = self.note_use_held(place, held.meta);
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
        self.forget(run, place.index);
        spare.store(place.index, Relaxed);
        Ok(Elem(index))
    }

    /// Writes a new value into the element that holds the key; false if another element has to take its place.
    #[inline]
    fn replace_in_place<K>(&self, run: &Run<'_>, elem: Elem, content: &Content<'_, K>) -> Result<bool, MapError> {
        let (value, put) = (content.value, content.put);
        if self.is_per_cpu() {
            put.cpus
                .write(&self.common, run, value, self.slots, |slot| self.value(elem, slot));
            let written = put.cpus.written(run, Some(self.slots));
            self.common.forget(run, written.map(|slot| self.value(elem, slot)));
            return Ok(true);
        }
        if let Some(off) = self.common.spin_lock {
            if put.in_place {
                let (target, off) = (self.value(elem, 0), off as usize);
                // SAFETY: memory of this map's region, which is writable; the lock word is left alone.
                let write = || unsafe { self.common.store(target, value) };
                crate::spin::with_lock(run, target.part(off, 4), write)?;
                self.forget(run, elem.0);
            }
            return Ok(put.in_place);
        }
        if self.common.is_word() {
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

    #[inline]
    pub(super) fn take_out(&self, run: &Run<'_>, key: &impl Words, look: impl FnOnce(Elem)) -> Result<(), MapError> {
        self.common.check_forget(run)?;
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
        publish(self.meta(home), self.forget_use(place, meta).next_version());
        self.forget(run, place.index);
        // Only now may they be used again.
        self.pool.put(run, self, place.index);
        if let Some(number) = empty {
            self.give_bucket(number);
        }
        Ok(())
    }
}

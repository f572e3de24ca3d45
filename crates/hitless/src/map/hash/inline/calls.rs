//! What compiled code calls: the usual case of each operation, and for the rest what the host calls too.

use std::sync::atomic::fence;

use hitless_jit::HashTable;

use super::super::bucket::{Meta, try_lock_seen, try_publish_seen};
use super::{BUCKET, Bucket, Inline, PASSED, WordKey, Words};
use crate::map::common::errno;
use crate::map::key::{Seed, Short};
use crate::map::{Map, MapCalls, Pass, Put, Rule, TracedCalls, UpdateFlags};
use crate::primitive::Ordering::{Acquire, Release};
use crate::region::load_word;
use crate::run::Run;
use crate::trace::Pending;

/// `ENOENT`, as helpers return it.
const NOT_FOUND: i64 = -2;

impl<const WIDE: bool> Inline<WIDE> {
    pub(super) fn calls_by_size(&self) -> MapCalls {
        let key = Pass::integer(self.common.key_size);
        let value = Pass::integer(self.common.value_size);
        match (key, value) {
            (Pass::Integer(_), Pass::Integer(_)) => self.calls_for::<true, true>(key, value),
            (Pass::Integer(_), Pass::Address) => self.calls_for::<true, false>(key, value),
            (Pass::Address, Pass::Integer(_)) => self.calls_for::<false, true>(key, value),
            (Pass::Address, Pass::Address) => self.calls_for::<false, false>(key, value),
        }
    }

    fn calls_for<const KEY: bool, const VALUE: bool>(&self, key: Pass, value: Pass) -> MapCalls {
        let [start, multiplier] = self.seed.words();
        MapCalls {
            state: std::ptr::from_ref(self).cast(),
            key,
            value,
            table: KEY.then(|| HashTable {
                base: self.region.address(0),
                buckets: self.buckets,
                shift: BUCKET.ilog2(),
                seed: [start, multiplier, Seed::FINISH],
            }),
            lookup: Self::lookup_call::<KEY>,
            update: Self::update_call::<KEY, VALUE>,
            delete: Self::delete_call::<KEY>,
            traced: TracedCalls {
                update: Self::update_traced::<KEY, VALUE>,
                delete: Self::delete_traced::<KEY>,
            },
        }
    }

    /// The map, and the key, which is passed as an integer if `KEY`.
    ///
    /// # Safety
    /// As [`MapCalls`] says.
    #[inline(always)]
    unsafe fn map_and_key<'a, const KEY: bool>(state: *const (), key: u64) -> (&'a Self, WordKey) {
        // SAFETY: the caller keeps to what `MapCalls` says.
        let map = unsafe { &*state.cast::<Self>() };
        let word = if KEY {
            key
        } else {
            // SAFETY: as above.
            unsafe { load_word(key as *const u8, map.common.key_size as usize) }
        };
        (map, Short([word]))
    }

    /// The value, which is passed as an integer if `VALUE`.
    ///
    /// # Safety
    /// As [`MapCalls`] says.
    #[inline(always)]
    unsafe fn value_of<const VALUE: bool>(&self, value: u64) -> u64 {
        if VALUE {
            value
        } else {
            // SAFETY: the caller keeps to what `MapCalls` says.
            unsafe { load_word(value as *const u8, self.common.value_size as usize) }
        }
    }

    /// The home bucket of a key, which is what the call was given if the key is passed as an integer, and the slots in which
    /// it has the key.
    ///
    /// # Safety
    /// As [`MapCalls`] says.
    #[inline(always)]
    unsafe fn look_home<const KEY: bool>(&self, key: WordKey, bucket: u64) -> (Bucket<'_>, u64) {
        if !KEY {
            return self.look(self.home(key), key);
        }
        // SAFETY: the address of a bucket of the map's region, as its table has it.
        let words = unsafe { &*(bucket as *const Words) };
        Self::look_at(self.number(words), words, key)
    }

    /// The number of a bucket.
    #[inline(always)]
    fn number(&self, words: &Words) -> u32 {
        let off = std::ptr::from_ref(words) as u64 - self.region.address(0);
        (off / BUCKET as u64) as u32
    }

    unsafe extern "C" fn lookup_call<const KEY: bool>(state: *const (), _run: &Run<'_>, key: u64, bucket: u64) -> u64 {
        // SAFETY: as in `map_and_key`.
        let (map, key) = unsafe { Self::map_and_key::<KEY>(state, key) };
        // SAFETY: as above.
        let (home, found) = unsafe { map.look_home::<KEY>(key, bucket) };
        if found != 0 {
            fence(Acquire);
            if Self::is_unchanged(home) {
                return std::ptr::from_ref(home.value(found.trailing_zeros())) as u64;
            }
        } else if home.meta.own() < PASSED {
            return 0;
        }
        map.lookup_further(key)
    }

    /// Looks a key up that is not in its home bucket, or was there when that changed.
    #[inline(never)]
    fn lookup_further(&self, key: WordKey) -> u64 {
        let found = self.find(key);
        found.map_or(0, |found| std::ptr::from_ref(found.value()) as u64)
    }

    unsafe extern "C" fn update_call<const KEY: bool, const VALUE: bool>(
        state: *const (),
        run: &Run<'_>,
        key: u64,
        value: u64,
        flags: u64,
        bucket: u64,
    ) -> i64 {
        // SAFETY: as in `map_and_key`.
        let (map, key) = unsafe { Self::map_and_key::<KEY>(state, key) };
        // SAFETY: the caller keeps to what `MapCalls` says.
        let value = unsafe { map.value_of::<VALUE>(value) };
        if flags != 0 || map.common.is_sealed() {
            return map.update_other(run, key, value, flags);
        }
        // SAFETY: as above.
        let (home, found) = unsafe { map.look_home::<KEY>(key, bucket) };
        if found == 0 {
            return map.insert(run, home.words, home.meta, key, value);
        }
        if !try_lock_seen(run, &home.words[0], home.meta) {
            return map.update_other(run, key, value, flags);
        }
        home.value(found.trailing_zeros()).store(value, Release);
        home.release();
        0
    }

    unsafe fn update_traced<'a, const KEY: bool, const VALUE: bool>(
        map: &'a Map,
        run: &'a Run<'_>,
        key: u64,
        value: u64,
        flags: u64,
        pending: &mut Option<Pending<'a>>,
    ) -> i64 {
        // SAFETY: as in `map_and_key`.
        let (ops, key) = unsafe { Self::map_and_key::<KEY>(map.calls().state, key) };
        // SAFETY: the caller keeps to what `MapCalls` says.
        let value = unsafe { ops.value_of::<VALUE>(value) };
        let update = |put: Put| ops.put(run, key, value, put.rule);
        map.update_traced(run, ops, (ops.seed.hash(&key) >> 32, &key), flags, pending, update)
    }

    unsafe fn delete_traced<'a, const KEY: bool>(
        map: &'a Map,
        run: &'a Run<'_>,
        key: u64,
        pending: &mut Option<Pending<'a>>,
    ) -> i64 {
        // SAFETY: as in `map_and_key`.
        let (ops, key) = unsafe { Self::map_and_key::<KEY>(map.calls().state, key) };
        let delete = || ops.take_out(run, key, &mut |_| ());
        map.delete_traced(run, ops, (ops.seed.hash(&key) >> 32, &key), pending, delete)
    }

    /// Inserts a key that its home bucket did not have when the meta word was this one.
    #[inline(never)]
    fn insert(&self, run: &Run<'_>, words: &Words, meta: Meta, key: WordKey, value: u64) -> i64 {
        let free = !meta.own() & Self::FULL;
        if meta.own() >= PASSED || free == 0 || !try_lock_seen(run, &words[0], meta) {
            return self.update_other(run, key, value, UpdateFlags::ANY.bits());
        }
        if !self.credits.take_own(run) {
            return self.put_other(run, meta, key, value);
        }
        let number = self.number(words);
        Self::occupy(Bucket { number, words, meta }, free.trailing_zeros(), key, value);
        0
    }

    /// An insertion that finds no credit at hand; its home bucket is held.
    #[cold]
    fn put_other(&self, run: &Run<'_>, meta: Meta, key: WordKey, value: u64) -> i64 {
        let number = self.home(key);
        let words = self.words(number);
        let result = self.put_held(run, Bucket { number, words, meta }, key, value, Rule::Any);
        errno(self.common.count_busy(result))
    }

    /// An update with flags, of a bucket that somebody else has, or of a key that has no place in its home bucket.
    #[cold]
    fn update_other(&self, run: &Run<'_>, key: WordKey, value: u64, flags: u64) -> i64 {
        let result = self.common.check_current().and_then(|()| {
            let put = UpdateFlags::from_bits(flags).of_program(false)?;
            self.put(run, key, value, put.rule)
        });
        errno(self.common.count_busy(result))
    }

    unsafe extern "C" fn delete_call<const KEY: bool>(state: *const (), run: &Run<'_>, key: u64, bucket: u64) -> i64 {
        // SAFETY: as in `map_and_key`.
        let (map, key) = unsafe { Self::map_and_key::<KEY>(state, key) };
        if map.common.is_sealed() {
            return map.delete_other(run, key);
        }
        // SAFETY: as above.
        let (home, found) = unsafe { map.look_home::<KEY>(key, bucket) };
        if found == 0 {
            return if home.meta.own() < PASSED {
                NOT_FOUND
            } else {
                map.delete_other(run, key)
            };
        }
        // One word says it all, so the bucket need not be held.
        let without = home.without(found.trailing_zeros());
        if !try_publish_seen(&home.words[0], home.meta, without) {
            return map.delete_other(run, key);
        }
        map.credits.put(run);
        0
    }

    /// A delete of a key that is not in its home bucket, or of one in a bucket that somebody else has.
    #[cold]
    fn delete_other(&self, run: &Run<'_>, key: WordKey) -> i64 {
        let result = self.common.check_current();
        let result = result.and_then(|()| self.take_out(run, key, &mut |_| ()));
        errno(self.common.count_busy(result))
    }
}

//! What compiled code calls: the usual case of each operation, and for the rest what the host calls too.

use std::sync::atomic::fence;

use super::super::bucket::{Meta, publish, try_lock_seen};
use super::{Content, Place, Tagged, tag};
use crate::map::common::errno;
use crate::map::key::{Short, Words};
use crate::map::{Key, Map, MapCalls, Pass, TracedCalls, UpdateFlags};
use crate::primitive::Ordering::{Acquire, Release};
use crate::primitive::atomic::AtomicU64;
use crate::region::{SharedBytes, load_word};
use crate::run::Run;
use crate::trace::Pending;

/// How keys of some sizes are passed and read.
trait KeyClass {
    type Key: Words;

    /// # Safety
    /// `key` is what [`Pass`] says for keys of `size` bytes.
    unsafe fn read(key: u64, size: usize) -> Self::Key;
}

/// Keys that are integers.
struct Integer;
/// Keys of two words.
struct TwoWords;
/// Keys of any size.
struct AnyKey;

impl KeyClass for Integer {
    type Key = Short<1>;

    #[inline(always)]
    unsafe fn read(key: u64, _size: usize) -> Short<1> {
        Short([key])
    }
}

impl KeyClass for TwoWords {
    type Key = Short<2>;

    #[inline(always)]
    unsafe fn read(key: u64, _size: usize) -> Short<2> {
        let key = key as *const u8;
        // SAFETY: the caller vouches for it.
        Short(unsafe { [load_word(key, 8), load_word(key.add(8), 8)] })
    }
}

impl KeyClass for AnyKey {
    type Key = Key;

    #[inline]
    unsafe fn read(key: u64, size: usize) -> Key {
        // SAFETY: the caller vouches for it.
        Key::new(unsafe { SharedBytes::from_raw(key, size) })
    }
}

impl<const LRU: bool> Tagged<LRU> {
    pub(super) fn calls_by_size(&self) -> MapCalls {
        let key = Pass::integer(self.common.key_size);
        match (key, self.common.key_size) {
            (Pass::Integer(_), _) => self.calls_for::<Integer>(key),
            (_, 16) => self.calls_for::<TwoWords>(key),
            _ => self.calls_for::<AnyKey>(key),
        }
    }

    fn calls_for<C: KeyClass>(&self, key: Pass) -> MapCalls {
        let value = match self.common.is_bytes() {
            true => Pass::integer(self.common.value_size),
            false => Pass::Address,
        };
        MapCalls {
            state: std::ptr::from_ref(self).cast(),
            key,
            value,
            table: None,
            lookup: Self::lookup_call::<C>,
            update: match value {
                Pass::Integer(_) => Self::update_word_call::<C>,
                Pass::Address => Self::update_call::<C>,
            },
            delete: Self::delete_call::<C>,
            traced: TracedCalls {
                update: Self::update_traced::<C>,
                delete: Self::delete_traced::<C>,
            },
        }
    }

    /// # Safety
    /// As [`MapCalls`] says.
    #[inline(always)]
    unsafe fn map_and_key<'a, C: KeyClass>(state: *const (), key: u64) -> (&'a Self, C::Key) {
        // SAFETY: the caller keeps to what `MapCalls` says.
        unsafe {
            let map = &*state.cast::<Self>();
            (map, C::read(key, map.common.key_size as usize))
        }
    }

    unsafe extern "C" fn lookup_call<C: KeyClass>(state: *const (), run: &Run<'_>, key: u64, _bucket: u64) -> u64 {
        // SAFETY: as in `map_and_key`.
        let (map, key) = unsafe { Self::map_and_key::<C>(state, key) };
        let hash = map.seed.hash(&key);
        let home = map.home(hash);
        let meta = Meta::load(map.meta(home));
        let tags = map.tags(home);
        let Some(place) = map.search_bucket(home, tags, tag(hash), &key) else {
            fence(Acquire);
            if (LRU || tags.link() == 0) && map.is_unchanged(home, meta) {
                return 0;
            }
            return map.lookup_further(run, &key);
        };
        fence(Acquire);
        if !map.is_unchanged(home, meta) {
            return map.lookup_further(run, &key);
        }
        map.note_use(place, meta);
        map.value_address(place.index, run.index())
    }

    /// A lookup of a key that is not in its first bucket, or was there when that changed.
    #[inline(never)]
    fn lookup_further(&self, run: &Run<'_>, key: &impl Words) -> u64 {
        match self.find(key) {
            None => 0,
            Some((place, meta)) => {
                self.note_use(place, meta);
                self.value_address(place.index, run.index())
            }
        }
    }

    /// An update with a value that is passed by address.
    unsafe extern "C" fn update_call<C: KeyClass>(
        state: *const (),
        run: &Run<'_>,
        key: u64,
        value: u64,
        flags: u64,
        _bucket: u64,
    ) -> i64 {
        // SAFETY: as in `map_and_key`.
        let (map, key, value) = unsafe {
            let (map, key) = Self::map_and_key::<C>(state, key);
            (map, key, SharedBytes::from_raw(value, map.common.value_size as usize))
        };
        map.update_of_program(run, &key, value, flags)
    }

    /// An update with a value that is passed as an integer.
    unsafe extern "C" fn update_word_call<C: KeyClass>(
        state: *const (),
        run: &Run<'_>,
        key: u64,
        value: u64,
        flags: u64,
        _bucket: u64,
    ) -> i64 {
        // SAFETY: as in `map_and_key`.
        let (map, key) = unsafe { Self::map_and_key::<C>(state, key) };
        if flags != 0 || map.common.is_sealed() {
            return map.update_with_word(run, &key, value, flags);
        }
        let hash = map.seed.hash(&key);
        let (home, tag) = (map.home(hash), tag(hash));
        let meta = Meta::load(map.meta(home));
        let Some(place) = map.search(home, tag, &key) else {
            return map.update_with_word(run, &key, value, flags);
        };
        // With the same version, the key is still there.
        if !try_lock_seen(run, map.meta(home), meta) {
            return map.update_with_word(run, &key, value, flags);
        }
        map.value_word(place, run).store(value, Release);
        publish(map.meta(home), map.note_use_held(place, meta));
        0
    }

    /// The only word of the value that an element has, for the run's slot if it has one for each.
    #[inline(always)]
    fn value_word(&self, place: Place, run: &Run<'_>) -> &AtomicU64 {
        // SAFETY: the index was read from the bucket that is held, and compared by `key_equals`; a value has at least one whole
        // word in the region, for each slot if there are some.
        unsafe {
            self.region
                .word64_unchecked(self.values.offset(place.index, run.index()))
        }
    }

    /// An update with flags, of a key that was not there, or of a bucket that somebody else has.
    #[inline(never)]
    fn update_with_word<K: Words>(&self, run: &Run<'_>, key: &K, value: u64, flags: u64) -> i64 {
        let bytes = value.to_ne_bytes();
        self.update_of_program(
            run,
            key,
            SharedBytes::from_slice(&bytes[..self.common.value_size as usize]),
            flags,
        )
    }

    fn update_of_program<K: Words>(&self, run: &Run<'_>, key: &K, value: SharedBytes<'_>, flags: u64) -> i64 {
        let result = self.common.check_current().and_then(|()| {
            let put = UpdateFlags::from_bits(flags).of_program(self.common.spin_lock.is_some())?;
            self.put(run, &Content { key, value, put })
        });
        errno(self.common.count_busy(result))
    }

    unsafe fn update_traced<'a, C: KeyClass>(
        map: &'a Map,
        run: &'a Run<'_>,
        key: u64,
        value: u64,
        flags: u64,
        pending: &mut Option<Pending<'a>>,
    ) -> i64 {
        // SAFETY: as in `map_and_key`.
        let (ops, key) = unsafe { Self::map_and_key::<C>(map.calls().state, key) };
        let (size, bytes) = (ops.common.value_size as usize, value.to_ne_bytes());
        let value = match map.calls().value {
            // SAFETY: the caller keeps to what `MapCalls` says.
            Pass::Address => unsafe { SharedBytes::from_raw(value, size) },
            Pass::Integer(_) => SharedBytes::from_slice(&bytes[..size]),
        };
        let update = |put| ops.put(run, &Content { key: &key, value, put });
        map.update_traced(run, ops, (ops.seed.hash(&key) >> 32, &key), flags, pending, update)
    }

    unsafe fn delete_traced<'a, C: KeyClass>(
        map: &'a Map,
        run: &'a Run<'_>,
        key: u64,
        pending: &mut Option<Pending<'a>>,
    ) -> i64 {
        // SAFETY: as in `map_and_key`.
        let (ops, key) = unsafe { Self::map_and_key::<C>(map.calls().state, key) };
        let delete = || ops.take_out(run, &key, |_| ());
        map.delete_traced(run, ops, (ops.seed.hash(&key) >> 32, &key), pending, delete)
    }

    unsafe extern "C" fn delete_call<C: KeyClass>(state: *const (), run: &Run<'_>, key: u64, _bucket: u64) -> i64 {
        // SAFETY: as in `map_and_key`.
        let (map, key) = unsafe { Self::map_and_key::<C>(state, key) };
        let result = map
            .common
            .check_current()
            .and_then(|()| map.take_out(run, &key, |_| ()));
        errno(map.common.count_busy(result))
    }
}

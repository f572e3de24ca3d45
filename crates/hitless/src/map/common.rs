//! What the state of every kind has: sizes, who may write, counters. Compiled code finds it beside what else it needs.

use std::sync::Arc;

use super::{
    Cpus, Creation, Elem, InlineArray, Key, Map, MapCalls, MapDef, MapError, MapOps, Pass, Put, TracedCalls,
    UpdateFlags, Words,
};
use crate::objects::Owned;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::region::{SharedBytes, round_up_8};
use crate::run::Run;
use crate::trace::{Cell, Event, Pending};

/// What the state of every kind has.
#[derive(Debug)]
pub(crate) struct Common {
    /// Writes from outside of a map migration are refused: the content has moved to another map.
    sealed: AtomicU32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    /// Offset of the spin lock in the value.
    pub(crate) spin_lock: Option<u32>,
    /// What its values refer to.
    pub(crate) owned: Option<Arc<Owned>>,
    /// Operations refused with [`MapError::Busy`].
    busy: AtomicU64,
}

impl Common {
    pub(crate) fn new(def: &MapDef) -> Common {
        Common {
            sealed: AtomicU32::new(0),
            key_size: def.key_size,
            value_size: def.value_size,
            max_entries: def.max_entries,
            spin_lock: def.spin_lock,
            owned: None,
            busy: AtomicU64::new(0),
        }
    }

    /// The same, of a kind whose values may refer to objects.
    pub(crate) fn owning(self, creation: &Creation<'_>) -> Common {
        Common {
            owned: creation.owned.cloned(),
            ..self
        }
    }

    /// Overwrites a value, but for its spin lock, and fields that refer to objects.
    ///
    /// # Safety
    /// `to` is a value in memory of the map's region, which is writable, `from` another one.
    #[inline]
    pub(crate) unsafe fn store(&self, to: SharedBytes<'_>, from: SharedBytes<'_>) {
        // SAFETY: as for this function.
        unsafe {
            match (&self.owned, self.spin_lock) {
                (None, None) => to.write(from),
                (None, Some(off)) => to.write_around(from, (off as usize, 4)),
                (Some(owned), _) => owned.fields().write(to, from),
            }
        }
    }

    /// Whether a value can be stored as a word: it is small, and all of it is bytes.
    #[inline]
    pub(crate) fn is_word(&self) -> bool {
        self.value_size <= 8 && self.is_bytes()
    }

    /// Whether all of a value is bytes, to be overwritten as they are.
    #[inline]
    pub(crate) fn is_bytes(&self) -> bool {
        self.spin_lock.is_none() && self.owned.is_none()
    }

    /// Fails where [`forget`](Self::forget) could not do all of its work.
    #[inline]
    pub(crate) fn check_forget(&self, run: &Run<'_>) -> Result<(), MapError> {
        match &self.owned {
            None => Ok(()),
            Some(owned) => owned.fields().check_clear(run),
        }
    }

    /// Lets go of what values refer to that are no element's any more, or were overwritten.
    #[inline]
    pub(crate) fn forget<'a>(&self, run: &Run<'_>, values: impl Iterator<Item = SharedBytes<'a>>) {
        if let Some(owned) = &self.owned {
            values.for_each(|value| owned.clear(run, value));
        }
    }

    /// Whether the map's content has moved to another map.
    #[inline]
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Acquire) != 0
    }

    /// Where the word lies that is not 0 if it has.
    pub(super) fn sealed_address(&self) -> u64 {
        std::ptr::from_ref(&self.sealed).expose_provenance() as u64
    }

    /// Refuses writes, from outside of a migration, from now on.
    pub(crate) fn seal(&self) {
        self.sealed.store(1, Release);
    }

    /// Refuses what would write a map whose content has moved.
    #[inline]
    pub(crate) fn check_current(&self) -> Result<(), MapError> {
        if self.is_sealed() {
            Err(MapError::Migrated)
        } else {
            Ok(())
        }
    }

    /// How many operations were refused as busy.
    pub(crate) fn busy_count(&self) -> u64 {
        self.busy.load(Relaxed)
    }

    /// Counts a result that is a refusal for nesting.
    #[inline]
    pub(crate) fn count_busy<T>(&self, result: Result<T, MapError>) -> Result<T, MapError> {
        if matches!(result, Err(MapError::Busy)) {
            self.busy.fetch_add(1, Relaxed);
        }
        result
    }
}

/// What a helper returns for an operation's result: 0 or the negative errno.
#[inline]
pub(crate) fn errno<T>(result: Result<T, MapError>) -> i64 {
    result.map_or_else(|error| -i64::from(error.errno()), |_| 0)
}

/// The calls of a kind that has no faster ones: by way of its [`MapOps`].
pub(crate) fn calls_by_ops<K: MapOps>(ops: &K) -> MapCalls {
    MapCalls {
        state: std::ptr::from_ref(ops).cast(),
        key: Pass::Address,
        value: Pass::Address,
        table: None,
        lookup: lookup::<K>,
        update: update::<K>,
        delete: delete::<K>,
        traced: TracedCalls {
            update: update_traced::<K>,
            delete: delete_traced::<K>,
        },
    }
}

/// # Safety
/// As [`MapCalls`] says; `state` is a `K`.
pub(super) unsafe fn state_and_key<'a, K: MapOps>(state: *const (), key: u64) -> (&'a K, Key) {
    // SAFETY: the caller vouches for both.
    unsafe {
        let ops = &*state.cast::<K>();
        let key = SharedBytes::from_raw(key, ops.common().key_size as usize);
        (ops, Key::new(key))
    }
}

unsafe extern "C" fn lookup<K: MapOps>(state: *const (), run: &Run<'_>, key: u64, _bucket: u64) -> u64 {
    // SAFETY: the caller keeps to what `MapCalls` says.
    let (ops, key) = unsafe { state_and_key::<K>(state, key) };
    let found = ops.lookup(&key);
    found.map_or(0, |elem| ops.value(elem, run.index()).address())
}

unsafe extern "C" fn update<K: MapOps>(
    state: *const (),
    run: &Run<'_>,
    key: u64,
    value: u64,
    flags: u64,
    _bucket: u64,
) -> i64 {
    // SAFETY: the caller keeps to what `MapCalls` says.
    let ((ops, key), value) = unsafe {
        let (ops, key) = state_and_key::<K>(state, key);
        let value = SharedBytes::from_raw(value, ops.common().value_size as usize);
        ((ops, key), value)
    };
    let common = ops.common();
    let result = common.check_current().and_then(|()| {
        let put = UpdateFlags::from_bits(flags).of_program(common.spin_lock.is_some())?;
        ops.update(run, &key, value, put)
    });
    errno(common.count_busy(result))
}

unsafe extern "C" fn delete<K: MapOps>(state: *const (), run: &Run<'_>, key: u64, _bucket: u64) -> i64 {
    // SAFETY: the caller keeps to what `MapCalls` says.
    let (ops, key) = unsafe { state_and_key::<K>(state, key) };
    let common = ops.common();
    let result = common.check_current().and_then(|()| ops.delete(run, &key));
    errno(common.count_busy(result))
}

unsafe fn update_traced<'a, K: MapOps>(
    map: &'a Map,
    run: &'a Run<'_>,
    key: u64,
    value: u64,
    flags: u64,
    pending: &mut Option<Pending<'a>>,
) -> i64 {
    // SAFETY: the caller keeps to what `MapCalls` says.
    let ((ops, key), value) = unsafe {
        let (ops, key) = state_and_key::<K>(map.calls().state, key);
        let value = SharedBytes::from_raw(value, ops.common().value_size as usize);
        ((ops, key), value)
    };
    let update = |put| ops.update(run, &key, value, put);
    map.update_traced(run, ops, (ops.stripe_hash(&key), &key), flags, pending, update)
}

unsafe fn delete_traced<'a, K: MapOps>(
    map: &'a Map,
    run: &'a Run<'_>,
    key: u64,
    pending: &mut Option<Pending<'a>>,
) -> i64 {
    // SAFETY: the caller keeps to what `MapCalls` says.
    let (ops, key) = unsafe { state_and_key::<K>(map.calls().state, key) };
    map.delete_traced(run, ops, (ops.stripe_hash(&key), &key), pending, || {
        ops.delete(run, &key)
    })
}

impl Map {
    /// Updates an element of the map, whose state is `ops`, under the stripe of its key if the map is traced.
    #[inline(always)]
    pub(super) fn update_traced<'a>(
        &'a self,
        run: &'a Run<'_>,
        ops: &impl MapOps,
        (hash, key): (u64, &impl Words),
        flags: u64,
        pending: &mut Option<Pending<'a>>,
        update: impl FnOnce(Put) -> Result<Elem, MapError>,
    ) -> i64 {
        let (common, flags) = (ops.common(), UpdateFlags::from_bits(flags));
        let result = common.check_current().and_then(|()| {
            let put = flags.of_program(common.spin_lock.is_some())?;
            let Some(trace) = self.armed() else {
                return update(put).map(|_| ());
            };
            let stripe = trace.lock(run, hash, key)?;
            let cell = Cell::own(self, run, update(Put { evict: false, ..put })?);
            *pending = Some(Pending::new(stripe, self, Event::Update { cell, flags }));
            Ok(())
        });
        errno(common.count_busy(result))
    }

    /// Likewise deletes one.
    #[inline(always)]
    pub(super) fn delete_traced<'a>(
        &'a self,
        run: &'a Run<'_>,
        ops: &impl MapOps,
        (hash, key): (u64, &impl Words),
        pending: &mut Option<Pending<'a>>,
        delete: impl FnOnce() -> Result<(), MapError>,
    ) -> i64 {
        let common = ops.common();
        let result = common.check_current().and_then(|()| {
            let Some(trace) = self.armed() else {
                return delete();
            };
            let stripe = trace.lock(run, hash, key)?;
            delete()?;
            *pending = Some(Pending::new(stripe, self, Event::Delete));
            Ok(())
        });
        errno(common.count_busy(result))
    }
}

impl Cpus {
    /// The slots whose values are meant, of an element with a value for each of so many; else that of the only value.
    pub(crate) fn written(self, run: &Run<'_>, slots: Option<u32>) -> std::ops::Range<u32> {
        match (self, slots) {
            (_, None) => 0..1,
            (Cpus::Own, Some(_)) => run.index()..run.index() + 1,
            (Cpus::One(slot), Some(_)) => slot..slot + 1,
            (Cpus::Each | Cpus::Every, Some(slots)) => 0..slots,
        }
    }

    /// Writes the values of an element of a per-CPU map that was there: those meant, at `target`.
    pub(crate) fn write<'a>(
        self,
        common: &Common,
        run: &Run<'_>,
        value: SharedBytes<'_>,
        slots: u32,
        target: impl Fn(u32) -> SharedBytes<'a>,
    ) {
        // SAFETY: `target` is memory of a map's region, which is writable.
        let write = |slot: u32, value: SharedBytes<'_>| unsafe { common.store(target(slot), value) };
        match self {
            Cpus::Own => write(run.index(), value),
            Cpus::One(slot) => write(slot, value),
            Cpus::Every => (0..slots).for_each(|slot| write(slot, value)),
            Cpus::Each => {
                for slot in 0..slots {
                    let size = target(slot).len();
                    write(slot, value.part(slot as usize * round_up_8(size), size));
                }
            }
        }
    }

    /// Writes all values of an element that is new: those not meant become zero.
    pub(crate) fn fill<'a>(
        self,
        common: &Common,
        run: &Run<'_>,
        value: SharedBytes<'_>,
        slots: u32,
        target: impl Fn(u32) -> SharedBytes<'a>,
    ) {
        let meant = self.written(run, Some(slots));
        for slot in (0..slots).filter(|slot| !meant.contains(slot)) {
            // SAFETY: as in `write`.
            unsafe {
                match &common.owned {
                    None => target(slot).clear(),
                    Some(owned) => owned.fields().wipe(target(slot)),
                }
            }
        }
        self.write(common, run, value, slots, target);
    }
}

/// Where the values of a per-CPU map are: each slot has its own, one after the other, so that slots share no cache line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values {
    /// Offset in the region of the first.
    pub(crate) at: usize,
    /// Bytes from one element's value to the next one's.
    pub(crate) stride: usize,
    /// Bytes from one slot's values to the next one's; 0 if there is one value for all.
    pub(crate) slot_stride: usize,
}

impl Values {
    #[inline]
    pub(crate) fn offset(&self, index: u32, slot: u32) -> usize {
        self.at + index as usize * self.stride + slot as usize * self.slot_stride
    }

    /// The element whose value, of any slot, the `len` bytes at an offset lie wholly inside.
    pub(crate) fn element_at(&self, off: usize, len: usize, value_size: usize, elements: u32) -> Option<Elem> {
        let mut off = off.checked_sub(self.at)?;
        if self.slot_stride > 0 {
            off %= self.slot_stride;
        }
        let index = u32::try_from(off / self.stride).ok()?;
        (index < elements && off % self.stride + len <= value_size).then_some(Elem(index))
    }

    /// The values as an array, which begins at `address`.
    pub(crate) fn inline(&self, address: u64, max_entries: u32, closed: Option<u64>) -> InlineArray {
        InlineArray {
            base: address,
            stride: self.stride as u64,
            max_entries,
            slot_stride: self.slot_stride as u64,
            closed,
        }
    }
}

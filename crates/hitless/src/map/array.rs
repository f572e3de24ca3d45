//! `BPF_MAP_TYPE_ARRAY`, `BPF_MAP_TYPE_PERCPU_ARRAY`: all elements exist from the start, found by index.
//!
//! The region is `max_entries` values, each at a multiple of `value_size` rounded up to eight; a per-CPU array has such a block
//! for each slot, at multiples of a page. Updates are made in place.

use super::common::{Common, Values, errno};
use super::key::{Seed, Short};
use super::{
    Audit, Creation, Elem, InlineArray, Key, Map, MapCalls, MapCreateError, MapError, MapOps, Pass, Put, Rule,
    TracedCalls, UpdateFlags,
};
use crate::primitive::Ordering::Relaxed;
use crate::region::{Region, SharedBytes, round_up_8};
use crate::run::Run;
use crate::trace::Pending;

/// Blocks of slots begin at multiples of this, so that slots share no cache line.
const BLOCK: u64 = 4096;

#[derive(Debug)]
pub(super) struct Array {
    common: Common,
    region: Region,
    values: Values,
    slots: u32,
}

pub(super) fn make(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    let def = creation.def;
    creation.check(def.key_size == 4, "key_size", def.key_size, "4 for an array")?;
    creation.check(def.value_size > 0, "value_size", def.value_size, "at least 1")?;
    creation.check(def.max_entries > 0, "max_entries", def.max_entries, "at least 1")?;
    let stride = round_up_8(def.value_size as usize) as u64;
    let block = u64::from(def.max_entries) * stride;
    let (slots, slot_stride) = if def.is_per_cpu() {
        creation.check_per_cpu_value()?;
        (creation.slots as u64, block.next_multiple_of(BLOCK))
    } else {
        (1, 0)
    };
    let bytes = block.checked_add(slot_stride * (slots - 1));
    let region = creation.reserve(stride, bytes.ok_or_else(|| creation.too_large(stride))?)?;
    Ok(Box::new(Array {
        common: Common::new(def).owning(creation),
        region,
        values: Values {
            at: 0,
            stride: stride as usize,
            slot_stride: slot_stride as usize,
        },
        slots: slots as u32,
    }))
}

impl Array {
    #[inline]
    fn put(&self, run: &Run<'_>, index: u32, value: SharedBytes<'_>, put: Put) -> Result<Elem, MapError> {
        let max_entries = self.common.max_entries;
        if index >= max_entries {
            return Err(MapError::IndexTooLarge { index, max_entries });
        }
        if put.rule == Rule::NoExist {
            return Err(MapError::Exists);
        }
        let elem = Elem(index);
        if self.values.slot_stride > 0 {
            put.cpus
                .write(&self.common, run, value, self.slots, |slot| self.value(elem, slot));
            let written = put.cpus.written(run, Some(self.slots));
            self.common.forget(run, written.map(|slot| self.value(elem, slot)));
            return Ok(elem);
        }
        if self.common.is_word() {
            // What is beyond the value belongs to nobody.
            let word = self.region.word64(self.values.offset(index, 0));
            word.store(value.load_word(), Relaxed);
            return Ok(elem);
        }
        self.common.check_forget(run)?;
        let target = self.value(elem, 0);
        // SAFETY: `target` is memory of this map's region, which is writable; its lock word is left alone.
        let write = || unsafe { self.common.store(target, value) };
        match self.common.spin_lock {
            Some(off) if put.in_place => crate::spin::with_lock(run, target.part(off as usize, 4), write)?,
            _ => write(),
        }
        self.common.forget(run, std::iter::once(target));
        Ok(elem)
    }

    /// # Safety
    /// As [`MapCalls`] says.
    unsafe extern "C" fn update_call(
        state: *const (),
        run: &Run<'_>,
        key: u64,
        value: u64,
        flags: u64,
        _bucket: u64,
    ) -> i64 {
        // SAFETY: the caller keeps to what `MapCalls` says.
        let (map, value) = unsafe {
            let map = &*state.cast::<Array>();
            (map, SharedBytes::from_raw(value, map.common.value_size as usize))
        };
        let common = &map.common;
        let result = common.check_current().and_then(|()| {
            let put = UpdateFlags::from_bits(flags).of_program(common.spin_lock.is_some())?;
            map.put(run, key as u32, value, put)
        });
        errno(common.count_busy(result))
    }

    unsafe fn update_traced<'a>(
        map: &'a Map,
        run: &'a Run<'_>,
        key: u64,
        value: u64,
        flags: u64,
        pending: &mut Option<Pending<'a>>,
    ) -> i64 {
        // SAFETY: the caller keeps to what `MapCalls` says.
        let (ops, value) = unsafe {
            let ops = &*map.calls().state.cast::<Array>();
            (ops, SharedBytes::from_raw(value, ops.common.value_size as usize))
        };
        let update = |put| ops.put(run, key as u32, value, put);
        map.update_traced(run, ops, (stripe(key), &Short([key])), flags, pending, update)
    }

    unsafe fn delete_traced<'a>(map: &'a Map, run: &'a Run<'_>, key: u64, pending: &mut Option<Pending<'a>>) -> i64 {
        let _ = pending;
        // SAFETY: the caller keeps to what `MapCalls` says.
        unsafe { Array::delete_call(map.calls().state, run, key, 0) }
    }

    /// # Safety
    /// As [`MapCalls`] says.
    unsafe extern "C" fn lookup_call(state: *const (), run: &Run<'_>, key: u64, _bucket: u64) -> u64 {
        // SAFETY: the caller keeps to what `MapCalls` says.
        let map = unsafe { &*state.cast::<Array>() };
        if key >= u64::from(map.common.max_entries) {
            return 0;
        }
        map.region.address(map.values.offset(key as u32, run.index()))
    }

    /// # Safety
    /// As [`MapCalls`] says.
    unsafe extern "C" fn delete_call(state: *const (), _run: &Run<'_>, _key: u64, _bucket: u64) -> i64 {
        // SAFETY: the caller keeps to what `MapCalls` says.
        let common = unsafe { &(*state.cast::<Array>()).common };
        errno(common.check_current().and(Err::<(), _>(MapError::NotDeletable)))
    }
}

/// Which stripe of map tracing an index belongs to.
fn stripe(index: u64) -> u64 {
    Seed::FIXED.hash(&Short([index])) >> 32
}

impl MapOps for Array {
    fn lookup(&self, key: &Key) -> Option<Elem> {
        (key.index() < self.common.max_entries).then(|| Elem(key.index()))
    }

    fn update(&self, run: &Run<'_>, key: &Key, value: SharedBytes<'_>, put: Put) -> Result<Elem, MapError> {
        self.put(run, key.index(), value, put)
    }

    fn delete(&self, _run: &Run<'_>, _key: &Key) -> Result<(), MapError> {
        Err(MapError::NotDeletable)
    }

    fn indices(&self) -> u32 {
        self.common.max_entries
    }

    fn key_of(&self, elem: Elem) -> Option<Key> {
        Some(Key::from_words(4, |_| u64::from(elem.0)))
    }

    fn value(&self, elem: Elem, slot: u32) -> SharedBytes<'_> {
        self.region
            .bytes(self.values.offset(elem.0, slot), self.common.value_size as usize)
    }

    fn element_at(&self, address: u64, len: usize) -> Option<Elem> {
        let off = self.region.offset_of(address)?;
        self.values
            .element_at(off, len, self.common.value_size as usize, self.common.max_entries)
    }

    fn stripe_hash(&self, key: &Key) -> u64 {
        stripe(key.index().into())
    }

    fn positions(&self) -> u64 {
        self.common.max_entries.into()
    }

    fn at(&self, position: u64) -> Option<Elem> {
        Some(Elem(position as u32))
    }

    fn place_of(&self, key: &Key) -> Option<(u64, Elem)> {
        self.lookup(key).map(|elem| (elem.0.into(), elem))
    }

    fn recover(&mut self, audit: &mut Audit) {
        // Any bytes are values.
        audit.elements = self.common.max_entries.into();
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn calls(&self) -> MapCalls {
        MapCalls {
            state: std::ptr::from_ref(self).cast(),
            key: Pass::integer(4),
            value: Pass::Address,
            table: None,
            lookup: Array::lookup_call,
            update: Array::update_call,
            delete: Array::delete_call,
            traced: TracedCalls {
                update: Array::update_traced,
                delete: Array::delete_traced,
            },
        }
    }

    fn inline(&self) -> Option<InlineArray> {
        let base = self.region.address(self.values.at);
        let closed = self.common.is_bytes().then(|| self.common.sealed_address());
        Some(self.values.inline(base, self.common.max_entries, closed))
    }
}

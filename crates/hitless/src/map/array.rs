//! `BPF_MAP_TYPE_ARRAY`: all elements exist from the start, found by index.
//!
//! The region is `max_entries` values, each at a multiple of `value_size` rounded up to eight. Updates are made in place.

use super::{Elem, Key, MapCreateError, MapDef, MapError, MapOps};
use crate::region::{Region, SharedBytes, round_up_8};
use crate::run::Run;

#[derive(Debug)]
pub(super) struct Array {
    region: Region,
    value_size: usize,
    stride: usize,
    max_entries: u32,
    spin_lock: Option<usize>,
}

impl Array {
    pub(super) fn new(def: &MapDef) -> Result<Array, MapCreateError> {
        def.check(def.key_size == 4, "key_size", def.key_size.into(), "4 for an array")?;
        def.check(def.value_size > 0, "value_size", def.value_size.into(), "at least 1")?;
        def.check(def.max_entries > 0, "max_entries", def.max_entries.into(), "at least 1")?;
        let stride = round_up_8(def.value_size as usize);
        let region = def.reserve(stride as u64, u64::from(def.max_entries) * stride as u64)?;
        Ok(Array {
            region,
            value_size: def.value_size as usize,
            stride,
            max_entries: def.max_entries,
            spin_lock: def.spin_lock.map(|off| off as usize),
        })
    }
}

impl MapOps for Array {
    fn lookup(&self, key: &Key) -> Option<Elem> {
        (key.index() < self.max_entries).then(|| Elem(key.index()))
    }

    fn update(
        &self,
        run: &Run<'_>,
        key: &Key,
        value: SharedBytes<'_>,
        rule: u64,
        in_place: bool,
    ) -> Result<Elem, MapError> {
        let index = key.index();
        if index >= self.max_entries {
            return Err(MapError::IndexTooLarge {
                index,
                max_entries: self.max_entries,
            });
        }
        if rule == 1 {
            return Err(MapError::Exists);
        }
        let elem = Elem(index);
        let target = self.value(elem);
        // SAFETY: `target` is memory of this map's region, which is writable; its lock word is left alone.
        unsafe {
            match self.spin_lock {
                None => target.write(value),
                Some(off) if in_place => {
                    crate::spin::with_lock(run, target.part(off, 4), || target.write_around(value, (off, 4)))?;
                }
                Some(off) => target.write_around(value, (off, 4)),
            }
        }
        Ok(elem)
    }

    fn delete(&self, _run: &Run<'_>, _key: &Key) -> Result<(), MapError> {
        Err(MapError::NotDeletable)
    }

    fn indices(&self) -> u32 {
        self.max_entries
    }

    fn key_of(&self, elem: Elem) -> Option<Key> {
        Some(Key::from_words(4, |_| u64::from(elem.0)))
    }

    fn value(&self, elem: Elem) -> SharedBytes<'_> {
        self.region.bytes(elem.0 as usize * self.stride, self.value_size)
    }

    fn element_at(&self, address: u64, len: usize) -> Option<Elem> {
        let off = self.region.offset_of(address)?;
        let inside = off % self.stride;
        let index = u32::try_from(off / self.stride).ok()?;
        (index < self.max_entries && inside + len <= self.value_size).then_some(Elem(index))
    }

    fn stripe_hash(&self, key: &Key) -> u64 {
        key.hash(0)
    }
}

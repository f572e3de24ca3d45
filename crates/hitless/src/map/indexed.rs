//! Arrays whose elements are no bytes but programs, maps, or buffers, or are not there: what such kinds have in common.
//!
//! An element is what a kind says that it is; the host sees four bytes of it, an id.

use super::common::{Common, calls_by_ops};
use super::key::Seed;
use super::{Creation, Elem, Key, MapCalls, MapCreateError, MapError, MapOps, Put, Special};
use crate::primitive::Ordering::Relaxed;
use crate::region::{Region, SharedBytes};
use crate::run::Run;

/// Bytes of an id.
pub(super) const ID: usize = 4;

/// What differs.
pub(super) trait Indexed: Send + Sync + std::fmt::Debug + Sized + 'static {
    /// Whether there is an element at an index.
    fn is_there(&self, index: u32) -> bool;

    fn special(map: &IndexedMap<Self>) -> Special<'_>;

    /// What compiled code calls.
    fn calls(map: &IndexedMap<Self>) -> MapCalls {
        calls_by_ops(map)
    }
}

/// An array of what is no bytes.
#[derive(Debug)]
pub(crate) struct IndexedMap<T> {
    common: Common,
    /// What the host sees.
    ids: Region,
    pub(super) elements: T,
}

impl<T> IndexedMap<T> {
    /// Refuses an index that is not below `max_entries`.
    pub(super) fn check(&self, index: u32) -> Result<usize, MapError> {
        let max_entries = self.common.max_entries;
        if index < max_entries {
            Ok(index as usize)
        } else {
            Err(MapError::IndexTooLarge { index, max_entries })
        }
    }

    /// Says what the host sees at an index, before an element is put there.
    pub(super) fn set_id(&self, index: usize, id: u32) {
        self.ids.word32(index * ID).store(id, Relaxed);
    }
}

/// Makes one, with elements that `make` makes for so many indices.
pub(super) fn make<T: Indexed>(
    creation: &Creation<'_>,
    make: impl FnOnce(usize) -> T,
) -> Result<Box<dyn MapOps>, MapCreateError> {
    let def = creation.def;
    creation.check(def.key_size == 4, "key_size", def.key_size, "4 for an array")?;
    creation.check(
        def.value_size == ID as u32,
        "value_size",
        def.value_size,
        "4 for an array of objects",
    )?;
    creation.check(def.max_entries > 0, "max_entries", def.max_entries, "at least 1")?;
    let bytes = u64::from(def.max_entries) * ID as u64;
    Ok(Box::new(IndexedMap {
        common: Common::new(def),
        // The entries lie beside it, a pointer each.
        ids: creation.reserve(ID as u64 + 8, bytes)?,
        elements: make(def.max_entries as usize),
    }))
}

impl<T: Indexed> MapOps for IndexedMap<T> {
    fn lookup(&self, key: &Key) -> Option<Elem> {
        let index = key.index();
        self.elements.is_there(index).then_some(Elem(index))
    }

    fn update(&self, _run: &Run<'_>, _key: &Key, _value: SharedBytes<'_>, _put: Put) -> Result<Elem, MapError> {
        Err(MapError::NotBytes)
    }

    fn delete(&self, _run: &Run<'_>, _key: &Key) -> Result<(), MapError> {
        Err(MapError::NotBytes)
    }

    fn indices(&self) -> u32 {
        self.common.max_entries
    }

    fn key_of(&self, elem: Elem) -> Option<Key> {
        Some(Key::from_words(4, |_| u64::from(elem.0)))
    }

    fn value(&self, elem: Elem, _slot: u32) -> SharedBytes<'_> {
        self.ids.bytes(elem.0 as usize * ID, ID)
    }

    fn element_at(&self, _address: u64, _len: usize) -> Option<Elem> {
        None
    }

    fn stripe_hash(&self, key: &Key) -> u64 {
        Seed::FIXED.hash(key) >> 32
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

    fn common(&self) -> &Common {
        &self.common
    }

    fn calls(&self) -> MapCalls {
        T::calls(self)
    }

    fn special(&self) -> Special<'_> {
        T::special(self)
    }
}

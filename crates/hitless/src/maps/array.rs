//! Arrays.

use std::marker::PhantomData;

use hitless_verifier::MapKind;

use super::{MapTypeError, TypedMap, check_key, check_kind, check_value};
use crate::Value;
use crate::map::{MapError, MapHandle, UpdateFlags};

/// An array: values by index, all of them there from the start.
#[doc(alias = "BPF_MAP_TYPE_ARRAY")]
#[derive(Clone, Debug)]
pub struct Array<V> {
    map: MapHandle,
    types: PhantomData<fn() -> V>,
}

impl<V: Value> TypedMap for Array<V> {
    fn from_map(map: &MapHandle) -> Result<Array<V>, MapTypeError> {
        check_kind(map, &[MapKind::Array])?;
        check_key::<u32>(map)?;
        check_value::<V>(map)?;
        Ok(Array {
            map: map.clone(),
            types: PhantomData,
        })
    }
}

impl<V: Value> Array<V> {
    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.map.def().max_entries
    }

    /// Whether there are none: never, since arrays have at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at an index.
    ///
    /// # Errors
    /// [`MapError::IndexTooLarge`]; [`MapError::Busy`] in a signal handler that interrupted a holder of the value's spin
    /// lock; [`MapError::Forked`].
    pub fn get(&self, index: u32) -> Result<V, MapError> {
        let mut value = V::zeroed();
        let bytes = bytemuck::bytes_of_mut(&mut value);
        if self.map.lookup_into(&index.to_ne_bytes(), bytes)? {
            Ok(value)
        } else {
            Err(MapError::IndexTooLarge {
                index,
                max_entries: self.len(),
            })
        }
    }

    /// Replaces the value at an index; `flags` are [`UpdateFlags::ANY`], or [`UpdateFlags::LOCK`] to write it under its
    /// spin lock.
    ///
    /// # Errors
    /// [`MapError::IndexTooLarge`], and as [`Map::update`](crate::Map::update).
    pub fn set(&self, index: u32, value: &V, flags: UpdateFlags) -> Result<(), MapError> {
        self.map.update(&index.to_ne_bytes(), bytemuck::bytes_of(value), flags)
    }

    /// All values, from index 0 on, each read when the iterator comes to it.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<V, MapError>> + '_ {
        let indices = 0..self.len() as usize;
        indices.map(|index| self.get(index as u32))
    }

    /// The map without its type.
    #[must_use]
    pub fn map(&self) -> &MapHandle {
        &self.map
    }
}

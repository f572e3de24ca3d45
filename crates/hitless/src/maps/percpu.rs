//! Per-CPU maps: an element has a value for each slot, which programs write without getting in each other's way.

use std::iter::Sum;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use hitless_verifier::MapKind;

use super::{MapTypeError, TypedMap, check_key, check_kind, check_value};
use crate::Value;
use crate::map::{Entries, MapError, MapHandle, UpdateFlags};
use crate::region::round_up_8;

/// The values of an element, one for each slot, in the order of the slots.
///
/// # Examples
/// ```
/// use hitless::maps::PerCpuValues;
///
/// let values = PerCpuValues::from(vec![3u64, 4, 0, 1]);
/// assert_eq!((values.len(), values[1]), (4, 4));
/// assert_eq!((values.sum(), values.max()), (8, Some(4)));
/// assert_eq!(values.fold(0, |used, value| used + u64::from(*value > 0)), 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerCpuValues<V>(Box<[V]>);

impl<V> PerCpuValues<V> {
    /// All of them added up.
    #[must_use]
    pub fn sum<S: for<'a> Sum<&'a V>>(&self) -> S {
        self.0.iter().sum()
    }

    /// The greatest.
    #[must_use]
    pub fn max(&self) -> Option<V>
    where
        V: Ord + Copy,
    {
        self.0.iter().copied().max()
    }

    /// What comes of `initial` and each of them, one after the other.
    pub fn fold<A>(&self, initial: A, f: impl FnMut(A, &V) -> A) -> A {
        self.0.iter().fold(initial, f)
    }
}

impl<V> From<Vec<V>> for PerCpuValues<V> {
    fn from(values: Vec<V>) -> PerCpuValues<V> {
        PerCpuValues(values.into())
    }
}

impl<V> Deref for PerCpuValues<V> {
    type Target = [V];

    fn deref(&self) -> &[V] {
        &self.0
    }
}

impl<V> DerefMut for PerCpuValues<V> {
    fn deref_mut(&mut self) -> &mut [V] {
        &mut self.0
    }
}

impl<V: Value> PerCpuValues<V> {
    fn read(bytes: &[u8]) -> PerCpuValues<V> {
        let values = bytes.chunks_exact(stride::<V>());
        PerCpuValues(
            values
                .map(|value| bytemuck::pod_read_unaligned(&value[..size_of::<V>()]))
                .collect(),
        )
    }

    fn write(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len() * stride::<V>()];
        for (value, to) in self.iter().zip(bytes.chunks_exact_mut(stride::<V>())) {
            to[..size_of::<V>()].copy_from_slice(bytemuck::bytes_of(value));
        }
        bytes
    }
}

/// How far apart the host sees the values of two slots.
fn stride<V>() -> usize {
    round_up_8(size_of::<V>())
}

/// A hash map with a value for each slot; also one that evicts what was not used for long.
#[doc(alias = "BPF_MAP_TYPE_PERCPU_HASH")]
#[doc(alias = "BPF_MAP_TYPE_LRU_PERCPU_HASH")]
#[derive(Clone, Debug)]
pub struct PerCpuHashMap<K, V> {
    map: MapHandle,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Value, V: Value> TypedMap for PerCpuHashMap<K, V> {
    fn from_map(map: &MapHandle) -> Result<PerCpuHashMap<K, V>, MapTypeError> {
        check_kind(map, &[MapKind::PercpuHash, MapKind::LruPercpuHash])?;
        check_key::<K>(map)?;
        check_value::<V>(map)?;
        Ok(PerCpuHashMap {
            map: map.clone(),
            types: PhantomData,
        })
    }
}

impl<K: Value, V: Value> PerCpuHashMap<K, V> {
    /// The values of a key, if it is there.
    ///
    /// # Errors
    /// [`MapError::Forked`].
    pub fn get(&self, key: &K) -> Result<Option<PerCpuValues<V>>, MapError> {
        let found = self.map.lookup(bytemuck::bytes_of(key))?;
        Ok(found.map(|bytes| PerCpuValues::read(&bytes)))
    }

    /// Sets the values of a key, one for each slot.
    ///
    /// # Errors
    /// [`MapError`], by variant: as [`Map::update`](crate::Map::update); [`MapError::ValueSize`] if there are more or fewer than slots.
    pub fn insert(&self, key: &K, values: &PerCpuValues<V>, flags: UpdateFlags) -> Result<(), MapError> {
        self.map.update(bytemuck::bytes_of(key), &values.write(), flags)
    }

    /// Sets the value that a key has for one slot; the others are zero if the key was not there.
    ///
    /// # Errors
    /// [`MapError::NoSlot`], and as [`Map::update`](crate::Map::update).
    pub fn insert_slot(&self, key: &K, slot: u32, value: &V, flags: UpdateFlags) -> Result<(), MapError> {
        let flags = flags | UpdateFlags::slot(slot);
        self.map
            .update(bytemuck::bytes_of(key), bytemuck::bytes_of(value), flags)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// [`MapError::NotFound`] if it is not there, and as [`Map::delete`](crate::Map::delete).
    pub fn remove(&self, key: &K) -> Result<(), MapError> {
        self.map.delete(bytemuck::bytes_of(key))
    }

    /// Removes a key and returns its values, as one step; `None` if it is not there.
    ///
    /// # Errors
    /// As [`Map::lookup_and_delete`](crate::Map::lookup_and_delete).
    pub fn take(&self, key: &K) -> Result<Option<PerCpuValues<V>>, MapError> {
        let taken = self.map.lookup_and_delete(bytemuck::bytes_of(key))?;
        Ok(taken.map(|bytes| PerCpuValues::read(&bytes)))
    }

    /// All keys with their values, each read when the iterator comes to it.
    #[must_use]
    pub fn iter(&self) -> PerCpuHashIter<'_, K, V> {
        PerCpuHashIter {
            entries: self.map.iter(),
            types: PhantomData,
        }
    }

    /// The map without its types.
    #[must_use]
    pub fn map(&self) -> &MapHandle {
        &self.map
    }
}

impl<'a, K: Value, V: Value> IntoIterator for &'a PerCpuHashMap<K, V> {
    type Item = Result<(K, PerCpuValues<V>), MapError>;
    type IntoIter = PerCpuHashIter<'a, K, V>;

    fn into_iter(self) -> PerCpuHashIter<'a, K, V> {
        self.iter()
    }
}

/// The elements of a per-CPU hash map, from [`PerCpuHashMap::iter`]. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct PerCpuHashIter<'a, K, V> {
    entries: Entries<'a>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Value, V: Value> Iterator for PerCpuHashIter<'_, K, V> {
    type Item = Result<(K, PerCpuValues<V>), MapError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        Some(entry.map(|(key, values)| (bytemuck::pod_read_unaligned(&key), PerCpuValues::read(&values))))
    }
}

/// An array with a value for each index and slot.
#[doc(alias = "BPF_MAP_TYPE_PERCPU_ARRAY")]
#[derive(Clone, Debug)]
pub struct PerCpuArray<V> {
    map: MapHandle,
    types: PhantomData<fn() -> V>,
}

impl<V: Value> TypedMap for PerCpuArray<V> {
    fn from_map(map: &MapHandle) -> Result<PerCpuArray<V>, MapTypeError> {
        check_kind(map, &[MapKind::PercpuArray])?;
        check_key::<u32>(map)?;
        check_value::<V>(map)?;
        Ok(PerCpuArray {
            map: map.clone(),
            types: PhantomData,
        })
    }
}

impl<V: Value> PerCpuArray<V> {
    /// How many indices there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.map.def().max_entries
    }

    /// Whether there are none: never, since arrays have at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values at an index.
    ///
    /// # Errors
    /// [`MapError::IndexTooLarge`], [`MapError::Forked`].
    pub fn get(&self, index: u32) -> Result<PerCpuValues<V>, MapError> {
        let found = self.map.lookup(&index.to_ne_bytes())?;
        found
            .map(|bytes| PerCpuValues::read(&bytes))
            .ok_or(MapError::IndexTooLarge {
                index,
                max_entries: self.len(),
            })
    }

    /// Replaces the values at an index, one for each slot.
    ///
    /// # Errors
    /// [`MapError::IndexTooLarge`], and as [`Map::update`](crate::Map::update); [`MapError::ValueSize`] if there are more or fewer than slots.
    pub fn set(&self, index: u32, values: &PerCpuValues<V>) -> Result<(), MapError> {
        self.map.update(&index.to_ne_bytes(), &values.write(), UpdateFlags::ANY)
    }

    /// Replaces the value at an index for one slot.
    ///
    /// # Errors
    /// [`MapError::NoSlot`], [`MapError::IndexTooLarge`], and as [`Map::update`](crate::Map::update).
    pub fn set_slot(&self, index: u32, slot: u32, value: &V) -> Result<(), MapError> {
        self.map
            .update(&index.to_ne_bytes(), bytemuck::bytes_of(value), UpdateFlags::slot(slot))
    }

    /// The values of all indices, from 0 on, each read when the iterator comes to it.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<PerCpuValues<V>, MapError>> + '_ {
        let indices = 0..self.len() as usize;
        indices.map(|index| self.get(index as u32))
    }

    /// The map without its type.
    #[must_use]
    pub fn map(&self) -> &MapHandle {
        &self.map
    }
}

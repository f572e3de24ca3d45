//! Hash maps.

use std::marker::PhantomData;

use hitless_verifier::MapKind;

use super::{MapTypeError, TypedMap, check_key, check_kind, check_value};
use crate::Value;
use crate::map::{Entries, MapError, MapHandle, UpdateFlags};

/// A hash map, also one that evicts what was not used for long when it is full.
#[doc(alias = "BPF_MAP_TYPE_HASH")]
#[doc(alias = "BPF_MAP_TYPE_LRU_HASH")]
#[derive(Debug)]
pub struct HashMap<K, V> {
    map: MapHandle,
    types: PhantomData<fn(K) -> V>,
}

/// A hash map that evicts: it is used like any other.
#[doc(alias = "BPF_MAP_TYPE_LRU_HASH")]
pub type LruHashMap<K, V> = HashMap<K, V>;

impl<K, V> Clone for HashMap<K, V> {
    fn clone(&self) -> HashMap<K, V> {
        HashMap {
            map: self.map.clone(),
            types: PhantomData,
        }
    }
}

impl<K: Value, V: Value> TypedMap for HashMap<K, V> {
    fn from_map(map: &MapHandle) -> Result<HashMap<K, V>, MapTypeError> {
        check_kind(map, &[MapKind::Hash, MapKind::LruHash])?;
        check_key::<K>(map)?;
        check_value::<V>(map)?;
        Ok(HashMap {
            map: map.clone(),
            types: PhantomData,
        })
    }
}

impl<K: Value, V: Value> HashMap<K, V> {
    /// The value of a key, if it is there.
    ///
    /// # Errors
    /// [`MapError::Busy`] in a signal handler that interrupted a holder of the value's spin lock; [`MapError::Forked`].
    pub fn get(&self, key: &K) -> Result<Option<V>, MapError> {
        let mut value = V::zeroed();
        let found = self
            .map
            .lookup_into(bytemuck::bytes_of(key), bytemuck::bytes_of_mut(&mut value))?;
        Ok(found.then_some(value))
    }

    /// Sets the value of a key; `flags` say whether it has to be there before, or must not.
    ///
    /// # Errors
    /// [`MapError`], by variant: as [`Map::update`](crate::Map::update).
    pub fn insert(&self, key: &K, value: &V, flags: UpdateFlags) -> Result<(), MapError> {
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

    /// All keys with their values, each read when the iterator comes to it: a key that is there throughout shows up once.
    #[must_use]
    pub fn iter(&self) -> HashIter<'_, K, V> {
        HashIter {
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

impl<'a, K: Value, V: Value> IntoIterator for &'a HashMap<K, V> {
    type Item = Result<(K, V), MapError>;
    type IntoIter = HashIter<'a, K, V>;

    fn into_iter(self) -> HashIter<'a, K, V> {
        self.iter()
    }
}

/// The elements of a hash map, from [`HashMap::iter`]. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct HashIter<'a, K, V> {
    entries: Entries<'a>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Value, V: Value> Iterator for HashIter<'_, K, V> {
    type Item = Result<(K, V), MapError>;

    fn next(&mut self) -> Option<Result<(K, V), MapError>> {
        let (mut key, mut value) = (K::zeroed(), V::zeroed());
        let (key_bytes, value_bytes) = (bytemuck::bytes_of_mut(&mut key), bytemuck::bytes_of_mut(&mut value));
        match self.entries.next_into(key_bytes, value_bytes) {
            Ok(true) => Some(Ok((key, value))),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

//! Hash maps.

use std::marker::PhantomData;

use hitless_verifier::MapKind;

use super::{MapTypeError, TypedMap, check_key, check_kind, check_value};
use crate::Value;
use crate::map::{BatchCursor, BatchError, Entries, Entry, MapError, MapHandle, UpdateFlags};

/// A hash map, also one that evicts what was not used for long when it is full.
#[doc(alias = "BPF_MAP_TYPE_HASH")]
#[doc(alias = "BPF_MAP_TYPE_LRU_HASH")]
#[derive(Clone, Debug)]
pub struct HashMap<K, V> {
    map: MapHandle,
    types: PhantomData<fn(K) -> V>,
}

/// A hash map that evicts: it is used like any other.
#[doc(alias = "BPF_MAP_TYPE_LRU_HASH")]
pub type LruHashMap<K, V> = HashMap<K, V>;

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

    /// Removes a key and returns its value, as one step; `None` if it is not there.
    ///
    /// # Errors
    /// As [`Map::lookup_and_delete`](crate::Map::lookup_and_delete).
    pub fn take(&self, key: &K) -> Result<Option<V>, MapError> {
        let taken = self.map.lookup_and_delete(bytemuck::bytes_of(key))?;
        Ok(taken.map(|value| bytemuck::pod_read_unaligned(&value)))
    }

    /// Up to `limit` keys with their values, from where the cursor stands; fewer only at the end. Quicker than an iterator, since
    /// many are read in one run.
    ///
    /// # Errors
    /// As [`Map::lookup_batch`](crate::Map::lookup_batch).
    ///
    /// # Examples
    /// ```
    /// # use hitless::maps::{HashMap, TypedMap};
    /// # use hitless::{BatchCursor, MapDef, MapKind, Runtime, UpdateFlags};
    /// # let runtime = Runtime::default();
    /// # let map = runtime.create_map(MapDef::new("counts", MapKind::Hash, 4, 8, 1000))?;
    /// let counts = HashMap::<u32, u64>::from_map(&map)?;
    /// let new: Vec<(u32, u64)> = (0..500).map(|n| (n, 1)).collect();
    /// counts.insert_batch(new.iter().map(|(key, value)| (key, value)), UpdateFlags::ANY)?;
    /// let (mut cursor, mut sum) = (BatchCursor::default(), 0);
    /// while !cursor.is_done() {
    ///     sum += counts.get_batch(&mut cursor, 100)?.iter().map(|(_, value)| value).sum::<u64>();
    /// }
    /// assert_eq!(sum, 500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_batch(&self, cursor: &mut BatchCursor, limit: usize) -> Result<Vec<(K, V)>, MapError> {
        Ok(typed(self.map.lookup_batch(cursor, limit)?))
    }

    /// Removes up to `limit` keys, each in one step with reading its value, from where the cursor stands.
    ///
    /// # Errors
    /// As [`Map::lookup_and_delete_batch`](crate::Map::lookup_and_delete_batch).
    pub fn take_batch(&self, cursor: &mut BatchCursor, limit: usize) -> Result<Vec<(K, V)>, MapError> {
        Ok(typed(self.map.lookup_and_delete_batch(cursor, limit)?))
    }

    /// Sets the values of several keys, in order. Of flags there is [`UpdateFlags::LOCK`].
    ///
    /// # Errors
    /// [`BatchError`]: which one could not be set, and why; those before it were.
    pub fn insert_batch<'a>(
        &self,
        entries: impl IntoIterator<Item = (&'a K, &'a V)>,
        flags: UpdateFlags,
    ) -> Result<(), BatchError> {
        let entries = entries.into_iter();
        let bytes = entries.map(|(key, value)| (bytemuck::bytes_of(key), bytemuck::bytes_of(value)));
        self.map.update_batch(bytes, flags)
    }

    /// Removes several keys, in order.
    ///
    /// # Errors
    /// [`BatchError`]: which one could not be removed, and why; those before it were.
    pub fn remove_batch<'a>(&self, keys: impl IntoIterator<Item = &'a K>) -> Result<(), BatchError> {
        self.map.delete_batch(keys.into_iter().map(bytemuck::bytes_of))
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

fn typed<K: Value, V: Value>(entries: Vec<Entry>) -> Vec<(K, V)> {
    let read =
        |(key, value): (Vec<u8>, Vec<u8>)| (bytemuck::pod_read_unaligned(&key), bytemuck::pod_read_unaligned(&value));
    entries.into_iter().map(read).collect()
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

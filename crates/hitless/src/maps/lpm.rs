//! Tries that find the longest prefix.

use std::marker::PhantomData;

use hitless_verifier::MapKind;

use super::{MapTypeError, TypedMap, check_kind, check_value};
use crate::Value;
use crate::btf_type::LayoutMismatch;
use crate::map::{Entries, MapError, MapHandle, UpdateFlags};

/// The first bits of something, such as of an address in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix<K> {
    /// How many bits count, from the first byte on, the most significant one of each first.
    pub len: u32,
    /// The bytes; those behind `len` bits do not matter.
    pub data: K,
}

impl<K> Prefix<K> {
    /// The first `len` bits of `data`.
    #[must_use]
    pub fn new(len: u32, data: K) -> Prefix<K> {
        Prefix { len, data }
    }

    /// All bits of `data`.
    #[must_use]
    pub fn whole(data: K) -> Prefix<K> {
        Prefix {
            len: 8 * size_of::<K>() as u32,
            data,
        }
    }
}

/// Bytes of the length in a key.
const LENGTH: usize = 4;

impl<K: Value> Prefix<K> {
    fn to_bytes(self) -> Vec<u8> {
        [&self.len.to_ne_bytes()[..], bytemuck::bytes_of(&self.data)].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Prefix<K> {
        let (len, data) = bytes.split_at(LENGTH);
        Prefix {
            len: bytemuck::pod_read_unaligned(len),
            data: bytemuck::pod_read_unaligned(data),
        }
    }
}

/// A map from prefixes to values, which finds the longest prefix of what is looked up. Its keys are a `u32`, the number of
/// bits, and a `K` behind it.
///
/// # Examples
/// ```
/// use hitless::maps::{LpmTrie, Prefix, TypedMap};
/// use hitless::{MapDef, MapFlags, MapKind, Runtime, UpdateFlags};
///
/// let runtime = Runtime::default();
/// let mut def = MapDef::new("routes", MapKind::LpmTrie, 8, 4, 100);
/// def.flags = MapFlags::NO_PREALLOC;
/// let map = runtime.create_map(def)?;
/// let routes = LpmTrie::<[u8; 4], u32>::from_map(&map)?;
/// routes.insert(Prefix::new(8, [10, 0, 0, 0]), &1, UpdateFlags::ANY)?;
/// routes.insert(Prefix::new(16, [10, 9, 0, 0]), &2, UpdateFlags::ANY)?;
/// assert_eq!(routes.get(Prefix::whole([10, 9, 8, 7]))?, Some(2));
/// assert_eq!(routes.get(Prefix::whole([10, 1, 2, 3]))?, Some(1));
/// assert_eq!(routes.get(Prefix::whole([11, 1, 2, 3]))?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "BPF_MAP_TYPE_LPM_TRIE")]
#[derive(Clone, Debug)]
pub struct LpmTrie<K, V> {
    map: MapHandle,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Value, V: Value> TypedMap for LpmTrie<K, V> {
    fn from_map(map: &MapHandle) -> Result<LpmTrie<K, V>, MapTypeError> {
        check_kind(map, &[MapKind::LpmTrie])?;
        let (found, expected) = (map.def().key_size as usize, LENGTH + size_of::<K>());
        if found != expected {
            return Err(MapTypeError::Key {
                map: map.name().to_owned(),
                source: LayoutMismatch::Size { found, expected },
            });
        }
        check_value::<V>(map)?;
        Ok(LpmTrie {
            map: map.clone(),
            types: PhantomData,
        })
    }
}

impl<K: Value, V: Value> LpmTrie<K, V> {
    /// The value of the longest prefix in the map that `prefix` begins with.
    ///
    /// # Errors
    /// [`MapError`], by variant: as [`Map::lookup`](crate::Map::lookup).
    pub fn get(&self, prefix: Prefix<K>) -> Result<Option<V>, MapError> {
        let mut value = V::zeroed();
        let found = self
            .map
            .lookup_into(&prefix.to_bytes(), bytemuck::bytes_of_mut(&mut value))?;
        Ok(found.then_some(value))
    }

    /// Sets the value of a prefix; `flags` say whether it has to be there before, or must not.
    ///
    /// # Errors
    /// [`MapError`], by variant: as [`Map::update`](crate::Map::update).
    pub fn insert(&self, prefix: Prefix<K>, value: &V, flags: UpdateFlags) -> Result<(), MapError> {
        self.map.update(&prefix.to_bytes(), bytemuck::bytes_of(value), flags)
    }

    /// Removes a prefix, this very one.
    ///
    /// # Errors
    /// [`MapError::NotFound`] if it is not there, and as [`Map::delete`](crate::Map::delete).
    pub fn remove(&self, prefix: Prefix<K>) -> Result<(), MapError> {
        self.map.delete(&prefix.to_bytes())
    }

    /// All prefixes with their values, each read when the iterator comes to it.
    #[must_use]
    pub fn iter(&self) -> LpmIter<'_, K, V> {
        LpmIter {
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

impl<'a, K: Value, V: Value> IntoIterator for &'a LpmTrie<K, V> {
    type Item = Result<(Prefix<K>, V), MapError>;
    type IntoIter = LpmIter<'a, K, V>;

    fn into_iter(self) -> LpmIter<'a, K, V> {
        self.iter()
    }
}

/// The elements of a trie, from [`LpmTrie::iter`]. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct LpmIter<'a, K, V> {
    entries: Entries<'a>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Value, V: Value> Iterator for LpmIter<'_, K, V> {
    type Item = Result<(Prefix<K>, V), MapError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        Some(entry.map(|(key, value)| (Prefix::from_bytes(&key), bytemuck::pod_read_unaligned(&value))))
    }
}

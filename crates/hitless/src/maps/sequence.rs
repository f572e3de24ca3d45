//! Queues, stacks and bloom filters: values without keys.

use std::marker::PhantomData;

use hitless_verifier::MapKind;

use super::{MapTypeError, TypedMap, check_kind, check_value};
use crate::Value;
use crate::map::{MapError, MapHandle, UpdateFlags};

/// In which order a [`Sequence`] gives its values back.
pub trait Order: sealed::Sealed {}

/// First in, first out.
#[derive(Clone, Copy, Debug)]
pub enum Fifo {}

/// Last in, first out.
#[derive(Clone, Copy, Debug)]
pub enum Lifo {}

impl Order for Fifo {}
impl Order for Lifo {}

mod sealed {
    use hitless_verifier::MapKind;

    pub trait Sealed {
        const KIND: MapKind;
    }

    impl Sealed for super::Fifo {
        const KIND: MapKind = MapKind::Queue;
    }

    impl Sealed for super::Lifo {
        const KIND: MapKind = MapKind::Stack;
    }
}

/// A queue: the value that was pushed first is popped first.
#[doc(alias = "BPF_MAP_TYPE_QUEUE")]
pub type Queue<V> = Sequence<V, Fifo>;

/// A stack: the value that was pushed last is popped first.
#[doc(alias = "BPF_MAP_TYPE_STACK")]
pub type Stack<V> = Sequence<V, Lifo>;

/// A [`Queue`] or a [`Stack`].
#[derive(Clone, Debug)]
pub struct Sequence<V, O> {
    map: MapHandle,
    types: PhantomData<fn(O) -> V>,
}

impl<V: Value, O: Order> TypedMap for Sequence<V, O> {
    fn from_map(map: &MapHandle) -> Result<Sequence<V, O>, MapTypeError> {
        check_kind(map, &[O::KIND])?;
        check_value::<V>(map)?;
        Ok(Sequence {
            map: map.clone(),
            types: PhantomData,
        })
    }
}

impl<V: Value, O: Order> Sequence<V, O> {
    /// Adds a value. With [`UpdateFlags::EXIST`] the oldest goes if there is no room.
    ///
    /// # Errors
    /// [`MapError::Full`], and as [`Map::push`](crate::Map::push).
    pub fn push(&self, value: &V, flags: UpdateFlags) -> Result<(), MapError> {
        self.map.push(bytemuck::bytes_of(value), flags)
    }

    /// Takes the next value out; `None` if there is none.
    ///
    /// # Errors
    /// As [`Map::pop`](crate::Map::pop).
    pub fn pop(&self) -> Result<Option<V>, MapError> {
        let next = self.map.pop()?;
        Ok(next.map(|bytes| bytemuck::pod_read_unaligned(&bytes)))
    }

    /// The next value, which stays; `None` if there is none.
    ///
    /// # Errors
    /// As [`Map::peek`](crate::Map::peek).
    pub fn peek(&self) -> Result<Option<V>, MapError> {
        let next = self.map.peek()?;
        Ok(next.map(|bytes| bytemuck::pod_read_unaligned(&bytes)))
    }

    /// The map without its type.
    #[must_use]
    pub fn map(&self) -> &MapHandle {
        &self.map
    }
}

/// A set of values that knows for certain what it does not hold.
#[doc(alias = "BPF_MAP_TYPE_BLOOM_FILTER")]
#[derive(Clone, Debug)]
pub struct BloomFilter<V> {
    map: MapHandle,
    types: PhantomData<fn(V)>,
}

impl<V: Value> TypedMap for BloomFilter<V> {
    fn from_map(map: &MapHandle) -> Result<BloomFilter<V>, MapTypeError> {
        check_kind(map, &[MapKind::BloomFilter])?;
        check_value::<V>(map)?;
        Ok(BloomFilter {
            map: map.clone(),
            types: PhantomData,
        })
    }
}

impl<V: Value> BloomFilter<V> {
    /// Adds a value.
    ///
    /// # Errors
    /// As [`Map::push`](crate::Map::push).
    pub fn insert(&self, value: &V) -> Result<(), MapError> {
        self.map.push(bytemuck::bytes_of(value), UpdateFlags::ANY)
    }

    /// Whether a value may have been added: true if it was, and seldom if it was not.
    ///
    /// # Errors
    /// As [`Map::contains`](crate::Map::contains).
    pub fn contains(&self, value: &V) -> Result<bool, MapError> {
        self.map.contains(bytemuck::bytes_of(value))
    }

    /// The map without its type.
    #[must_use]
    pub fn map(&self) -> &MapHandle {
        &self.map
    }
}

//! Maps without keys: what their kinds have in common.
//!
//! What they can do, they do by functions of their own; everything that takes a key is refused.

use super::common::{Common, calls_by_ops};
use super::key::Seed;
use super::{Audit, Creation, Elem, Key, MapCalls, MapError, MapOps, Put, Special};
use crate::region::SharedBytes;
use crate::run::Run;

/// What differs.
pub(super) trait Keyless: Send + Sync + std::fmt::Debug + Sized + 'static {
    /// How what takes a key is refused.
    const REFUSAL: MapError;

    fn special(&self) -> Special<'_>;

    /// As [`MapOps::recover`].
    fn recover(&mut self, audit: &mut Audit);
}

/// A map without keys.
#[derive(Debug)]
pub(super) struct KeylessMap<T> {
    common: Common,
    kind: T,
}

/// Makes one of what its kind has made.
pub(super) fn make<T: Keyless>(creation: &Creation<'_>, kind: T) -> Box<dyn MapOps> {
    Box::new(KeylessMap {
        common: Common::new(creation.def),
        kind,
    })
}

impl<T: Keyless> MapOps for KeylessMap<T> {
    fn lookup(&self, _key: &Key) -> Option<Elem> {
        None
    }

    fn update(&self, _run: &Run<'_>, _key: &Key, _value: SharedBytes<'_>, _put: Put) -> Result<Elem, MapError> {
        Err(T::REFUSAL)
    }

    fn delete(&self, _run: &Run<'_>, _key: &Key) -> Result<(), MapError> {
        Err(T::REFUSAL)
    }

    fn indices(&self) -> u32 {
        0
    }

    fn key_of(&self, _elem: Elem) -> Option<Key> {
        None
    }

    fn value(&self, _elem: Elem, _slot: u32) -> SharedBytes<'_> {
        SharedBytes::from_slice(&[])
    }

    fn element_at(&self, _address: u64, _len: usize) -> Option<Elem> {
        None
    }

    fn stripe_hash(&self, key: &Key) -> u64 {
        Seed::FIXED.hash(key) >> 32
    }

    fn positions(&self) -> u64 {
        0
    }

    fn at(&self, _position: u64) -> Option<Elem> {
        None
    }

    fn place_of(&self, _key: &Key) -> Option<(u64, Elem)> {
        None
    }

    fn recover(&mut self, audit: &mut Audit) {
        self.kind.recover(audit);
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn calls(&self) -> MapCalls {
        calls_by_ops(self)
    }

    fn special(&self) -> Special<'_> {
        self.kind.special()
    }
}

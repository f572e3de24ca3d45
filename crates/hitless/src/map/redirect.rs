//! Maps that `bpf_redirect_map` takes: `BPF_MAP_TYPE_DEVMAP`, `BPF_MAP_TYPE_CPUMAP` and `BPF_MAP_TYPE_XSKMAP`.
//!
//! There are neither devices nor sockets of the kernel's here: an entry is a number that means something to the host, which
//! learns from a verdict the map and the key that a packet goes to. So an entry is not checked, as Linux does, but for what it
//! says by itself: a device 0, or a queue of length 0, is none.
//!
//! The region is `max_entries` entries of 16 bytes: whether it is there (a word), and the value.

use hitless_verifier::MapKind;

use super::common::{Common, calls_by_ops};
use super::key::Seed;
use super::{Creation, Elem, Key, MapCalls, MapCreateError, MapDef, MapError, MapOps, Put, Rule};
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::AtomicU32;
use crate::region::{Region, SharedBytes};
use crate::run::Run;

const STRIDE: usize = 16;
const VALUE: usize = 8;

#[derive(Debug)]
struct Redirect {
    common: Common,
    kind: MapKind,
    region: Region,
}

pub(super) fn make(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    let def = creation.def;
    let size_fits = def.value_size == 4 || (def.value_size == 8 && def.kind != MapKind::Xskmap);
    creation.check(def.key_size == 4, "key_size", def.key_size, "4")?;
    creation.check(size_fits, "value_size", def.value_size, "4, or 8 in a devmap or cpumap")?;
    creation.check(def.max_entries > 0, "max_entries", def.max_entries, "at least 1")?;
    Ok(Box::new(Redirect {
        common: Common::new(def),
        kind: def.kind,
        region: creation.reserve(STRIDE as u64, u64::from(def.max_entries) * STRIDE as u64)?,
    }))
}

/// A `BPF_MAP_TYPE_DEVMAP_HASH` is a hash whose values programs only read.
pub(super) fn make_hash(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    let def = creation.def;
    creation.check(def.key_size == 4, "key_size", def.key_size, "4")?;
    creation.check(matches!(def.value_size, 4 | 8), "value_size", def.value_size, "4 or 8")?;
    let hash = MapDef {
        kind: MapKind::Hash,
        ..def.clone()
    };
    super::hash::make(&Creation {
        def: &hash,
        ..*creation
    })
}

impl Redirect {
    fn present(&self, index: u32) -> &AtomicU32 {
        self.region.word32(index as usize * STRIDE)
    }

    fn is_there(&self, index: u32) -> bool {
        self.present(index).load(Acquire) != 0
    }
}

impl MapOps for Redirect {
    fn lookup(&self, key: &Key) -> Option<Elem> {
        let index = key.index();
        (index < self.common.max_entries && self.is_there(index)).then_some(Elem(index))
    }

    fn update(&self, _run: &Run<'_>, key: &Key, value: SharedBytes<'_>, put: Put) -> Result<Elem, MapError> {
        let (index, max_entries) = (key.index(), self.common.max_entries);
        if index >= max_entries {
            return Err(MapError::IndexTooLarge { index, max_entries });
        }
        let sockets = self.kind == MapKind::Xskmap;
        match put.rule {
            Rule::NoExist if !sockets || self.is_there(index) => return Err(MapError::Exists),
            Rule::Exist if sockets && !self.is_there(index) => return Err(MapError::NotFound),
            _ => {}
        }
        let mut word = [0; VALUE];
        value.read(&mut word[..value.len()]);
        // SAFETY: memory of this map's region, which is writable.
        unsafe { self.value(Elem(index), 0).write(value) };
        // The first four bytes are a device's number, or a queue's length.
        let none = !sockets && word[..4] == [0; 4];
        self.present(index).store((!none).into(), Release);
        Ok(Elem(index))
    }

    fn delete(&self, _run: &Run<'_>, key: &Key) -> Result<(), MapError> {
        let (index, max_entries) = (key.index(), self.common.max_entries);
        if index >= max_entries {
            return Err(MapError::NoSuchIndex { index, max_entries });
        }
        self.present(index).store(0, Relaxed);
        Ok(())
    }

    fn indices(&self) -> u32 {
        self.common.max_entries
    }

    fn key_of(&self, elem: Elem) -> Option<Key> {
        Some(Key::from_words(4, |_| u64::from(elem.0)))
    }

    fn value(&self, elem: Elem, _slot: u32) -> SharedBytes<'_> {
        self.region
            .bytes(elem.0 as usize * STRIDE + VALUE, self.common.value_size as usize)
    }

    fn element_at(&self, address: u64, len: usize) -> Option<Elem> {
        let off = self.region.offset_of(address)?;
        let index = u32::try_from(off / STRIDE).ok()?;
        let inside = (off % STRIDE).checked_sub(VALUE)?;
        (index < self.common.max_entries && inside + len <= self.common.value_size as usize).then_some(Elem(index))
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
        calls_by_ops(self)
    }
}

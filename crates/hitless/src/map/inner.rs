//! `BPF_MAP_TYPE_ARRAY_OF_MAPS` and `BPF_MAP_TYPE_HASH_OF_MAPS`: maps that hold maps.
//!
//! All inner maps are like the template that the map was made with, which programs were verified against. A program's lookup
//! gives the inner map; the host sees its id. Only the host changes what is there, and what it replaced
//! is dropped after a grace period, for which the host's call waits: then no program uses it any more.
//!
//! ```text
//! array   region: ids, u32 each; a table of references, by index
//! hash    a hash from the key to {id: u32, index: u32} in one word; a table of references, by that index
//! ```
//!
//! What a program looks up is alive throughout its run. A program that looks up a key while the host deletes it may get the map of
//! another key, if the host puts that in at the same moment: a hash element may be used again at once, as in Linux.

use std::sync::Arc;

use hitless_verifier::MapKind;

use super::common::{Common, calls_by_ops, state_and_key};
use super::indexed::{self, ID, Indexed, IndexedMap};
use super::references::References;
use super::{
    Creation, Elem, Key, Map, MapCalls, MapCreateError, MapDef, MapError, MapFlags, MapOps, Put, Rule, Special,
};
use crate::primitive::{Mutex, MutexGuard};
use crate::region::SharedBytes;
use crate::run::Run;

/// Bytes of what a hash of maps keeps of an element.
const WORD: usize = 8;

/// What the host changes a map of maps by. What was there before is to be dropped a grace period later.
pub(crate) trait InnerMaps: Send + Sync {
    /// Puts a map in, which fits.
    fn insert(&self, run: &Run<'_>, key: &Key, inner: &Arc<Map>, rule: Rule) -> Result<Inserted, MapError>;

    /// Takes a map out.
    fn remove(&self, run: &Run<'_>, key: &Key) -> Result<Arc<Map>, MapError>;

    /// Whether it holds the map with this id.
    fn holds(&self, run: &Run<'_>, id: u32) -> bool;

    /// The map that an element holds, for the host.
    fn get(&self, run: &Run<'_>, elem: Elem) -> Option<Arc<Map>>;
}

/// A map was put in.
#[must_use = "what was there is to be dropped a grace period later"]
pub(crate) struct Inserted {
    /// Where.
    pub(super) elem: Elem,
    /// What was there.
    pub(super) before: Option<Arc<Map>>,
}

/// Whether a map is like the template of a map of maps: what the verifier relied on is the same.
pub(super) fn check_fits(template: &MapDef, def: &MapDef) -> Result<(), MapError> {
    let lock = |def: &MapDef| def.spin_lock.map_or(u64::MAX, u64::from);
    let free = template.kind != MapKind::Array || template.flags.contains(MapFlags::INNER_MAP);
    let entries = |def: &MapDef| if free { 0 } else { u64::from(def.max_entries) };
    let attributes = |def: &MapDef| {
        [
            ("type", def.kind.number().into()),
            ("key_size", def.key_size.into()),
            ("value_size", def.value_size.into()),
            ("map_flags", u64::from(def.flags.bits())),
            ("max_entries", entries(def)),
            ("spin_lock", lock(def)),
        ]
    };
    let pairs = attributes(def).into_iter().zip(attributes(template));
    match pairs.into_iter().find(|(found, expected)| found != expected) {
        None => Ok(()),
        Some(((what, found), (_, expected))) => Err(MapError::OtherInnerMap { what, found, expected }),
    }
}

/// Refuses templates that Linux refuses.
fn check_template<'a>(creation: &Creation<'a>) -> Result<&'a MapDef, MapCreateError> {
    let Some(template) = creation.def.inner.as_deref() else {
        let name = creation.def.name.clone();
        return Err(MapCreateError::NoTemplate { name });
    };
    let number = template.kind.number();
    let nested = matches!(template.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps);
    creation.check(!nested, "type of the inner maps", number, "no map of maps")?;
    let fits = !matches!(template.kind, MapKind::ProgArray | MapKind::StructOps);
    if !fits {
        return Err(MapCreateError::Template {
            name: creation.def.name.clone(),
            kind: template.kind,
        });
    }
    Ok(template)
}

/// An array of maps.
type ArrayOfMaps = IndexedMap<References<Map>>;

pub(super) fn make_array(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    check_template(creation)?;
    indexed::make(creation, References::<Map>::new)
}

impl Indexed for References<Map> {
    fn is_there(&self, index: u32) -> bool {
        !self.address(index as usize).is_null()
    }

    fn special(map: &IndexedMap<Self>) -> Special<'_> {
        Special::Maps(map)
    }

    fn calls(map: &IndexedMap<Self>) -> MapCalls {
        MapCalls {
            lookup: lookup_in_array,
            ..calls_by_ops(map)
        }
    }
}

impl InnerMaps for ArrayOfMaps {
    fn insert(&self, _run: &Run<'_>, key: &Key, inner: &Arc<Map>, _rule: Rule) -> Result<Inserted, MapError> {
        let index = self.check(key.index())?;
        self.set_id(index, inner.id());
        Ok(Inserted {
            elem: Elem(index as u32),
            before: self.elements.replace(index, Some(Arc::clone(inner))),
        })
    }

    fn remove(&self, _run: &Run<'_>, key: &Key) -> Result<Arc<Map>, MapError> {
        let index = self.check(key.index())?;
        self.elements.replace(index, None).ok_or(MapError::NotFound)
    }

    fn holds(&self, run: &Run<'_>, id: u32) -> bool {
        self.elements.any(run, |map| map.id() == id)
    }

    fn get(&self, _run: &Run<'_>, elem: Elem) -> Option<Arc<Map>> {
        // SAFETY: the caller is in a run.
        unsafe { self.elements.get_arc(elem.0 as usize) }
    }
}

/// # Safety
/// As [`MapCalls`] says.
unsafe extern "C" fn lookup_in_array(state: *const (), _run: &Run<'_>, key: u64, _bucket: u64) -> u64 {
    // SAFETY: the caller keeps to what `MapCalls` says; the state is that of an array of maps.
    let (maps, key) = unsafe { state_and_key::<ArrayOfMaps>(state, key) };
    maps.elements.address(key.index() as usize) as u64
}

/// A hash of maps.
#[derive(Debug)]
struct HashOfMaps {
    common: Common,
    /// From keys to words: an id below, an index of the table above.
    words: Box<dyn MapOps>,
    maps: References<Map>,
    /// Held by whoever changes the map: indices of the table that are not in use.
    free: Mutex<Free>,
}

/// Indices that are not in use.
#[derive(Debug)]
struct Free {
    /// Those that were used before.
    again: Vec<u32>,
    /// The first that never was.
    fresh: u32,
}

pub(super) fn make_hash(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    let def = creation.def;
    creation.check(
        def.value_size == ID as u32,
        "value_size",
        def.value_size,
        "4 for a hash of maps",
    )?;
    check_template(creation)?;
    let words = MapDef {
        kind: MapKind::Hash,
        value_size: WORD as u32,
        ..def.clone()
    };
    Ok(Box::new(HashOfMaps {
        common: Common::new(def),
        words: super::hash::make(&Creation {
            def: &words,
            ..*creation
        })?,
        maps: References::new(def.max_entries as usize),
        free: Mutex::new(Free {
            again: Vec::new(),
            fresh: 0,
        }),
    }))
}

impl HashOfMaps {
    /// Index of the reference that an element names.
    fn index(&self, elem: Elem) -> usize {
        let mut word = [0; WORD];
        self.words.value(elem, 0).read(&mut word);
        (u64::from_ne_bytes(word) >> 32) as usize
    }

    /// Makes changes one at a time. The host makes none from inside a run, where it could not wait for a grace period: so
    /// nobody interrupts one and waits for it.
    fn change(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl InnerMaps for HashOfMaps {
    fn insert(&self, run: &Run<'_>, key: &Key, inner: &Arc<Map>, rule: Rule) -> Result<Inserted, MapError> {
        let mut free = self.change();
        let known = self.words.lookup(key).map(|elem| self.index(elem) as u32);
        let index = match (known, rule) {
            (Some(_), Rule::NoExist) => return Err(MapError::Exists),
            (None, Rule::Exist) => return Err(MapError::NotFound),
            (Some(index), _) => index,
            (None, _) => match free.again.pop() {
                Some(index) => index,
                None if (free.fresh as usize) < self.maps.len() => {
                    free.fresh += 1;
                    free.fresh - 1
                }
                None => {
                    let max_entries = self.common.max_entries;
                    return Err(MapError::Full { max_entries });
                }
            },
        };
        let word = (u64::from(index) << 32 | u64::from(inner.id())).to_ne_bytes();
        // A program that finds a new key before its reference is there finds nothing.
        match self.words.update(run, key, SharedBytes::from_slice(&word), Put::ANY) {
            Ok(elem) => Ok(Inserted {
                elem,
                before: self.maps.replace(index as usize, Some(Arc::clone(inner))),
            }),
            Err(error) => {
                if known.is_none() {
                    free.again.push(index);
                }
                Err(error)
            }
        }
    }

    fn remove(&self, run: &Run<'_>, key: &Key) -> Result<Arc<Map>, MapError> {
        let mut free = self.change();
        let index = self
            .words
            .lookup(key)
            .map(|elem| self.index(elem))
            .ok_or(MapError::NotFound)?;
        self.words.delete(run, key)?;
        free.again.push(index as u32);
        self.maps.replace(index, None).ok_or(MapError::NotFound)
    }

    fn holds(&self, run: &Run<'_>, id: u32) -> bool {
        self.maps.any(run, |map| map.id() == id)
    }

    fn get(&self, _run: &Run<'_>, elem: Elem) -> Option<Arc<Map>> {
        // SAFETY: the caller is in a run.
        unsafe { self.maps.get_arc(self.index(elem)) }
    }
}

impl MapOps for HashOfMaps {
    fn lookup(&self, key: &Key) -> Option<Elem> {
        self.words.lookup(key)
    }

    fn update(&self, _run: &Run<'_>, _key: &Key, _value: SharedBytes<'_>, _put: Put) -> Result<Elem, MapError> {
        Err(MapError::NotBytes)
    }

    fn delete(&self, _run: &Run<'_>, _key: &Key) -> Result<(), MapError> {
        Err(MapError::NotBytes)
    }

    fn indices(&self) -> u32 {
        self.words.indices()
    }

    fn key_of(&self, elem: Elem) -> Option<Key> {
        self.words.key_of(elem)
    }

    fn value(&self, elem: Elem, slot: u32) -> SharedBytes<'_> {
        // The id is what comes first, on the machines that there are.
        self.words.value(elem, slot).part(0, ID)
    }

    fn element_at(&self, _address: u64, _len: usize) -> Option<Elem> {
        None
    }

    fn stripe_hash(&self, key: &Key) -> u64 {
        self.words.stripe_hash(key)
    }

    fn positions(&self) -> u64 {
        self.words.positions()
    }

    fn at(&self, position: u64) -> Option<Elem> {
        self.words.at(position)
    }

    fn place_of(&self, key: &Key) -> Option<(u64, Elem)> {
        self.words.place_of(key)
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn calls(&self) -> MapCalls {
        MapCalls {
            lookup: lookup_in_hash,
            ..calls_by_ops(self)
        }
    }

    fn special(&self) -> Special<'_> {
        Special::Maps(self)
    }
}

/// # Safety
/// As [`MapCalls`] says.
unsafe extern "C" fn lookup_in_hash(state: *const (), _run: &Run<'_>, key: u64, _bucket: u64) -> u64 {
    // SAFETY: the caller keeps to what `MapCalls` says; the state is that of a hash of maps.
    let (maps, key) = unsafe { state_and_key::<HashOfMaps>(state, key) };
    match maps.words.lookup(&key) {
        Some(elem) => maps.maps.address(maps.index(elem)) as u64,
        None => 0,
    }
}

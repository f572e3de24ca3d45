//! Maps: the state of BPF programs.
//!
//! [`Map`] is what every kind has in common: identity, sizes, the rules of who may write, and map tracing. What differs is
//! behind [`MapOps`], one file for each kind ([`hash`], [`array`]), chosen once, when the map is made.
//!
//! Every change, whether a program or the host asks for it, happens inside a run. While a map is traced, a change
//! and its tracers run under a stripe lock chosen by key; `trace.rs` says why.

mod array;
mod cursor;
mod error;
mod global;
mod hash;
mod key;

use std::sync::{Arc, OnceLock};

use hitless_btf::{Btf, TypeId};
use hitless_verifier::{MapFacts, MapKind};

use crate::facts::value_fields;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::region::{Region, SharedBytes};
use crate::run::{Run, Slots};
use crate::trace::{Event, TraceState};

pub use cursor::Entries;
pub use error::{MapCreateError, MapError};
pub(crate) use key::Key;

/// Index of an element in its map's region: stable as long as the map lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Elem(pub(crate) u32);

/// What may already be there when an element is updated (`flags` of `bpf_map_update_elem`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UpdateFlags(u64);

impl UpdateFlags {
    /// Create the element or replace it (`BPF_ANY`).
    #[doc(alias = "BPF_ANY")]
    pub const ANY: UpdateFlags = UpdateFlags(0);
    /// Only create it (`BPF_NOEXIST`).
    #[doc(alias = "BPF_NOEXIST")]
    pub const NOEXIST: UpdateFlags = UpdateFlags(1);
    /// Only replace it (`BPF_EXIST`).
    #[doc(alias = "BPF_EXIST")]
    pub const EXIST: UpdateFlags = UpdateFlags(2);
    /// Besides one of the others, write in place, under the value's spin lock (`BPF_F_LOCK`).
    #[doc(alias = "BPF_F_LOCK")]
    pub const LOCK: UpdateFlags = UpdateFlags(Self::F_LOCK);
    const F_LOCK: u64 = 4;

    /// The flags as a program or `bpf(2)` gives them.
    #[must_use]
    pub const fn from_bits(bits: u64) -> UpdateFlags {
        UpdateFlags(bits)
    }

    /// The flags as bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Splits into the existence rule (0 to 2) and whether to write in place under the element's spin lock (`BPF_F_LOCK`).
    fn split(self) -> Result<(u64, bool), MapError> {
        let rule = self.0 & !Self::F_LOCK;
        if rule > 2 {
            Err(MapError::InvalidFlags { flags: self.0 })
        } else {
            Ok((rule, self.0 & Self::F_LOCK != 0))
        }
    }
}

impl std::ops::BitOr for UpdateFlags {
    type Output = UpdateFlags;

    fn bitor(self, other: UpdateFlags) -> UpdateFlags {
        UpdateFlags(self.0 | other.0)
    }
}

/// The name of a map type, as `bpftool` prints it.
pub(crate) const fn kind_name(kind: MapKind) -> &'static str {
    hitless_verifier::tables::map_types::of(kind).name
}

/// How a map is made: the part of an object's map description that the runtime needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapDef {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: MapKind,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes.
    pub value_size: u32,
    /// The most elements that it can hold.
    pub max_entries: u32,
    /// Offset of the `struct bpf_spin_lock` in the value, if it has one.
    pub spin_lock: Option<u32>,
    /// Programs may not write it (`BPF_F_RDONLY_PROG`).
    pub readonly_prog: bool,
    /// Its one value is global data of an object (`.data`, `.bss`, `.rodata`), reached by address.
    pub global_data: bool,
}

impl MapDef {
    fn check(&self, ok: bool, what: &'static str, found: u64, expected: &'static str) -> Result<(), MapCreateError> {
        if ok {
            Ok(())
        } else {
            Err(MapCreateError::Invalid {
                name: self.name.clone(),
                what,
                found,
                expected,
            })
        }
    }

    fn too_large(&self, element_size: u64) -> MapCreateError {
        MapCreateError::TooLarge {
            name: self.name.clone(),
            max_entries: self.max_entries,
            element_size,
        }
    }

    fn reserve(&self, element_size: u64, bytes: u64) -> Result<Region, MapCreateError> {
        let len = usize::try_from(bytes).ok().filter(|len| *len <= isize::MAX as usize);
        let len = len.ok_or_else(|| self.too_large(element_size))?;
        Region::new(&self.name, len).map_err(|source| MapCreateError::Memory {
            name: self.name.clone(),
            bytes,
            source,
        })
    }
}

/// Where a map comes from, for those that an object describes.
#[derive(Clone, Debug, Default)]
pub(crate) struct MapSource {
    /// The object's BTF.
    pub(crate) btf: Option<Arc<Btf>>,
    pub(crate) key_type: Option<TypeId>,
    pub(crate) value_type: Option<TypeId>,
    /// The content of a frozen map (`.rodata`), which nobody may change.
    pub(crate) frozen: Option<Vec<u8>>,
}

/// What each kind of map implements.
///
/// `update` and `delete` are called inside a run. They never allocate. A lock that the interrupted code of the same
/// thread may hold is only tried: they fail with [`MapError::Busy`] instead of waiting for it.
pub(crate) trait MapOps: Send + Sync + std::fmt::Debug {
    fn lookup(&self, key: &Key) -> Option<Elem>;

    fn update(
        &self,
        run: &Run<'_>,
        key: &Key,
        value: SharedBytes<'_>,
        rule: u64,
        in_place: bool,
    ) -> Result<Elem, MapError>;

    fn delete(&self, run: &Run<'_>, key: &Key) -> Result<(), MapError>;

    /// How many element indices there are; a live element has one below it.
    fn indices(&self) -> u32;

    /// The key that the element holds, if it is one that `lookup` could have matched just now.
    fn key_of(&self, elem: Elem) -> Option<Key>;

    /// The element's value.
    fn value(&self, elem: Elem) -> SharedBytes<'_>;

    /// Which element's value the `len` bytes at an address lie wholly inside.
    fn element_at(&self, address: u64, len: usize) -> Option<Elem>;

    /// Which stripe of map tracing a key belongs to, before it is reduced to their number.
    fn stripe_hash(&self, key: &Key) -> u64;
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A map. Any number of threads may use it at once.
#[derive(Debug)]
pub struct Map {
    id: u32,
    def: MapDef,
    ops: Box<dyn MapOps>,
    trace: OnceLock<TraceState>,
    /// Writes from outside of a map migration are refused: its content has moved to another map.
    sealed: AtomicU32,
    /// Operations refused with [`MapError::Busy`].
    busy: AtomicU64,
    source: MapSource,
    slots: Arc<Slots>,
}

impl Map {
    pub(crate) fn new(id: u32, def: MapDef, slots: Arc<Slots>, source: MapSource) -> Result<Map, MapCreateError> {
        let ops: Box<dyn MapOps> = match def.kind {
            MapKind::Hash => Box::new(hash::Hash::new(&def, slots.count())?),
            MapKind::Array => Box::new(array::Array::new(&def)?),
            kind => {
                return Err(MapCreateError::Invalid {
                    name: def.name,
                    what: "map type",
                    found: kind.number().into(),
                    expected: "1 (hash) or 2 (array)",
                });
            }
        };
        Ok(Map {
            id,
            def,
            ops,
            trace: OnceLock::new(),
            sealed: AtomicU32::new(0),
            busy: AtomicU64::new(0),
            source,
            slots,
        })
    }

    /// The map's id, unique in its runtime.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The map's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.def.name
    }

    /// How the map was made.
    #[must_use]
    pub fn def(&self) -> &MapDef {
        &self.def
    }

    /// How many operations were refused with [`MapError::Busy`]: made in a signal handler that interrupted an operation
    /// on the same part of the map.
    #[must_use]
    pub fn busy_count(&self) -> u64 {
        self.busy.load(Relaxed)
    }

    /// How many changes were not traced because a run wrote elements of more traced maps than it can register: 0 unless
    /// programs write dozens of traced maps at once. An upgrade that would miss a change fails.
    #[must_use]
    pub fn lost_changes(&self) -> u64 {
        self.trace.get().map_or(0, TraceState::lost_changes)
    }

    pub(crate) fn ops(&self) -> &dyn MapOps {
        self.ops.as_ref()
    }

    /// What the verifier is told of the map.
    pub(crate) fn facts(&self) -> MapFacts {
        // What only a host could fill programs do not touch.
        let fields = value_fields(self.btf(), self.value_type(), None);
        MapFacts {
            name: self.def.name.clone(),
            kind: self.def.kind,
            key_size: self.def.key_size,
            value_size: self.def.value_size,
            max_entries: self.def.max_entries,
            readonly_prog: self.def.readonly_prog,
            writeonly_prog: false,
            frozen: self.source.frozen.clone(),
            spin_lock: self.def.spin_lock,
            // There are no timers while programs run: the bytes are bytes.
            timer: None,
            inner: None,
            kptrs: fields.kptrs,
            managed: fields.managed,
        }
    }

    /// The tracing state, once the map has been traced for the first time.
    #[inline]
    pub(crate) fn trace(&self) -> Option<&TraceState> {
        self.trace.get()
    }

    pub(crate) fn trace_or_init(&self) -> &TraceState {
        let guarded = self.def.spin_lock.map(|_| self.def.value_size as usize);
        self.trace
            .get_or_init(|| TraceState::new(self.ops.indices(), self.slots.count(), guarded))
    }

    /// Whether the map's content has moved to another map.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Acquire) != 0
    }

    /// The runtime that the map belongs to.
    pub(crate) fn runtime(&self) -> u64 {
        self.slots.runtime()
    }

    /// Refuses writes, from outside of a migration, from now on.
    pub(crate) fn seal(&self) {
        self.sealed.store(1, Release);
    }

    /// Checks the sizes of a key and a value given from outside.
    fn check_key(&self, key: &[u8]) -> Result<Key, MapError> {
        if key.len() != self.def.key_size as usize {
            return Err(MapError::KeySize {
                found: key.len(),
                expected: self.def.key_size,
            });
        }
        Ok(Key::new(SharedBytes::from_slice(key)))
    }

    fn check_value(&self, value: &[u8]) -> Result<(), MapError> {
        if value.len() == self.def.value_size as usize {
            return Ok(());
        }
        Err(MapError::ValueSize {
            found: value.len(),
            expected: self.def.value_size,
        })
    }

    fn check_writable(&self) -> Result<(), MapError> {
        if self.is_sealed() {
            return Err(MapError::Migrated);
        }
        if self.source.frozen.is_some() {
            return Err(MapError::Frozen);
        }
        Ok(())
    }

    fn count_busy<T>(&self, result: Result<T, MapError>) -> Result<T, MapError> {
        if matches!(result, Err(MapError::Busy)) {
            self.busy.fetch_add(1, Relaxed);
        }
        result
    }

    /// The value of a key, or `None` if it is not there.
    ///
    /// # Errors
    /// [`MapError::KeySize`]; [`MapError::Busy`] in a signal handler that interrupted a holder of the value's spin lock;
    /// [`MapError::Forked`].
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        let mut value = vec![0; self.def.value_size as usize];
        let found = self.lookup_into(key, &mut value)?;
        Ok(found.then_some(value))
    }

    /// Copies the value of a key to `value`; false if the key is not there.
    ///
    /// # Errors
    /// As [`Map::lookup`]; [`MapError::ValueSize`].
    pub fn lookup_into(&self, key: &[u8], value: &mut [u8]) -> Result<bool, MapError> {
        let key = self.check_key(key)?;
        self.check_value(value)?;
        self.slots.run(|run| match self.ops.lookup(&key) {
            None => Ok(false),
            Some(elem) => self.count_busy(self.read_element(run, elem, value)).map(|()| true),
        })?
    }

    /// Creates or replaces an element. Waits, like every change, while a cutover is under way.
    ///
    /// # Errors
    /// [`MapError`], by variant.
    pub fn update(&self, key: &[u8], value: &[u8], flags: UpdateFlags) -> Result<(), MapError> {
        let key = self.check_key(key)?;
        self.check_value(value)?;
        self.slots
            .run(|run| self.update_in(run, &key, SharedBytes::from_slice(value), flags))?
    }

    /// Deletes an element.
    ///
    /// # Errors
    /// [`MapError::NotFound`], [`MapError::NotDeletable`] for arrays, and as [`Map::update`].
    pub fn delete(&self, key: &[u8]) -> Result<(), MapError> {
        let key = self.check_key(key)?;
        self.slots.run(|run| self.delete_in(run, &key))?
    }

    /// All elements at once: what [`Map::iter`] gives, collected.
    ///
    /// # Errors
    /// As [`Map::lookup`].
    pub fn entries(&self) -> Result<Vec<Entry>, MapError> {
        self.iter().collect()
    }

    /// Whether nobody may change the map.
    pub(crate) fn is_frozen(&self) -> bool {
        self.source.frozen.is_some()
    }

    /// Stores the content of a frozen array, which ordinary updates may not.
    pub(crate) fn fill_frozen(&self, content: &[u8]) -> Result<(), MapError> {
        let key = self.check_key(&0u32.to_ne_bytes())?;
        self.slots.run(|run| {
            self.ops
                .update(run, &key, SharedBytes::from_slice(content), 0, false)
                .map(|_| ())
        })?
    }

    /// The BTF that describes the map's key and value, if it came from an object that has some.
    #[must_use]
    pub fn btf(&self) -> Option<&Btf> {
        self.source.btf.as_deref()
    }

    /// BTF type of the key, in [`Map::btf`].
    #[must_use]
    pub fn key_type(&self) -> Option<TypeId> {
        self.source.key_type
    }

    /// BTF type of the value, in [`Map::btf`].
    #[must_use]
    pub fn value_type(&self) -> Option<TypeId> {
        self.source.value_type
    }

    /// Copies a value, consistent if it is guarded by a spin lock; the lock itself reads as zero.
    pub(crate) fn read_element(&self, run: &Run<'_>, elem: Elem, value: &mut [u8]) -> Result<(), MapError> {
        let shared = self.ops.value(elem);
        match self.def.spin_lock {
            None => shared.read(value),
            Some(off) => {
                crate::spin::with_lock(run, shared.part(off as usize, 4), || shared.read(value))?;
                value[off as usize..off as usize + 4].fill(0);
            }
        }
        Ok(())
    }

    /// Updates an element and, if the map is traced, runs its tracers, as one step under the key's stripe.
    pub(crate) fn update_in(
        &self,
        run: &Run<'_>,
        key: &Key,
        value: SharedBytes<'_>,
        flags: UpdateFlags,
    ) -> Result<(), MapError> {
        let stripe = self.count_busy(self.lock_stripe(run, key))?;
        let elem = self.update_untraced(run, key, value, flags)?;
        if let Some(stripe) = stripe {
            stripe.run_tracers(run, self, &Event::Update { elem, flags });
        }
        Ok(())
    }

    /// Deletes an element and, if the map is traced, runs its tracers, as one step under the key's stripe.
    pub(crate) fn delete_in(&self, run: &Run<'_>, key: &Key) -> Result<(), MapError> {
        let stripe = self.count_busy(self.lock_stripe(run, key))?;
        self.delete_untraced(run, key)?;
        if let Some(stripe) = stripe {
            stripe.run_tracers(run, self, &Event::Delete { key });
        }
        Ok(())
    }

    /// Updates an element; what else the moment demands (a stripe, tracers) is the caller's.
    pub(crate) fn update_untraced(
        &self,
        run: &Run<'_>,
        key: &Key,
        value: SharedBytes<'_>,
        flags: UpdateFlags,
    ) -> Result<Elem, MapError> {
        self.check_writable()?;
        let (rule, in_place) = flags.split()?;
        if in_place && self.def.spin_lock.is_none() {
            return Err(MapError::InvalidFlags { flags: flags.bits() });
        }
        self.count_busy(self.ops.update(run, key, value, rule, in_place))
    }

    /// Deletes an element; what else the moment demands (a stripe, tracers) is the caller's.
    pub(crate) fn delete_untraced(&self, run: &Run<'_>, key: &Key) -> Result<(), MapError> {
        self.check_writable()?;
        self.count_busy(self.ops.delete(run, key))
    }

    /// Takes the key's stripe if changes of the map are to be ordered with its tracers.
    pub(crate) fn lock_stripe<'a>(
        &'a self,
        run: &'a Run<'_>,
        key: &Key,
    ) -> Result<Option<crate::trace::StripeGuard<'a>>, MapError> {
        match self.trace.get() {
            Some(trace) if trace.is_armed() => trace.lock(run, self.ops.stripe_hash(key)).map(Some),
            _ => Ok(None),
        }
    }

    /// The live element at an index and its key. The answer may be outdated at once unless the key's stripe is held.
    pub(crate) fn live(&self, elem: Elem) -> Option<Key> {
        let key = self.ops.key_of(elem)?;
        (self.ops.lookup(&key) == Some(elem)).then_some(key)
    }
}

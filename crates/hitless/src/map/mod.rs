//! Maps: the state of BPF programs.
//!
//! [`Map`] is what every kind has in common: identity, sizes, the rules of who may write, and map tracing. What differs is
//! behind [`MapOps`], one file for each kind, chosen once from [`KINDS`] when the map is made. Compiled code calls a kind's own
//! functions ([`MapCalls`]), or computes addresses itself ([`InlineArray`]).
//!
//! Every change, whether a program or the host asks for it, happens inside a run. While a map is traced, a change
//! and its tracers run under a stripe lock chosen by key; `trace/mod.rs` says why.
//!
//! A per-CPU map has a value for each slot. A program gets that of its run's slot; the host reads and writes all of them, side
//! by side at multiples of eight bytes, or one ([`Map::lookup_slot`], [`UpdateFlags::slot`]).

mod array;
mod audit;
mod batch;
mod bloom;
mod common;
mod cursor;
mod def;
mod error;
mod file;
mod flags;
mod global;
mod handle;
mod hash;
mod indexed;
mod inner;
mod key;
mod keyless;
mod kinds;
mod lpm;
mod objects;
mod ops;
mod ordered;
mod perf;
mod prog_array;
mod queue;
mod redirect;
mod references;
mod ring;
mod ringbuf;
mod rings;
mod special;
mod task_storage;
mod types;
mod user_ringbuf;
mod values;
mod wait;

use std::sync::{Arc, OnceLock, Weak};

use hitless_btf::{Btf, TypeId};
use hitless_verifier::{MapFacts, MapKind};

use crate::facts::value_fields;
use crate::memory::Budget;
use crate::objects::Owned;
use crate::primitive::Ordering::{AcqRel, Acquire, Relaxed};
use crate::primitive::atomic::AtomicU32;
use crate::region::{SharedBytes, round_up_8};
use crate::run::{Run, Slots};
use crate::runtime::Inner;
use crate::trace::{Cell, Event, TraceState};

pub use audit::{Audit, Finding, FindingKind};
pub use batch::{BatchCursor, BatchError};
use common::Common;
pub use cursor::Entries;
pub(crate) use def::Creation;
pub use def::{MapDef, MapFlags};
pub use error::{MapCreateError, MapError};
pub(crate) use file::MapFile;
pub use file::{MapOpenError, MapOpenReason, OpenedMap, check_map, repair_map};
pub use flags::UpdateFlags;
pub use handle::MapHandle;
pub(crate) use key::{Key, Words};
pub(crate) use kinds::{KINDS, Kind, kind};
pub(crate) use ops::{Cpus, Elem, InlineArray, MapCalls, MapOps, Pass, Put, Rule, TracedCalls};
#[cfg(all(test, not(hitless_model)))]
pub(crate) use perf::CURRENT_SLOT;
pub(crate) use perf::{Counted, PerfEventArray};
pub use perf::{PerfBuffer, PerfRecord};
pub use ring::RingFiles;
pub(crate) use ring::Wakeup;
pub(crate) use ringbuf::{RingQuery, Ringbuf};
pub(crate) use special::Special;
pub(crate) use task_storage::TaskStorage;
pub use types::MapTypes;
pub(crate) use values::ValueOps;
use wait::Memory;
pub(crate) use wait::Registered;
pub use wait::{WaitError, WaitEvent};

/// How often a position is looked at again whose key is not where it is looked for: its element is being replaced, or is not
/// yet completely there.
const LIVE_TRIES: u32 = 64;

/// The name of a map type, as `bpftool` prints it.
pub(crate) const fn kind_name(kind: MapKind) -> &'static str {
    hitless_verifier::tables::map_types::of(kind).name
}

/// Size of a `struct bpf_timer`.
const TIMER: usize = 16;

/// Refuses what no kind of map can be; says which kind it is.
fn check_def(def: &MapDef) -> Result<&'static Kind, MapCreateError> {
    let Some(known) = kind(def.kind) else {
        return Err(MapCreateError::Kind {
            name: def.name.clone(),
            kind: def.kind,
        });
    };
    if def.is_lru() && def.flags.contains(MapFlags::NO_PREALLOC) {
        return Err(MapCreateError::LruOnDemand { name: def.name.clone() });
    }
    if !known.flags.contains(def.flags) {
        return Err(MapCreateError::Flags {
            name: def.name.clone(),
            flags: def.flags,
            known: known.flags,
        });
    }
    let has_extra = def.kind == MapKind::BloomFilter;
    def.check(
        has_extra || def.map_extra == 0,
        "map_extra",
        def.map_extra,
        "0, but for bloom filters",
    )?;
    if def.spin_lock.is_some() && !types::LOCKED_KINDS.contains(&def.kind) {
        return Err(MapCreateError::Field {
            name: def.name.clone(),
            kind: def.kind,
            field: "bpf_spin_lock",
        });
    }
    let lock = def.spin_lock.unwrap_or(0);
    let is_inside = def.spin_lock.is_none() || lock.checked_add(4).is_some_and(|end| end <= def.value_size);
    def.check(
        is_inside && lock.is_multiple_of(4),
        "offset of the spin lock",
        lock,
        "a multiple of four inside the value",
    )?;
    Ok(known)
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
    /// Offset of the `struct bpf_timer` in the value, if it has one.
    pub(crate) timer: Option<u32>,
    /// What its values refer to.
    pub(crate) owned: Option<Arc<Owned>>,
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// A map. Any number of threads may use it at once.
#[derive(Debug)]
pub struct Map {
    id: u32,
    def: MapDef,
    ops: Box<dyn MapOps>,
    /// What compiled code calls; `ops` is its state, and never moves.
    calls: MapCalls,
    trace: OnceLock<TraceState>,
    source: MapSource,
    slots: Arc<Slots>,
    runtime: Weak<Inner>,
    /// What it is charged to.
    budget: Arc<Budget>,
    /// How many user references there are ([`MapHandle`]).
    users: AtomicU32,
    /// Set when the host has frozen the map.
    frozen: AtomicU32,
    /// The file that it is kept in. Dropped, and with it the lock, when the region is not mapped any more.
    file: Option<MapFile>,
    /// The last field, so that it is dropped when everything else is.
    memory: Memory,
}

impl Map {
    pub(crate) fn new(
        id: u32,
        def: MapDef,
        (slots, runtime): (Arc<Slots>, Weak<Inner>),
        budget: Arc<Budget>,
        source: MapSource,
    ) -> Result<Map, MapCreateError> {
        let known = check_def(&def)?;
        let creation = Creation {
            owned: source.owned.as_ref(),
            ..Creation::new(&def, slots.count(), &budget)
        };
        if let Some(owned) = &source.owned {
            let graph = owned.fields().has_graph();
            let holds = match def.kind {
                MapKind::Hash | MapKind::LruHash | MapKind::Array => true,
                MapKind::PercpuHash | MapKind::PercpuArray | MapKind::LruPercpuHash => !graph,
                _ => false,
            };
            let expected = "hashes and arrays, if its values refer to objects";
            creation.check(holds, "type", def.kind.number(), expected)?;
        }
        let ops = (known.make)(&creation)?;
        Ok(Map::of(id, def, (slots, runtime), budget, source, (ops, None)))
    }

    /// The map that its kind has made.
    pub(crate) fn of(
        id: u32,
        def: MapDef,
        (slots, runtime): (Arc<Slots>, Weak<Inner>),
        budget: Arc<Budget>,
        source: MapSource,
        (ops, file): (Box<dyn MapOps>, Option<MapFile>),
    ) -> Map {
        Map {
            id,
            def,
            calls: ops.calls(),
            ops,
            trace: OnceLock::new(),
            source,
            slots,
            runtime,
            budget,
            users: AtomicU32::new(0),
            frozen: AtomicU32::new(0),
            file,
            memory: Memory::new(),
        }
    }

    /// Whether its values have timers.
    pub(crate) fn has_timers(&self) -> bool {
        self.source.timer.is_some()
    }

    /// What its values refer to.
    pub(crate) fn owned(&self) -> Option<&Owned> {
        self.source.owned.as_deref()
    }

    /// Whether anybody holds it but programs, maps and links.
    pub(crate) fn has_user(&self) -> bool {
        self.user_count() > 0
    }

    /// How many user references there are.
    fn user_count(&self) -> u32 {
        self.users.load(Relaxed)
    }

    fn add_user(&self) {
        self.users.fetch_add(1, Relaxed);
    }

    /// Counts a user reference out; the map lets go of what it refers to with the last one.
    fn remove_user(&self) {
        if self.users.fetch_add(u32::MAX, AcqRel) == 1 && !crate::sys::forked() {
            self.forget_objects();
            if self.has_timers()
                && let Some(runtime) = self.runtime.upgrade()
            {
                runtime.sweep_timers();
            }
        }
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
        self.ops.common().busy_count()
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

    /// How many slots its runtime has: what programs see as CPUs.
    #[must_use]
    pub fn slot_count(&self) -> u32 {
        self.slots.count() as u32
    }

    /// The slots of its runtime.
    #[cfg(all(test, not(hitless_model)))]
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// What compiled code calls for this map.
    pub(crate) fn calls(&self) -> &MapCalls {
        &self.calls
    }

    /// Whether values hold more than bytes: a lock, a timer, pointers to objects, lists or trees of them.
    #[must_use]
    pub fn has_fields(&self) -> bool {
        let fields = value_fields(self.btf(), self.value_type(), None);
        let is_plain = fields.kptrs.is_empty() && fields.managed.is_empty() && fields.graph.is_empty();
        self.def.spin_lock.is_some() || self.has_timers() || !is_plain
    }

    /// What the verifier is told of the map, but for fields of its values: what types these are of depends on the program.
    pub(crate) fn facts(&self) -> MapFacts {
        MapFacts {
            name: self.def.name.clone(),
            kind: self.def.kind,
            key_size: self.def.key_size,
            value_size: self.def.value_size,
            max_entries: self.def.max_entries,
            readonly_prog: self.def.is_readonly_prog(),
            writeonly_prog: self.def.flags.contains(MapFlags::WRONLY_PROG),
            frozen: self.source.frozen.clone(),
            spin_lock: self.def.spin_lock,
            timer: self.source.timer,
            inner: self.def.inner.as_deref().map(|inner| Box::new(inner.facts())),
            kptrs: Vec::new(),
            managed: Vec::new(),
            graph: Vec::new(),
        }
    }

    /// The tracing state, once the map has been traced for the first time.
    #[inline]
    pub(crate) fn trace(&self) -> Option<&TraceState> {
        self.trace.get()
    }

    pub(crate) fn trace_or_init(&self) -> &TraceState {
        let guarded = self.def.spin_lock.map(|_| self.def.value_size as usize);
        let values = (self.ops.indices(), self.value_count());
        self.trace
            .get_or_init(|| TraceState::new(self.def.key_size as usize, values, self.slots.count(), guarded))
    }

    /// Whether the map's content has moved to another map.
    pub(crate) fn is_sealed(&self) -> bool {
        self.ops.common().is_sealed()
    }

    /// The runtime, if it is still there.
    pub(crate) fn inner_runtime(&self) -> &Weak<Inner> {
        &self.runtime
    }

    /// The runtime that the map belongs to.
    pub(crate) fn runtime(&self) -> u64 {
        self.slots.runtime()
    }

    /// Refuses writes, from outside of a migration, from now on.
    pub(crate) fn seal(&self) {
        self.ops.common().seal();
        if let Some(file) = &self.file {
            file.mark(file::SEALED);
        }
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

    /// How many bytes the host reads and writes for an element: the values of all slots, each at a multiple of eight, if
    /// there is one for each, else the value size.
    #[must_use]
    pub fn host_value_size(&self) -> usize {
        let size = self.def.value_size as usize;
        match self.slots_of_values() {
            Some(slots) => round_up_8(size) * slots as usize,
            None => size,
        }
    }

    /// How many values an element has, if there is one for each slot.
    fn slots_of_values(&self) -> Option<u32> {
        self.def.is_per_cpu().then(|| self.slot_count())
    }

    /// How many values an element has.
    pub(crate) fn value_count(&self) -> u32 {
        self.slots_of_values().unwrap_or(1)
    }

    fn check_value(&self, value: &[u8], expected: usize) -> Result<(), MapError> {
        if value.len() == expected {
            Ok(())
        } else {
            Err(MapError::ValueSize {
                found: value.len(),
                expected: expected as u32,
            })
        }
    }

    fn check_writable(&self) -> Result<(), MapError> {
        self.ops.common().check_current()?;
        self.check_permitted()
    }

    /// Refuses what would change a map that the host may not change: the kernel's first question.
    fn check_permitted(&self) -> Result<(), MapError> {
        if self.is_frozen() {
            return Err(MapError::Frozen);
        }
        if self.def.flags.contains(MapFlags::RDONLY) {
            return Err(MapError::Access { only: "read" });
        }
        Ok(())
    }

    /// Refuses what would read a map that the host may only write.
    fn check_readable(&self) -> Result<(), MapError> {
        if self.def.flags.contains(MapFlags::WRONLY) {
            return Err(MapError::Access { only: "written" });
        }
        Ok(())
    }

    fn count_busy<T>(&self, result: Result<T, MapError>) -> Result<T, MapError> {
        self.ops.common().count_busy(result)
    }

    /// The value of a key, or `None` if it is not there: [`Map::host_value_size`] bytes.
    ///
    /// # Errors
    /// [`MapError::KeySize`]; [`MapError::Busy`] in a signal handler that interrupted a holder of the value's spin lock;
    /// [`MapError::Forked`].
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, MapError> {
        let mut value = vec![0; self.host_value_size()];
        let found = self.lookup_into(key, &mut value)?;
        Ok(found.then_some(value))
    }

    /// Copies the value of a key to `value`; false if the key is not there.
    ///
    /// # Errors
    /// As [`Map::lookup`]; [`MapError::ValueSize`].
    pub fn lookup_into(&self, key: &[u8], value: &mut [u8]) -> Result<bool, MapError> {
        if let Some(result) = self.lookup_special(key, value) {
            return result;
        }
        let key = self.check_key(key)?;
        self.check_value(value, self.host_value_size())?;
        self.slots.run(|run| {
            // An element that is deleted, or replaced by another one, while it is read may be another key's by then.
            loop {
                let Some(elem) = self.ops.lookup(&key) else {
                    return Ok(false);
                };
                self.read_for_host(run, elem, value)?;
                if self.ops.lookup(&key) == Some(elem) {
                    return Ok(true);
                }
            }
        })?
    }

    /// The value that one slot has for a key of a per-CPU map (`BPF_F_CPU`), or `None` if the key is not there.
    ///
    /// # Errors
    /// [`MapError::NoSlot`]; [`MapError::InvalidFlags`] if the map has one value for all slots; as [`Map::lookup`].
    pub fn lookup_slot(&self, key: &[u8], slot: u32) -> Result<Option<Vec<u8>>, MapError> {
        let key = self.check_key(key)?;
        UpdateFlags::slot(slot).of_host(false, self.slots_of_values())?;
        self.check_readable()?;
        let mut value = vec![0; self.def.value_size as usize];
        let found = self.slots.run(|_| match self.ops.lookup(&key) {
            None => false,
            Some(elem) => {
                self.ops.value(elem, slot).read(&mut value);
                self.hide_references(&mut value);
                true
            }
        })?;
        Ok(found.then_some(value))
    }

    /// Creates or replaces an element. Waits, like every change, while a cutover is under way.
    ///
    /// The value has [`Map::host_value_size`] bytes, or, with [`UpdateFlags::slot`] or [`UpdateFlags::ALL_CPUS`], the value
    /// size.
    ///
    /// # Errors
    /// [`MapError`], by variant.
    pub fn update(&self, key: &[u8], value: &[u8], flags: UpdateFlags) -> Result<(), MapError> {
        self.check_permitted()?;
        if let Some(result) = self.update_special(key, value, flags) {
            return result;
        }
        let key = self.check_key(key)?;
        let mut put = flags.of_host(self.def.spin_lock.is_some(), self.slots_of_values())?;
        let expected = match put.cpus {
            Cpus::Each => self.host_value_size(),
            _ => self.def.value_size as usize,
        };
        self.check_value(value, expected)?;
        if self.def.kind == MapKind::DevmapHash {
            if value[..4] == [0; 4] {
                return Err(MapError::NoDevice);
            }
            // Linux inserts all the same.
            if put.rule == Rule::Exist {
                put.rule = Rule::Any;
            }
        }
        self.slots.run(|run| {
            self.check_writable()?;
            let (elem, stripe) = self.put_ordered(run, &key, SharedBytes::from_slice(value), put)?;
            if let Some(stripe) = stripe {
                for slot in put.cpus.written(run, self.slots_of_values()) {
                    let cell = Cell { elem, slot };
                    stripe.run_tracers(run, self, Event::Update { cell, flags });
                }
            }
            Ok(())
        })?
    }

    /// Deletes an element.
    ///
    /// # Errors
    /// [`MapError::NotFound`], [`MapError::NotDeletable`] for arrays, and as [`Map::update`].
    pub fn delete(&self, key: &[u8]) -> Result<(), MapError> {
        self.check_permitted()?;
        if let Some(result) = self.delete_special(key) {
            return result;
        }
        let key = self.check_key(key)?;
        self.slots.run(|run| {
            self.check_writable()?;
            let stripe = self.count_busy(self.lock_stripe(run, &key))?;
            self.delete_untraced(run, &key)?;
            if let Some(stripe) = stripe {
                stripe.run_tracers(run, self, Event::Delete);
            }
            Ok(())
        })?
    }

    /// All elements at once: what [`Map::iter`] gives, collected.
    ///
    /// # Errors
    /// As [`Map::lookup`].
    pub fn entries(&self) -> Result<Vec<Entry>, MapError> {
        self.iter().collect()
    }

    /// Whether the host may not change the map any more ([`freeze`](Self::freeze)).
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.source.frozen.is_some() || self.frozen.load(Acquire) != 0
    }

    /// Freezes the map: from now on the host does not change it, though programs may, unless it was made with
    /// [`MapFlags::RDONLY_PROG`] (`BPF_MAP_FREEZE`).
    ///
    /// # Errors
    /// [`MapError::Frozen`] if it was frozen before.
    pub fn freeze(&self) -> Result<(), MapError> {
        if self.is_frozen() || self.frozen.swap(1, AcqRel) != 0 {
            return Err(MapError::Frozen);
        }
        if let Some(file) = &self.file {
            file.mark(file::FROZEN);
        }
        Ok(())
    }

    /// Stores the content of a frozen array, which ordinary updates may not.
    pub(crate) fn fill_frozen(&self, content: &[u8]) -> Result<(), MapError> {
        let key = self.check_key(&0u32.to_ne_bytes())?;
        self.slots.run(|run| {
            self.ops
                .update(run, &key, SharedBytes::from_slice(content), Put::ANY)
                .map(|_| ())
        })?
    }

    /// The BTF that describes the map's key and value, if it came from an object that has some.
    #[must_use]
    pub fn btf(&self) -> Option<&Btf> {
        self.source.btf.as_deref()
    }

    /// The BTF, its key's and its value's types, as it was made with them.
    #[must_use]
    pub fn types(&self) -> Option<MapTypes> {
        Some(MapTypes {
            btf: Arc::clone(self.source.btf.as_ref()?),
            key: self.source.key_type,
            value: self.source.value_type?,
        })
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

    /// Copies a value, consistent if it is guarded by a spin lock; the lock itself reads as zero, and so does a timer.
    pub(crate) fn read_element(&self, run: &Run<'_>, cell: Cell, value: &mut [u8]) -> Result<(), MapError> {
        let shared = self.ops.value(cell.elem, cell.slot);
        match self.def.spin_lock {
            None => shared.read(value),
            Some(off) => {
                crate::spin::with_lock(run, shared.part(off as usize, 4), || shared.read(value))?;
                value[off as usize..off as usize + 4].fill(0);
            }
        }
        if let Some(off) = self.source.timer {
            value[off as usize..off as usize + TIMER].fill(0);
        }
        self.hide_references(value);
        Ok(())
    }

    /// Clears what refers to objects in a copy of a value.
    fn hide_references(&self, value: &mut [u8]) {
        if let Some(owned) = self.owned() {
            owned.fields().hide(value);
        }
    }

    /// Copies what the host sees of an element.
    fn read_for_host(&self, run: &Run<'_>, elem: Elem, value: &mut [u8]) -> Result<(), MapError> {
        self.check_readable()?;
        let size = self.def.value_size as usize;
        match self.slots_of_values() {
            None => self.count_busy(self.read_element(run, Cell { elem, slot: 0 }, value)),
            Some(_) => {
                for (slot, part) in (0..).zip(value.chunks_exact_mut(round_up_8(size))) {
                    self.ops.value(elem, slot).read(&mut part[..size]);
                    self.hide_references(&mut part[..size]);
                }
                Ok(())
            }
        }
    }

    /// Updates an element for a program; what else the moment demands (a stripe, tracers) is the caller's.
    pub(crate) fn update_untraced(
        &self,
        run: &Run<'_>,
        key: &Key,
        value: SharedBytes<'_>,
        flags: UpdateFlags,
    ) -> Result<Elem, MapError> {
        self.ops.common().check_current()?;
        let put = flags.of_program(self.def.spin_lock.is_some())?;
        self.put(run, key, value, put)
    }

    fn put(&self, run: &Run<'_>, key: &Key, value: SharedBytes<'_>, put: Put) -> Result<Elem, MapError> {
        self.count_busy(self.ops.update(run, key, value, put))
    }

    /// Deletes an element for a program; what else the moment demands (a stripe, tracers) is the caller's.
    pub(crate) fn delete_untraced(&self, run: &Run<'_>, key: &Key) -> Result<(), MapError> {
        self.ops.common().check_current()?;
        self.count_busy(self.ops.delete(run, key))
    }

    /// The live element at an index and its key. The answer may be outdated at once unless the key's stripe is held.
    pub(crate) fn live(&self, elem: Elem) -> Option<Key> {
        let key = self.ops.key_of(elem)?;
        (self.ops.lookup(&key) == Some(elem)).then_some(key)
    }

    /// The live element at a position and its key. A key that is there throughout is not missed, though its element may be
    /// replaced meanwhile.
    pub(crate) fn live_at(&self, position: u64) -> Option<(Elem, Key)> {
        for _ in 0..LIVE_TRIES {
            let elem = self.ops.at(position)?;
            if let Some(key) = self.ops.key_of(elem)
                && let Some((found, elem)) = self.ops.place_of(&key)
                && found == position
            {
                return Some((elem, key));
            }
        }
        // An insertion that is not complete.
        None
    }
}

impl Drop for Map {
    /// What its values refer to goes with it, also what a program has put into an element that was deleted meanwhile.
    fn drop(&mut self) {
        let Some(owned) = self.owned() else { return };
        let slots = self.slots_of_values().unwrap_or(1);
        let elements = (0..self.ops.indices()).map(Elem);
        for elem in elements.filter(|elem| self.ops.key_of(*elem).is_some()) {
            for slot in 0..slots {
                owned.clear_last(self.ops.value(elem, slot));
            }
        }
    }
}

//! Map tracing (`BPF_TRACE_MAP`, after the 2021 RFC "Introduce BPF map tracing"): what runs when a map changes.
//!
//! A map that was never traced has no [`TraceState`]. The first attach makes one, which then lives as long as the map.
//! While the state is *armed*, every change of an element and the tracers that it fires happen under a stripe lock
//! chosen by key. So tracers see the changes of one key in the order in which they happened, and a bulk copy that
//! takes the same stripe can neither overwrite a newer value nor bring back a deleted key.
//!
//! Attaching has three phases, so that no writer is missed: arm the state and switch the programs that write the map to
//! their traced variant, with the list of tracers still empty; wait for a grace period, after which every writer takes stripes;
//! publish the list.
//!
//! **Pointer updates.** A program also writes through the pointer that a lookup returned. The traced variant registers
//! the element at each such store ([`FlushList`]), and the elements are flushed when the outermost run ends: each
//! under the stripe of the key that it then holds, if it is still live, with the value then current. An element becomes
//! registered only after its store has executed (the executor keeps the latest one back until the next), so whoever takes
//! it off a list sees the store. When a run's list is full, the elements are marked in a bitmap of the map instead.
//!
//! A run nested in a signal handler leaves its flushes to the outermost run, which holds no lock by then. While a thread
//! holds a stripe, changes of traced maps in its signal handlers fail before they change anything; else they only try
//! for the stripe.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::fence;

use crate::lock::{self, OwnerGuard};
use crate::map::{Elem, Key, Map, MapError, UpdateFlags};
use crate::primitive::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::primitive::Retired;
use crate::primitive::atomic::{AtomicPtr, AtomicU32, AtomicU64};
use crate::program::Program;
use crate::run::Run;
use crate::scratch::Scratch;

/// At most this many tracers may be attached to one map and event.
pub const MAX_TRACERS: usize = 16;
const STRIPES: usize = 256;

/// What a tracer waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TraceEvent {
    /// `BPF_MAP_TRACE_UPDATE_ELEM`: an element got a new value.
    #[doc(alias = "BPF_MAP_TRACE_UPDATE_ELEM")]
    UpdateElem,
    /// `BPF_MAP_TRACE_DELETE_ELEM`: an element was deleted.
    #[doc(alias = "BPF_MAP_TRACE_DELETE_ELEM")]
    DeleteElem,
}

impl TraceEvent {
    /// The name that programs know it by.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            TraceEvent::UpdateElem => "BPF_MAP_TRACE_UPDATE_ELEM",
            TraceEvent::DeleteElem => "BPF_MAP_TRACE_DELETE_ELEM",
        }
    }
}

/// A change that has just happened, under the stripe of its key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event<'a> {
    Update { elem: Elem, flags: UpdateFlags },
    Delete { key: &'a Key },
}

impl Event<'_> {
    fn kind(&self) -> TraceEvent {
        match self {
            Event::Update { .. } => TraceEvent::UpdateElem,
            Event::Delete { .. } => TraceEvent::DeleteElem,
        }
    }
}

/// The runtime's own tracers: what an upgrade hangs on an old map.
pub(crate) trait Mirror: Send + Sync {
    /// An element of `map` has been updated; its stripe is held.
    fn updated(&self, run: &Run<'_>, map: &Map, elem: Elem);

    /// The element with this key has been deleted; its stripe is held.
    fn deleted(&self, run: &Run<'_>, key: &Key);

    /// A change could not be traced; the copy can no longer be exact.
    fn lost(&self);
}

/// One attached tracer.
#[derive(Clone)]
pub(crate) struct Tracer {
    /// The link that it belongs to.
    pub(crate) link: u32,
    pub(crate) action: Action,
}

#[derive(Clone)]
pub(crate) enum Action {
    Program(TraceEvent, Arc<Program>),
    Mirror(Arc<dyn Mirror>),
}

/// The tracers of a map, as published.
pub(crate) struct Tracers(Vec<Tracer>);

/// Everything that tracing needs of a map.
pub(crate) struct TraceState {
    /// How many attachments, finished or in progress, want changes ordered.
    armed: AtomicU32,
    tracers: AtomicPtr<Tracers>,
    stripes: Box<[Stripe]>,
    /// A bit for each element, for runs whose list is full.
    dirty: Box<[AtomicU64]>,
    /// Where values guarded by a spin lock are copied for tracers.
    buffers: Option<Scratch>,
    /// Changes that could not be registered.
    lost: AtomicU64,
}

impl std::fmt::Debug for TraceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TraceState")
            .field("armed", &self.armed)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe {
    /// Slot of the holder plus one, 0 if free.
    owner: AtomicU32,
}

impl TraceState {
    /// `value_size` is given for maps whose values are guarded by a spin lock.
    pub(crate) fn new(elements: u32, slots: usize, value_size: Option<usize>) -> TraceState {
        TraceState {
            armed: AtomicU32::new(0),
            tracers: AtomicPtr::new(Box::into_raw(Box::new(Tracers(Vec::new())))),
            stripes: (0..STRIPES).map(|_| Stripe::default()).collect(),
            dirty: (0..elements.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            buffers: value_size.map(|len| Scratch::new(slots, len)),
            lost: AtomicU64::new(0),
        }
    }

    /// Buffers for consistent copies of values, if they are guarded by a spin lock.
    pub(crate) fn snapshot_buffers(&self) -> Option<&Scratch> {
        self.buffers.as_ref()
    }

    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.load(Acquire) > 0
    }

    /// Counts an attachment in; the caller then switches programs and waits for a grace period.
    pub(crate) fn arm(&self) {
        self.armed.fetch_add(1, AcqRel);
    }

    /// Counts an attachment out; returns whether it was the last.
    pub(crate) fn disarm(&self) -> bool {
        self.armed.fetch_add(u32::MAX, AcqRel) == 1
    }

    /// The tracers. The list is freed a grace period after it was replaced: callers are in a run, or hold the runtime's
    /// control lock.
    pub(crate) fn tracers(&self) -> &[Tracer] {
        // SAFETY: see above; every pointer in this word came from `Box::into_raw`.
        unsafe { &(*self.tracers.load(Acquire)).0 }
    }

    /// Publishes another list; returns the one before it, to be freed after a grace period.
    pub(crate) fn publish(&self, tracers: Vec<Tracer>) -> Retired<Tracers> {
        let before = self.tracers.swap(Box::into_raw(Box::new(Tracers(tracers))), AcqRel);
        // SAFETY: the pointer came from `Box::into_raw`, the swap left it to the caller, who waits for a grace period.
        unsafe { Retired::new(before) }
    }

    /// Takes the stripe of a key. Nested runs never wait, and take none if the interrupted code holds one, or a spin lock.
    pub(crate) fn lock<'a>(&'a self, run: &'a Run<'_>, hash: u64) -> Result<StripeGuard<'a>, MapError> {
        // Tracers may need the value's spin lock, too, which the interrupted code may hold.
        let spin_locked = run.is_nested() && run.slot().spin_locked.load(Relaxed) > 0;
        if run.interrupted_a_stripe() || spin_locked {
            return Err(MapError::Busy);
        }
        let held = &run.slot().stripes;
        // Counted first, so that a signal that comes in between finds it; the guard counts it out again.
        held.store(held.load(Relaxed) + 1, Relaxed);
        let mut guard = StripeGuard {
            trace: self,
            run,
            stripe: None,
        };
        #[cfg(hitless_model)]
        if crate::model::fault(crate::model::Fault::NoStripes) {
            return Ok(guard);
        }
        guard.stripe = Some(lock::lock(run, &self.stripes[hash as usize % STRIPES].owner)?);
        Ok(guard)
    }

    /// Takes the stripe of the key that an element of `map` holds; `None` if the element is not live. The key may change
    /// until its stripe is held, since the element may be deleted and recycled: look, lock, look again.
    pub(crate) fn lock_live<'a>(
        &'a self,
        run: &'a Run<'_>,
        map: &Map,
        elem: Elem,
    ) -> Result<Option<StripeGuard<'a>>, MapError> {
        while let Some(key) = map.live(elem) {
            let stripe = self.lock(run, map.ops().stripe_hash(&key))?;
            #[cfg(hitless_model)]
            if crate::model::fault(crate::model::Fault::NoSecondLook) {
                return Ok(Some(stripe));
            }
            match map.live(elem) {
                Some(now) if now.bytes() == key.bytes() => return Ok(Some(stripe)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    fn mark_dirty(&self, elem: Elem) {
        self.dirty[elem.0 as usize / 64].fetch_or(1 << (elem.0 % 64), Release);
    }

    fn take_dirty(&self, word: usize) -> u64 {
        if self.dirty[word].load(Relaxed) == 0 {
            0
        } else {
            self.dirty[word].swap(0, AcqRel)
        }
    }

    /// How many changes could not be registered, and so were not traced.
    pub(crate) fn lost_changes(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Notes that a change cannot be traced: counted, and told to every mirror.
    pub(crate) fn lose(&self) {
        self.lost.fetch_add(1, Relaxed);
        for tracer in self.tracers() {
            if let Action::Mirror(mirror) = &tracer.action {
                mirror.lost();
            }
        }
    }
}

impl Drop for TraceState {
    fn drop(&mut self) {
        // SAFETY: the word holds a pointer from `Box::into_raw`, and nobody else has a reference to what is being dropped.
        drop(unsafe { Box::from_raw(self.tracers.get_mut()) });
    }
}

/// A stripe, held.
pub(crate) struct StripeGuard<'a> {
    trace: &'a TraceState,
    run: &'a Run<'a>,
    /// `None` only while it is being taken, and in the model with stripes taken out.
    stripe: Option<OwnerGuard<'a>>,
}

impl StripeGuard<'_> {
    /// Runs the tracers of an event that happened under this stripe.
    pub(crate) fn run_tracers(&self, run: &Run<'_>, map: &Map, event: &Event<'_>) {
        // The other half is in `flush`: either the tracers see what a pointer has written, or its flush sees the element live.
        fence(SeqCst);
        for tracer in self.trace.tracers() {
            match (&tracer.action, event) {
                (Action::Program(kind, program), _) if *kind == event.kind() => program.trace(run, map, event),
                (Action::Program(..), _) => {}
                (Action::Mirror(mirror), Event::Update { elem, .. }) => mirror.updated(run, map, *elem),
                (Action::Mirror(mirror), Event::Delete { key }) => mirror.deleted(run, key),
            }
        }
    }
}

impl Drop for StripeGuard<'_> {
    fn drop(&mut self) {
        drop(self.stripe.take());
        let held = &self.run.slot().stripes;
        held.store(held.load(Relaxed).saturating_sub(1), Relaxed);
    }
}

/// How many elements a run keeps in its own list before it falls back to the maps' bitmaps.
const CAPACITY: usize = 32;
/// In place of an element: every element that the map's bitmap names.
const ALL: u32 = u32::MAX;
/// In place of an element: none, the entry is empty or being filled.
const UNSET: u32 = u32::MAX - 1;
/// In place of an element: none, the entry is being emptied.
const TAKEN: u32 = u32::MAX - 2;

/// The elements that the runs of a slot have written through pointers.
///
/// Only the slot's owner touches it, and signal handlers that interrupt it, which push and do not flush. So each step leaves
/// the list valid for a handler, and expects that one has run: an entry is claimed by its map, and only a claimed entry
/// gets an element.
#[derive(Debug)]
pub(crate) struct FlushList {
    /// Entries at and above this index are empty.
    high: AtomicU32,
    entries: [FlushEntry; CAPACITY],
}

#[derive(Debug)]
struct FlushEntry {
    map: AtomicPtr<Map>,
    elem: AtomicU32,
}

impl FlushEntry {
    /// What the entry registers, if anything.
    fn get(&self) -> Option<(*mut Map, u32)> {
        let (map, elem) = (self.map.load(Relaxed), self.elem.load(Relaxed));
        (!map.is_null() && elem != TAKEN).then_some((map, elem))
    }

    fn take(&self) -> Option<(*mut Map, u32)> {
        let (map, _) = self.get()?;
        let elem = self.elem.swap(TAKEN, Relaxed);
        self.map.store(ptr::null_mut(), Relaxed);
        self.elem.store(UNSET, Relaxed);
        Some((map, elem))
    }
}

impl FlushList {
    pub(crate) fn new() -> FlushList {
        FlushList {
            high: AtomicU32::new(0),
            entries: std::array::from_fn(|_| FlushEntry {
                map: AtomicPtr::new(ptr::null_mut()),
                elem: AtomicU32::new(UNSET),
            }),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.high.load(Relaxed) == 0
    }

    /// Registers an element whose store has executed.
    ///
    /// # Safety
    /// `map` lives until the outermost run on this slot has ended.
    pub(crate) unsafe fn push(&self, map: &Map, trace: &TraceState, elem: Elem) {
        let this = ptr::from_ref(map).cast_mut();
        let known = self.entries[..self.high.load(Relaxed) as usize].iter();
        for found in known
            .filter_map(FlushEntry::get)
            .filter(|(map, _)| *map == this)
            .map(|(_, elem)| elem)
        {
            if found == ALL {
                return trace.mark_dirty(elem);
            }
            if found == elem.0 {
                return;
            }
        }
        if self.append(this, trace, elem) {
            return;
        }
        // Make room: the entries of one map become one that stands for its bitmap.
        let folded = self.most_frequent_map();
        if !folded.is_null() {
            // SAFETY: whoever pushed the entry vouched that the map lives until the outermost run has ended.
            self.fold(unsafe { &*folded });
        }
        if folded == this {
            trace.mark_dirty(elem);
        } else if !self.append(this, trace, elem) {
            trace.lose();
        }
    }

    /// Puts an element into an empty entry, if there is one.
    fn append(&self, map: *mut Map, trace: &TraceState, elem: Elem) -> bool {
        let claim = |entry: &FlushEntry| {
            entry.elem.load(Relaxed) == UNSET
                && entry
                    .map
                    .compare_exchange(ptr::null_mut(), map, Relaxed, Relaxed)
                    .is_ok()
        };
        let Some(index) = self.entries.iter().position(claim) else {
            return false;
        };
        if self.entries[index]
            .elem
            .compare_exchange(UNSET, elem.0, Relaxed, Relaxed)
            .is_err()
        {
            // A handler that needed room has made the entry stand for the bitmap.
            trace.mark_dirty(elem);
        }
        self.high.fetch_max(index as u32 + 1, Relaxed);
        true
    }

    /// The map with the most entries, of those with more than one; null if each map has one.
    fn most_frequent_map(&self) -> *mut Map {
        let count = |wanted: *mut Map| {
            self.entries
                .iter()
                .filter_map(FlushEntry::get)
                .filter(|(m, _)| *m == wanted)
                .count()
        };
        let maps = self.entries.iter().filter_map(FlushEntry::get).map(|(map, _)| map);
        maps.filter(|map| count(*map) > 1)
            .max_by_key(|map| count(*map))
            .unwrap_or(ptr::null_mut())
    }

    /// Leaves one entry of a map, for all that its bitmap names, and marks there what the others named.
    fn fold(&self, map: &Map) {
        let this = ptr::from_ref(map).cast_mut();
        let Some(trace) = map.trace() else { return };
        let mark = |elem: u32| {
            if elem < TAKEN {
                trace.mark_dirty(Elem(elem));
            }
        };
        let of_map = |entry: &&FlushEntry| entry.get().is_some_and(|(map, _)| map == this);
        let mut entries = self.entries.iter().filter(of_map);
        if let Some(first) = entries.next() {
            mark(first.elem.swap(ALL, Relaxed));
        }
        // One that is being filled, by the code that this handler interrupted, stays.
        for entry in entries.filter(|entry| entry.elem.load(Relaxed) != UNSET) {
            if let Some((_, elem)) = entry.take() {
                mark(elem);
            }
        }
        self.high.fetch_max(CAPACITY as u32, Relaxed);
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.high.store(0, Relaxed);
        for entry in &self.entries {
            entry.take();
        }
    }
}

/// Runs the tracers for every registered element, until none is left (tracers may register more).
pub(crate) fn flush(run: &Run<'_>) {
    let list = &run.slot().flush;
    // See `StripeGuard::run_tracers`.
    fence(SeqCst);
    loop {
        let high = list.high.swap(0, Relaxed);
        if high == 0 {
            return;
        }
        for entry in &list.entries[..high as usize] {
            let Some((map, elem)) = entry.take() else { continue };
            // SAFETY: whoever pushed the entry vouched that the map lives until this run has ended.
            let map = unsafe { &*map };
            let Some(trace) = map.trace() else { continue };
            if elem == ALL {
                for word in 0..trace.dirty.len() {
                    let mut bits = trace.take_dirty(word);
                    while bits != 0 {
                        let elem = Elem(word as u32 * 64 + bits.trailing_zeros());
                        flush_element(run, map, trace, elem);
                        bits &= bits - 1;
                    }
                }
            } else {
                flush_element(run, map, trace, Elem(elem));
            }
        }
    }
}

/// Reports an element under the key that it now holds, if it is live.
fn flush_element(run: &Run<'_>, map: &Map, trace: &TraceState, elem: Elem) {
    match trace.lock_live(run, map, elem) {
        Ok(Some(stripe)) => stripe.run_tracers(
            run,
            map,
            &Event::Update {
                elem,
                flags: UpdateFlags::EXIST,
            },
        ),
        Ok(None) => {}
        // Only a nested run is refused, and only an outermost one flushes.
        Err(_) => trace.lose(),
    }
}

/// What tracer programs that write maps lead to: from a traced map to the maps that its tracers may write.
#[derive(Debug, Default)]
pub(crate) struct TraceGraph {
    /// (link, traced map, written map), by id.
    edges: Vec<(u32, u32, u32)>,
}

impl TraceGraph {
    /// Whether tracing `map` with something that writes `written` would close a loop.
    pub(crate) fn closes_loop(&self, map: u32, written: &[u32]) -> bool {
        let mut seen = Vec::new();
        let mut open: Vec<u32> = written.to_vec();
        while let Some(at) = open.pop() {
            if at == map {
                return true;
            }
            if !seen.contains(&at) {
                seen.push(at);
                open.extend(self.edges.iter().filter(|edge| edge.1 == at).map(|edge| edge.2));
            }
        }
        false
    }

    pub(crate) fn add(&mut self, link: u32, map: u32, written: &[u32]) {
        self.edges.extend(written.iter().map(|to| (link, map, *to)));
    }

    pub(crate) fn remove(&mut self, link: u32) {
        self.edges.retain(|edge| edge.0 != link);
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn loops_are_found_however_long() {
        let mut graph = TraceGraph::default();
        assert!(graph.closes_loop(1, &[1]));
        graph.add(10, 1, &[2]);
        graph.add(11, 2, &[3, 4]);
        assert!(graph.closes_loop(4, &[1]));
        assert!(graph.closes_loop(3, &[9, 1]));
        assert!(!graph.closes_loop(5, &[1]));
        graph.remove(11);
        assert!(!graph.closes_loop(4, &[1]));
    }
}

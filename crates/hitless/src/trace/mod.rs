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

mod attach;
mod call;
mod flush;
mod graph;
mod inner;
mod stripe;

use std::sync::Arc;

use hitless_verifier::MapKind;
use hitless_verifier::tables::map_trace;

use crate::map::{Elem, Map, UpdateFlags};
use crate::primitive::Ordering::{AcqRel, Acquire, Relaxed};
use crate::primitive::Retired;
use crate::primitive::atomic::{AtomicPtr, AtomicU32, AtomicU64};
use crate::program::Program;
use crate::run::Run;
use crate::scratch::Scratch;

use flush::Dirty;
pub(crate) use flush::{FlushList, flush, traced_maps};
pub(crate) use graph::TraceGraph;
pub(crate) use inner::{Taken, hold};
pub(crate) use stripe::StripeGuard;
use stripe::Stripes;

/// At most this many tracers may be attached to one map and event.
pub const MAX_TRACERS: usize = 16;

/// What a tracer waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TraceEvent {
    /// `BPF_MAP_TRACE_UPDATE_ELEM`: an element got a new value.
    #[doc(alias = "BPF_MAP_TRACE_UPDATE_ELEM")]
    UpdateElem,
    /// `BPF_MAP_TRACE_DELETE_ELEM`: an element was deleted.
    #[doc(alias = "BPF_MAP_TRACE_DELETE_ELEM")]
    DeleteElem,
    /// `BPF_MAP_TRACE_EVICT_ELEM`: an LRU map took an element out, to make room for another.
    #[doc(alias = "BPF_MAP_TRACE_EVICT_ELEM")]
    EvictElem,
}

impl TraceEvent {
    pub(crate) const ALL: [TraceEvent; 3] = [TraceEvent::UpdateElem, TraceEvent::DeleteElem, TraceEvent::EvictElem];

    /// What programs know of it.
    pub(crate) const fn table(self) -> &'static map_trace::Event {
        match self {
            TraceEvent::UpdateElem => &map_trace::UPDATE_ELEM,
            TraceEvent::DeleteElem => &map_trace::DELETE_ELEM,
            TraceEvent::EvictElem => &map_trace::EVICT_ELEM,
        }
    }
}

impl std::fmt::Display for TraceEvent {
    /// As sections have it: "UPDATE_ELEM".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.table().name)
    }
}

/// Whether maps of this kind can be traced: those whose elements are found by keys and hold values that are data.
pub(crate) const fn is_traceable(kind: MapKind) -> bool {
    matches!(
        kind,
        MapKind::Hash
            | MapKind::Array
            | MapKind::PercpuHash
            | MapKind::PercpuArray
            | MapKind::LruHash
            | MapKind::LruPercpuHash
            | MapKind::LpmTrie
            | MapKind::ArrayOfMaps
            | MapKind::HashOfMaps
    )
}

/// What is traced: a value of an element, of one slot if each has its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cell {
    pub(crate) elem: Elem,
    /// In a map that is not per-CPU: always 0.
    pub(crate) slot: u32,
}

impl Cell {
    /// The value of an element that a run's own slot has.
    pub(crate) fn own(map: &Map, run: &Run<'_>, elem: Elem) -> Cell {
        let slot = if map.def().is_per_cpu() { run.index() } else { 0 };
        Cell { elem, slot }
    }

    /// The value that an address lies in.
    pub(crate) fn at(map: &Map, run: &Run<'_>, address: u64) -> Option<Cell> {
        let elem = map.ops().element_at(address, 1)?;
        let own = Cell::own(map, run, elem);
        if !map.def().is_per_cpu() {
            return Some(own);
        }
        let holds = |slot: u32| {
            let value = map.ops().value(elem, slot);
            (value.address()..value.address() + value.len() as u64).contains(&address)
        };
        let mut slots = std::iter::once(own.slot).chain(0..map.value_count());
        slots.find(|slot| holds(*slot)).map(|slot| Cell { elem, slot })
    }
}

/// A change that has just happened to a key, under its stripe.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Update { cell: Cell, flags: UpdateFlags },
    Delete,
    Evict,
}

/// A change of a traced map whose tracers have yet to run. Holds the stripe of the key.
pub(crate) struct Pending<'a> {
    stripe: StripeGuard<'a>,
    map: &'a Map,
    event: Event,
}

impl<'a> Pending<'a> {
    #[inline(always)]
    pub(crate) fn new(stripe: StripeGuard<'a>, map: &'a Map, event: Event) -> Pending<'a> {
        Pending { stripe, map, event }
    }

    #[inline]
    pub(crate) fn run_tracers(&self, run: &Run<'_>) {
        self.stripe.run_tracers(run, self.map, self.event);
    }
}

impl Event {
    #[inline]
    fn kind(self) -> TraceEvent {
        match self {
            Event::Update { .. } => TraceEvent::UpdateElem,
            Event::Delete => TraceEvent::DeleteElem,
            Event::Evict => TraceEvent::EvictElem,
        }
    }
}

/// The runtime's own tracers: what an upgrade, or a change feed, hangs on a map.
pub(crate) trait Mirror: Send + Sync {
    /// A value of this key of `map` has been updated; the key's stripe is held.
    fn updated(&self, run: &Run<'_>, map: &Map, key: &[u8], cell: Cell);

    /// The element with this key is gone: deleted, or `evicted`; its stripe is held.
    fn removed(&self, run: &Run<'_>, key: &[u8], evicted: bool);

    /// A change could not be traced; what was made of the changes can no longer be exact.
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
    stripes: Stripes,
    /// What was written by runs whose list is full.
    dirty: Dirty,
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

impl TraceState {
    /// For a map with keys of so many bytes and so many elements, each with so many values. `value_size` is given if they are
    /// guarded by a spin lock.
    pub(crate) fn new(
        key_size: usize,
        (elements, values): (u32, u32),
        slots: usize,
        value_size: Option<usize>,
    ) -> TraceState {
        TraceState {
            armed: AtomicU32::new(0),
            tracers: AtomicPtr::new(Box::into_raw(Box::new(Tracers(Vec::new())))),
            stripes: Stripes::new(key_size),
            dirty: Dirty::new(elements, values),
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

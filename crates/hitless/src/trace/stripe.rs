//! Stripes: while a map is traced, a change of a key and its tracers happen under the lock of the key's stripe.
//!
//! Nobody who holds a stripe takes another one of the same map, so stripes of one map are never waited for in a circle. A tracer that
//! changes another traced map takes a stripe of that one; the loop check (`graph.rs`) gives maps an order.
//!
//! Behind its lock a stripe has room for the key that it is held for, in the same cache line if the key is short. So the key is
//! copied once, out of whoever's memory it came from: the change and its tracers are given the copy, which stays where it is while
//! the stripe goes from the helper's call to the one that traces.

use std::cell::UnsafeCell;
use std::sync::atomic::fence;

use super::{Action, Event, TraceState};
use crate::lock::{self, OwnerGuard};
use crate::map::{Elem, Map, MapError, Words};
use crate::primitive::Ordering::{Relaxed, SeqCst};
use crate::primitive::atomic::AtomicU32;
use crate::run::Run;

const STRIPES: usize = 256;

/// Words of a cache line.
const LINE: usize = 8;

/// Its first word is the lock: the slot of the holder plus one, 0 if it is free.
#[derive(Default)]
#[repr(align(64))]
struct Line(UnsafeCell<[u64; LINE]>);

// SAFETY: the first word of a stripe is only accessed as an atomic, the others only by whoever holds that lock.
unsafe impl Sync for Line {}

/// The stripes of a map.
pub(super) struct Stripes {
    lines: Box<[Line]>,
    /// How many lines a stripe has.
    each: usize,
    key_size: usize,
}

impl Stripes {
    /// For keys of so many bytes.
    pub(super) fn new(key_size: usize) -> Stripes {
        let each = (1 + key_size.div_ceil(8)).div_ceil(LINE);
        Stripes {
            lines: (0..STRIPES * each).map(|_| Line::default()).collect(),
            each,
            key_size,
        }
    }

    /// The lock of a stripe, and where its key is.
    #[inline]
    fn at(&self, hash: u64) -> (&AtomicU32, *mut u64) {
        let first = hash as usize % STRIPES * self.each;
        // SAFETY: there are that many stripes; the pointer is derived from the whole slice, so what follows the line may be
        // reached by it.
        let word = unsafe { UnsafeCell::raw_get(&raw const (*self.lines.as_ptr().add(first)).0).cast::<u64>() };
        // SAFETY: `word` is the first of a stripe, which is aligned, and only accessed as an atomic; the key is behind it.
        unsafe { (&*word.cast::<AtomicU32>(), word.add(1)) }
    }
}

impl TraceState {
    /// Takes the stripe that a key with this hash has, and copies the key to it. Nested runs never wait, and take none if the
    /// interrupted code holds one, or a spin lock.
    #[inline]
    pub(crate) fn lock<'a>(
        &'a self,
        run: &'a Run<'_>,
        hash: u64,
        key: &impl Words,
    ) -> Result<StripeGuard<'a>, MapError> {
        if run.is_nested() {
            check_nested(run)?;
        }
        #[cfg(hitless_model)]
        let hash = if crate::model::fault(crate::model::Fault::NoStripes) {
            // One that nobody else wants.
            u64::from(run.index())
        } else {
            hash
        };
        let (word, at) = self.stripes.at(hash);
        // Counted first, so that a signal that comes in between finds it.
        let counted = Counted::new(run);
        let owner = lock::lock(run, word)?;
        for i in 0..key.count() {
            // SAFETY: the stripe has room for the words of a key of the map, and is ours.
            unsafe { at.add(i).write(key.word(i)) };
        }
        Ok(StripeGuard {
            trace: self,
            key: at.cast(),
            _owner: owner,
            _counted: counted,
        })
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
            let stripe = self.lock(run, map.ops().stripe_hash(&key), &key)?;
            #[cfg(hitless_model)]
            if crate::model::fault(crate::model::Fault::NoSecondLook) {
                return Ok(Some(stripe));
            }
            if map.ops().lookup(&key) == Some(elem) {
                return Ok(Some(stripe));
            }
        }
        Ok(None)
    }
}

#[cold]
fn check_nested(run: &Run<'_>) -> Result<(), MapError> {
    // Tracers may need the value's spin lock, too, which the interrupted code may hold.
    if run.interrupted_a_stripe() || run.slot().spin_locked.load(Relaxed) > 0 {
        return Err(MapError::Busy);
    }
    Ok(())
}

/// Has a slot's stripe counted, until dropped.
struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    #[inline]
    fn new(run: &'a Run<'_>) -> Counted<'a> {
        let held = &run.slot().stripes;
        held.store(held.load(Relaxed) + 1, Relaxed);
        Counted(held)
    }
}

impl Drop for Counted<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.store(self.0.load(Relaxed).saturating_sub(1), Relaxed);
    }
}

/// A stripe, held for a key.
pub(crate) struct StripeGuard<'a> {
    trace: &'a TraceState,
    key: *const u8,
    /// Let go before it is counted out.
    _owner: OwnerGuard<'a>,
    _counted: Counted<'a>,
}

impl StripeGuard<'_> {
    /// The key that the stripe is held for.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        // SAFETY: `lock` has copied the key there; nobody changes it as long as this guard lives.
        unsafe { std::slice::from_raw_parts(self.key, self.trace.stripes.key_size) }
    }

    /// What tracing knows of the map.
    #[inline]
    pub(crate) fn trace(&self) -> &TraceState {
        self.trace
    }

    /// Runs the tracers of an event that happened under this stripe, to its key.
    #[inline]
    pub(crate) fn run_tracers(&self, run: &Run<'_>, map: &Map, event: Event) {
        // The other half is in `flush`: either the tracers see what a pointer has written, or its flush sees the element live.
        fence(SeqCst);
        for tracer in self.trace.tracers() {
            match (&tracer.action, event) {
                (Action::Program(kind, program), _) if *kind == event.kind() => program.trace(run, map, self, event),
                (Action::Program(..), _) => {}
                (Action::Mirror(mirror), Event::Update { cell, .. }) => mirror.updated(run, map, self.key(), cell),
                (Action::Mirror(mirror), Event::Delete) => mirror.removed(run, self.key(), false),
                (Action::Mirror(mirror), Event::Evict) => mirror.removed(run, self.key(), true),
            }
        }
    }
}

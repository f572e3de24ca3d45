//! Stripes: while a map is traced, a change of a key and its tracers happen under the lock of the key's stripe.
//!
//! Nobody who holds a stripe takes another one of the same map, so stripes of one map are never waited for in a circle. A tracer that
//! changes another traced map takes a stripe of that one; the loop check (`graph.rs`) gives maps an order.

use std::sync::atomic::fence;

use super::{Action, Event, TraceState};
use crate::lock::{self, OwnerGuard};
use crate::map::{Elem, Map, MapError};
use crate::primitive::Ordering::{Relaxed, SeqCst};
use crate::primitive::atomic::AtomicU32;
use crate::run::Run;

const STRIPES: usize = 256;

pub(super) fn new() -> Box<[Stripe]> {
    (0..STRIPES).map(|_| Stripe::default()).collect()
}

#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Stripe {
    /// Slot of the holder plus one, 0 if free.
    owner: AtomicU32,
}

impl TraceState {
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
                (Action::Mirror(mirror), Event::Update { cell, .. }) => mirror.updated(run, map, *cell),
                (Action::Mirror(mirror), Event::Delete { key }) => mirror.removed(run, key, false),
                (Action::Mirror(mirror), Event::Evict { key }) => mirror.removed(run, key, true),
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

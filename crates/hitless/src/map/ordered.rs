//! Changes in the order that map tracing gives them: under the stripe of the key, while the map is traced.
//!
//! A map that evicts would change another key under this one's stripe. While it is traced, it does not evict by itself: the element
//! that has to go is deleted first, under its own stripe, with none other held.

use super::{Elem, Key, Map, MapError, Put};
use crate::region::SharedBytes;
use crate::run::Run;
use crate::trace::{Event, StripeGuard, TraceState};

/// How often room is made for an element that others take, before the map counts as full.
const EVICTIONS: u32 = 64;

impl Map {
    /// Takes the key's stripe if changes of the map are to be ordered with its tracers.
    pub(crate) fn lock_stripe<'a>(&'a self, run: &'a Run<'_>, key: &Key) -> Result<Option<StripeGuard<'a>>, MapError> {
        let armed = self.trace().filter(|trace| trace.is_armed());
        let lock = |trace: &'a TraceState| trace.lock(run, self.ops.stripe_hash(key));
        armed.map(lock).transpose()
    }

    /// Visits an element, if it is live: while the map is traced under its key's stripe, so that a copy that is made of it
    /// neither overwrites what a tracer has brought over since, nor brings back what one has deleted.
    pub(crate) fn visit<R>(
        &self,
        run: &Run<'_>,
        elem: Elem,
        visit: impl FnOnce(&Key) -> R,
    ) -> Result<Option<R>, MapError> {
        let Some(trace) = self.trace().filter(|trace| trace.is_armed()) else {
            return Ok(self.live(elem).as_ref().map(visit));
        };
        let stripe = trace.lock_live(run, self, elem)?;
        Ok(stripe.and_then(|_stripe| self.ops.key_of(elem).as_ref().map(visit)))
    }

    /// Updates an element, under its key's stripe if the map is traced.
    pub(super) fn put_ordered<'a>(
        &'a self,
        run: &'a Run<'_>,
        key: &Key,
        value: SharedBytes<'_>,
        put: Put,
    ) -> Result<(Elem, Option<StripeGuard<'a>>), MapError> {
        let mut evictions = 0;
        loop {
            let stripe = self.count_busy(self.lock_stripe(run, key))?;
            let evict = stripe.is_none() && put.evict;
            match self.put(run, key, value, Put { evict, ..put }) {
                Err(MapError::Full { .. }) if stripe.is_some() && put.evict && evictions < EVICTIONS => {}
                result => return Ok((result?, stripe)),
            }
            drop(stripe);
            if !self.count_busy(self.make_room(run, key))? {
                let max_entries = self.def.max_entries;
                return Err(MapError::Full { max_entries });
            }
            evictions += 1;
        }
    }

    /// Evicts an element so that there may be room for this key; false if there is none to be evicted.
    fn make_room(&self, run: &Run<'_>, key: &Key) -> Result<bool, MapError> {
        let Some(victim) = self.ops.victim(key) else {
            return Ok(false);
        };
        #[cfg(hitless_model)]
        if crate::model::fault(crate::model::Fault::NoVictimStripe) {
            if self.ops.delete(run, &victim).is_ok()
                && let Some(stripe) = self.lock_stripe(run, &victim)?
            {
                stripe.run_tracers(run, self, &Event::Evict { key: &victim });
            }
            return Ok(true);
        }
        let stripe = self.lock_stripe(run, &victim)?;
        match self.ops.delete(run, &victim) {
            Ok(()) => {
                if let Some(stripe) = stripe {
                    stripe.run_tracers(run, self, &Event::Evict { key: &victim });
                }
                Ok(true)
            }
            // Somebody else was faster; there is room, or there will be.
            Err(MapError::NotFound) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

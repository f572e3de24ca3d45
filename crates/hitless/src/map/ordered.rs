//! Changes in the order that map tracing gives them: under the stripe of the key, while the map is traced.
//!
//! A map that evicts would change another key under this one's stripe. While it is traced, it does not evict by itself: the element
//! that has to go is deleted first, under its own stripe, with none other held.

use super::common::errno;
use super::{Elem, Key, Map, MapError, Put, UpdateFlags};
use crate::region::SharedBytes;
use crate::run::Run;
use crate::trace::{Cell, Event, Pending, StripeGuard, TraceState};

/// How often room is made for an element that others take, before the map counts as full.
const EVICTIONS: u32 = 64;

/// What a program gets for [`MapError::Full`].
const FULL: i64 = -(libc::E2BIG as i64);

impl Map {
    /// What tracing knows of the map, while it is traced.
    #[inline]
    pub(crate) fn armed(&self) -> Option<&TraceState> {
        self.trace().filter(|trace| trace.is_armed())
    }

    /// Takes the key's stripe if changes of the map are to be ordered with its tracers.
    pub(crate) fn lock_stripe<'a>(&'a self, run: &'a Run<'_>, key: &Key) -> Result<Option<StripeGuard<'a>>, MapError> {
        let lock = |trace: &'a TraceState| trace.lock(run, self.ops.stripe_hash(key), key);
        self.armed().map(lock).transpose()
    }

    /// Visits an element, if it is live: while the map is traced under its key's stripe, so that a copy that is made of it
    /// neither overwrites what a tracer has brought over since, nor brings back what one has deleted.
    pub(crate) fn visit<R>(
        &self,
        run: &Run<'_>,
        elem: Elem,
        visit: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, MapError> {
        let Some(trace) = self.armed() else {
            return Ok(self.live(elem).map(|key| visit(key.bytes())));
        };
        let stripe = trace.lock_live(run, self, elem)?;
        Ok(stripe.map(|stripe| visit(stripe.key())))
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

    /// Updates an element for a program in its traced variant: leaves what its tracers are to be told, if the map is traced.
    /// Returns what the helper does.
    ///
    /// # Safety
    /// A key of the map is readable at `key`, and a value at `value`.
    #[inline]
    pub(crate) unsafe fn update_of_program<'a>(
        &'a self,
        run: &'a Run<'_>,
        (key, value): (u64, u64),
        flags: u64,
        pending: &mut Option<Pending<'a>>,
    ) -> i64 {
        let calls = &self.calls;
        // SAFETY: as for this function; the map is alive.
        let result = unsafe {
            let (key, value) = (calls.key.of(key), calls.value.of(value));
            (calls.traced.update)(self, run, key, value, flags, pending)
        };
        if result == FULL && self.def.is_lru() {
            // SAFETY: as for this function.
            let (key, value) = unsafe {
                let key = SharedBytes::from_raw(key, self.def.key_size as usize);
                (key, SharedBytes::from_raw(value, self.def.value_size as usize))
            };
            return self.evict_and_update(run, (key, value), flags, pending);
        }
        result
    }

    #[cold]
    fn evict_and_update<'a>(
        &'a self,
        run: &'a Run<'_>,
        (key, value): (SharedBytes<'_>, SharedBytes<'_>),
        flags: u64,
        pending: &mut Option<Pending<'a>>,
    ) -> i64 {
        let flags = UpdateFlags::from_bits(flags);
        let put = flags.of_program(self.def.spin_lock.is_some());
        let result = put.and_then(|put| self.put_ordered(run, &Key::new(key), value, put));
        errno(result.map(|(elem, stripe)| {
            let cell = Cell::own(self, run, elem);
            *pending = stripe.map(|stripe| Pending::new(stripe, self, Event::Update { cell, flags }));
        }))
    }

    /// Likewise deletes an element.
    ///
    /// # Safety
    /// A key of the map is readable at `key`.
    #[inline]
    pub(crate) unsafe fn delete_of_program<'a>(
        &'a self,
        run: &'a Run<'_>,
        key: u64,
        pending: &mut Option<Pending<'a>>,
    ) -> i64 {
        let calls = &self.calls;
        // SAFETY: as for this function; the map is alive.
        unsafe { (calls.traced.delete)(self, run, calls.key.of(key), pending) }
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
                stripe.run_tracers(run, self, Event::Evict);
            }
            return Ok(true);
        }
        let stripe = self.lock_stripe(run, &victim)?;
        match self.ops.delete(run, &victim) {
            Ok(()) => {
                if let Some(stripe) = stripe {
                    stripe.run_tracers(run, self, Event::Evict);
                }
                Ok(true)
            }
            // Somebody else was faster; there is room, or there will be.
            Err(MapError::NotFound) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

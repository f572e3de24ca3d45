//! How many elements a map may still get, where elements need no index: a share for each slot, as with pools (`pool.rs`).

use super::cells::Cells;
use crate::map::MapError;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::AtomicU32;
use crate::primitive::relax;
use crate::run::Run;

/// The most that one slot takes at once.
const BLOCK: u32 = 256;

/// The credits of a map.
#[derive(Debug)]
pub(super) struct Credits {
    cells: Cells<AtomicU32>,
    rest: AtomicU32,
    block: u32,
}

impl Credits {
    pub(super) fn new(slots: usize, rest: u32, max_entries: u32) -> Credits {
        Credits {
            cells: Cells::new(slots),
            rest: AtomicU32::new(rest),
            block: (max_entries / (8 * slots as u32)).clamp(1, BLOCK),
        }
    }

    /// Takes a credit of the slot's own; false if it has none at hand.
    #[inline(always)]
    pub(super) fn take_own(&self, run: &Run<'_>) -> bool {
        let Some(own) = self.cells.own_now(run) else {
            return false;
        };
        let left = own.load(Relaxed);
        if left > 0 {
            own.store(left - 1, Relaxed);
        }
        left > 0
    }

    /// Takes a credit; false if there is none.
    ///
    /// # Errors
    /// [`MapError::Busy`] in a nested run, if others may have one.
    #[inline]
    pub(super) fn take(&self, run: &Run<'_>) -> Result<bool, MapError> {
        if self.take_own(run) {
            return Ok(true);
        }
        self.find(run)
    }

    /// Gives a credit back.
    #[inline]
    pub(super) fn put(&self, run: &Run<'_>) {
        match self.cells.own_now(run) {
            Some(own) => own.store(own.load(Relaxed) + 1, Relaxed),
            None => {
                self.rest.fetch_add(1, Release);
            }
        }
    }

    #[cold]
    fn find(&self, run: &Run<'_>) -> Result<bool, MapError> {
        let (mut turn, mut settled) = (0, false);
        loop {
            let own = self.cells.own(run);
            if self.take_rest(own.as_deref()) {
                return Ok(true);
            }
            drop(own);
            #[cfg(hitless_model)]
            if crate::model::fault(crate::model::Fault::NoStealing) {
                return Ok(false);
            }
            let mut missed = false;
            for (index, left) in self.cells.others(run) {
                if left.load(Acquire) == 0 {
                    continue;
                }
                match self.cells.revoke(run, index) {
                    Some(left) => {
                        let count = left.load(Relaxed);
                        if count == 0 {
                            continue;
                        }
                        let loot = count.div_ceil(2);
                        // The cell counts them until they are elsewhere, so that nobody takes the map for full meanwhile.
                        self.rest.fetch_add(loot - 1, Release);
                        left.store(count - loot, Relaxed);
                        return Ok(true);
                    }
                    None => missed = true,
                }
            }
            match self.cells.own(run) {
                // What a handler has given back meanwhile.
                Some(own) => {
                    let left = own.load(Relaxed);
                    if left > 0 {
                        own.store(left - 1, Relaxed);
                        return Ok(true);
                    }
                }
                None => return Err(MapError::Busy),
            }
            if !missed && settled {
                return Ok(false);
            }
            if !self.cells.settle(run) || (missed && run.is_nested()) {
                return Err(MapError::Busy);
            }
            // What is moving from one to another is in neither: it is full only if it still is after that.
            settled = !missed;
            relax(turn);
            turn += 1;
        }
    }

    /// Takes one of what no slot has, and more for the slot's own share.
    fn take_rest(&self, own: Option<&AtomicU32>) -> bool {
        let mut rest = self.rest.load(Acquire);
        while rest > 0 {
            let block = if own.is_some() { self.block.min(rest) } else { 1 };
            match self.rest.compare_exchange(rest, rest - block, Acquire, Acquire) {
                Ok(_) => {
                    if let Some(own) = own {
                        own.store(own.load(Relaxed) + block - 1, Relaxed);
                    }
                    return true;
                }
                Err(now) => rest = now,
            }
        }
        false
    }
}

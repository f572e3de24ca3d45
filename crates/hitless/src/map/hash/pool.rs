//! Elements that are in no bucket: a pool for each slot, from which others steal before they say that the map is full.
//!
//! What was never used is handed out in contiguous blocks, so that slots do not share cache lines. What was freed goes to the
//! pool of the slot that freed it, and is handed out again at once. None of this is state of the map: what is in no bucket is
//! free, so a pool is made anew when a region is opened.

use super::cells::Cells;
use crate::map::MapError;
use crate::primitive::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::primitive::relax;
use crate::run::Run;

/// The most that one slot takes at once of what was never used.
const BLOCK: u32 = 64;
/// The most that is stolen at once of what was freed.
const LOOT: u32 = 256;

/// Where a free element keeps the link to the next one, an index plus one.
pub(super) trait Links {
    fn link(&self, index: u32) -> &AtomicU64;
}

/// A stack of indices that anybody may use at any time.
#[derive(Debug, Default)]
pub(super) struct Stack {
    /// A tag, which changes with every pop so that a head that was popped and pushed back meanwhile is not mistaken, and an index
    /// plus one.
    head: AtomicU64,
}

impl Stack {
    pub(super) fn pop(&self, links: &impl Links) -> Option<u32> {
        loop {
            let head = self.head.load(Acquire);
            let index = (head as u32).checked_sub(1)?;
            let next = links.link(index).load(Relaxed) & 0xffff_ffff;
            let tagged = ((head >> 32).wrapping_add(1) << 32) | next;
            if self.head.compare_exchange(head, tagged, AcqRel, Relaxed).is_ok() {
                return Some(index);
            }
        }
    }

    pub(super) fn push(&self, links: &impl Links, index: u32) {
        loop {
            let head = self.head.load(Relaxed);
            links.link(index).store(head & 0xffff_ffff, Relaxed);
            let tagged = (head & !0xffff_ffff) | u64::from(index + 1);
            if self.head.compare_exchange(head, tagged, Release, Relaxed).is_ok() {
                return;
            }
        }
    }
}

/// The free elements of a map.
#[derive(Debug)]
pub(super) struct Pool {
    cells: Cells<Share>,
    /// Elements at and above this index were never used, up to `limit`.
    fresh: AtomicU32,
    limit: u32,
    block: u32,
    /// The most that a slot keeps of what it has freed.
    kept: u32,
    /// What was freed beyond that, or by code that could not use its slot's cell.
    strays: Stack,
}

/// What a slot has.
#[derive(Debug, Default)]
struct Share {
    /// The list of freed elements: the first, an index plus one.
    head: AtomicU32,
    freed: AtomicU32,
    /// The rest of a block that was never used.
    next: AtomicU32,
    end: AtomicU32,
}

impl Share {
    fn count(&self) -> u32 {
        let block = self.end.load(Relaxed).saturating_sub(self.next.load(Relaxed));
        self.freed.load(Relaxed) + block
    }

    #[inline]
    fn pop(&self, links: &impl Links) -> Option<u32> {
        if let Some(index) = self.head.load(Relaxed).checked_sub(1) {
            self.head.store(links.link(index).load(Relaxed) as u32, Relaxed);
            self.freed.store(self.freed.load(Relaxed) - 1, Relaxed);
            return Some(index);
        }
        let next = self.next.load(Relaxed);
        if next < self.end.load(Relaxed) {
            self.next.store(next + 1, Relaxed);
            return Some(next);
        }
        None
    }

    #[inline]
    fn push(&self, links: &impl Links, index: u32) {
        links.link(index).store(self.head.load(Relaxed).into(), Relaxed);
        self.head.store(index + 1, Relaxed);
        self.freed.store(self.freed.load(Relaxed) + 1, Relaxed);
    }
}

impl Pool {
    /// A pool of all indices below `limit`. A slot keeps no more than `kept` of what it has freed.
    pub(super) fn new(slots: usize, limit: u32, kept: u32) -> Pool {
        Pool {
            cells: Cells::new(slots),
            fresh: AtomicU32::new(0),
            limit,
            kept,
            block: (limit / (8 * slots as u32)).clamp(1, BLOCK),
            strays: Stack::default(),
        }
    }

    /// A pool of the elements that are free in a region that was opened: those from `fresh` up to `limit`, which were never used,
    /// and these, of which none is.
    pub(super) fn recovered(
        (slots, limit, kept): (usize, u32, u32),
        fresh: u32,
        links: &impl Links,
        free: impl Iterator<Item = u32>,
    ) -> Pool {
        let pool = Pool::new(slots, limit, kept);
        pool.fresh.store(fresh, Relaxed);
        for index in free {
            pool.strays.push(links, index);
        }
        pool
    }

    /// Indices at and above this one were never handed out.
    pub(super) fn used(&self) -> u32 {
        self.fresh.load(Acquire)
    }

    /// Takes an element; `None` if there is none in any pool.
    ///
    /// # Errors
    /// [`MapError::Busy`] in a nested run, if there may be one in a pool that others use.
    #[inline]
    pub(super) fn take(&self, run: &Run<'_>, links: &impl Links) -> Result<Option<u32>, MapError> {
        if let Some(own) = self.cells.own(run)
            && let Some(index) = own.pop(links)
        {
            return Ok(Some(index));
        }
        self.find(run, links)
    }

    /// Gives an element back, which is in no bucket any more.
    #[inline]
    pub(super) fn put(&self, run: &Run<'_>, links: &impl Links, index: u32) {
        match self.cells.own(run) {
            Some(own) if own.freed.load(Relaxed) < self.kept => own.push(links, index),
            _ => self.strays.push(links, index),
        }
    }

    /// Takes an element, but of no other slot's share.
    #[inline]
    pub(super) fn take_near(&self, run: &Run<'_>, links: &impl Links) -> Option<u32> {
        let own = self.cells.own(run).and_then(|own| own.pop(links));
        own.or_else(|| self.new_block(run)).or_else(|| self.strays.pop(links))
    }

    #[cold]
    fn find(&self, run: &Run<'_>, links: &impl Links) -> Result<Option<u32>, MapError> {
        let (mut turn, mut settled) = (0, false);
        loop {
            if let Some(index) = self.new_block(run).or_else(|| self.strays.pop(links)) {
                return Ok(Some(index));
            }
            #[cfg(hitless_model)]
            if crate::model::fault(crate::model::Fault::NoStealing) {
                return Ok(None);
            }
            let mut missed = false;
            for (index, share) in self.cells.others(run) {
                if share.count() == 0 {
                    continue;
                }
                match self.steal(run, links, index) {
                    Some(Some(index)) => return Ok(Some(index)),
                    Some(None) => {}
                    None => missed = true,
                }
            }
            match self.cells.own(run) {
                // What a handler has freed meanwhile.
                Some(own) => {
                    if let Some(index) = own.pop(links) {
                        return Ok(Some(index));
                    }
                }
                None => return Err(MapError::Busy),
            }
            if !missed && settled {
                return Ok(None);
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

    /// Takes a block of what was never used, and of that the first element.
    fn new_block(&self, run: &Run<'_>) -> Option<u32> {
        let own = self.cells.own(run);
        let own = own.filter(|own| own.next.load(Relaxed) >= own.end.load(Relaxed));
        let want = if own.is_some() { self.block } else { 1 };
        let mut first = self.fresh.load(Relaxed);
        let end = loop {
            if first >= self.limit {
                return None;
            }
            let end = first.saturating_add(want).min(self.limit);
            match self.fresh.compare_exchange(first, end, AcqRel, Relaxed) {
                Ok(_) => break end,
                Err(now) => first = now,
            }
        };
        if let Some(own) = own {
            own.end.store(end, Relaxed);
            own.next.store(first + 1, Relaxed);
        }
        Some(first)
    }

    /// Steals half of what another slot has: one element for the caller, if there was any, the others for anybody. `None` if the
    /// cell could not be had. The cell counts what is taken out of it until it is somewhere else, so that nobody takes the map
    /// for full meanwhile.
    fn steal(&self, run: &Run<'_>, links: &impl Links, victim: usize) -> Option<Option<u32>> {
        let share = self.cells.revoke(run, victim)?;
        let freed = share.freed.load(Relaxed);
        if freed == 0 {
            let (next, end) = (share.next.load(Relaxed), share.end.load(Relaxed));
            if next >= end {
                return Some(None);
            }
            let from = next + (end - next) / 2;
            for index in from + 1..end {
                self.strays.push(links, index);
            }
            share.end.store(from, Relaxed);
            return Some(Some(from));
        }
        let count = freed.div_ceil(2).min(LOOT);
        let first = share.head.load(Relaxed) - 1;
        let mut rest = links.link(first).load(Relaxed) as u32;
        for _ in 1..count {
            let index = rest - 1;
            // Pushing it overwrites its link.
            rest = links.link(index).load(Relaxed) as u32;
            self.strays.push(links, index);
        }
        share.head.store(rest, Relaxed);
        share.freed.store(freed - count, Relaxed);
        Some(Some(first))
    }
}

//! Leases of slots: how a thread that runs programs again and again comes by its slot without a locked instruction.
//!
//! A slot's owner is claimed by an exchange. A thread that leaves a run keeps its slot on *lease*: the owner's word then names the
//! thread's [`Lane`], in which only that thread publishes epochs. It enters again by publishing in its lane first and looking
//! whether the slot is still on lease to it second; if not, it backs out. Whoever finds no slot free may *take* one whose lane is
//! idle: it claims the slot first, executes `membarrier(2)`, and looks at the lane second; if the lane is not idle then, it gives
//! the slot back to it. Of two that do both at once, at least one sees the other, as at the gate.
//!
//! Since a lane is one thread's own, a thread that lost its slot and has yet to notice writes nowhere else. It keeps its lane
//! until it ends; others find out by its thread id. A thread that goes on to another runtime may look at its old lane when the
//! runtime of that is gone: so lanes are never freed, but used again by another runtime. There are more lanes than slots; a thread without one claims its slot by
//! an exchange each time, as does everybody once it has shown that there are more threads than slots: leases would only be taken
//! away from each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::sys;

/// In an owner's word: what is below is not a thread id, but the number of a lane. Thread ids are smaller.
const LEASED: u32 = 1 << 31;

/// Lanes for each slot: most threads of a process that has many do not run programs.
const LANES_PER_SLOT: usize = 4;

/// A thread's own word, for a runtime.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Lane {
    /// Epoch at which the thread's run on lease began, 0 if there is none.
    pub(crate) epoch: AtomicU64,
    /// The thread's id, 0 if the lane is nobody's.
    thread: AtomicU32,
}

/// The lanes of a runtime.
#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: &'static [Lane],
    /// How often a slot was taken from a thread.
    taken: AtomicU32,
}

/// So many slots taken are too many: there are more threads than slots.
const CROWDED: u32 = 256;

/// The lanes of runtimes that are gone.
static LEFT: Mutex<Vec<&'static [Lane]>> = Mutex::new(Vec::new());

fn left() -> MutexGuard<'static, Vec<&'static [Lane]>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    /// The id of the thread that it is of, 0 if it is nobody's.
    pub(crate) fn thread(&self) -> u32 {
        self.thread.load(Relaxed)
    }
}

impl Lanes {
    pub(crate) fn new(slots: usize) -> Lanes {
        let count = slots * LANES_PER_SLOT;
        let mut left = left();
        let used = left.iter().position(|lanes| lanes.len() == count);
        let lanes = used.map(|index| left.swap_remove(index)).unwrap_or_else(|| {
            let lanes: Box<[Lane]> = (0..count).map(|_| Lane::default()).collect();
            Box::leak(lanes)
        });
        Lanes {
            lanes,
            taken: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(crate) fn get(&self, lane: u32) -> Option<&'static Lane> {
        self.lanes.get(lane as usize)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static Lane> {
        self.lanes.iter()
    }

    /// Whether there is nothing to be gained by leases.
    pub(crate) fn is_crowded(&self) -> bool {
        self.taken.load(Relaxed) >= CROWDED
    }

    pub(crate) fn set_crowded(&self) {
        self.taken.store(CROWDED, Relaxed);
    }

    /// The lane of a thread, found for it if it has none yet; `None` if there is none left.
    pub(crate) fn of_thread(&self, thread: u32) -> Option<u32> {
        // One that a thread with the same id left behind will do.
        let own = self.lanes.iter().position(|lane| lane.thread.load(Relaxed) == thread);
        let is_claimed = |lane: &Lane, from: u32| lane.thread.compare_exchange(from, thread, Acquire, Relaxed).is_ok();
        let free = || {
            self.lanes
                .iter()
                .position(|lane| lane.thread.load(Relaxed) == 0 && is_claimed(lane, 0))
        };
        let left_behind = || {
            self.lanes.iter().position(|lane| {
                let before = lane.thread.load(Relaxed);
                before != 0 && !sys::is_thread(before) && is_claimed(lane, before)
            })
        };
        own.or_else(free).or_else(left_behind).map(|index| index as u32)
    }

    /// Takes the slot with this owner's word for `thread`, if it is on lease to a lane that is idle.
    pub(crate) fn take(&self, owner: &AtomicU32, thread: u32) -> bool {
        let word = owner.load(Acquire);
        let Some(lane) = lane_of(word).and_then(|lane| self.get(lane)) else {
            return false;
        };
        if lane.epoch.load(Acquire) != 0 || owner.compare_exchange(word, thread, Acquire, Relaxed).is_err() {
            return false;
        }
        sys::heavy_barrier();
        if lane.epoch.load(Acquire) != 0 {
            owner.store(word, Release);
            return false;
        }
        if sys::is_thread(lane.thread()) {
            self.taken
                .fetch_max(self.taken.load(Relaxed).saturating_add(1), Relaxed);
        }
        true
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        for lane in self.lanes {
            lane.epoch.store(0, Relaxed);
            lane.thread.store(0, Relaxed);
        }
        left().push(self.lanes);
    }
}

/// The word of an owner that has a slot on lease.
#[inline]
pub(crate) const fn leased_to(lane: u32) -> u32 {
    LEASED | lane
}

/// The lane that an owner's word names, if the slot is on lease.
pub(crate) const fn lane_of(owner: u32) -> Option<u32> {
    if owner & LEASED != 0 {
        Some(owner & !LEASED)
    } else {
        None
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn lanes_of_a_runtime_that_is_gone_are_used_again() {
        // As many as no other test has.
        let count = 777;
        let lanes = Lanes::new(count);
        let first = lanes.get(lanes.of_thread(7).unwrap()).unwrap();
        first.epoch.store(1, Relaxed);
        drop(lanes);
        let lanes = Lanes::new(count);
        assert!(std::ptr::eq(first, lanes.get(0).unwrap()));
        assert_eq!((first.thread(), first.epoch.load(Relaxed)), (0, 0));
        assert!(!std::ptr::eq(first, Lanes::new(count).get(0).unwrap()));
    }
}

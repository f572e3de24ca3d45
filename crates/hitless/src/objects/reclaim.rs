//! The thread that gives the memory of objects back once no run can look at them any more.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::{Heap, NEXT, word};
use crate::primitive::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::primitive::atomic::AtomicU32;
use crate::run::Slots;
use crate::sys;

/// For how long it waits for runs before it looks whether it is to end.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was freed, and the thread that waits for the grace period.
#[derive(Debug, Default)]
pub(super) struct Reclaimer {
    /// The latest object that was freed, or 0; each has the address of the one before.
    freed: AtomicU64,
    /// Moves when there is something to do.
    work: AtomicU32,
    /// Whether the thread sleeps, or is about to.
    sleeping: AtomicU32,
    stopped: AtomicU32,
}

impl Reclaimer {
    /// Starts the thread, which lives until [`Reclaimer::stop`].
    pub(super) fn start(heap: &Arc<Heap>, slots: &Arc<Slots>) -> std::io::Result<()> {
        let (heap, slots) = (Arc::clone(heap), Arc::clone(slots));
        std::thread::Builder::new()
            .name("hitless-objects".into())
            .spawn(move || serve(&heap, &slots))
            .map(|_| ())
    }

    pub(super) fn stop(&self) {
        self.stopped.store(1, Release);
        self.wake();
    }

    /// Takes an object that nothing refers to any more.
    ///
    /// # Safety
    /// It is one of the heap's, and nobody else has its header.
    pub(super) unsafe fn add(&self, object: u64) {
        let mut first = self.freed.load(Relaxed);
        loop {
            // SAFETY: as for this function.
            unsafe { word(object - NEXT) }.store(first, Relaxed);
            match self.freed.compare_exchange(first, object, AcqRel, Relaxed) {
                Ok(_) => break,
                Err(now) => first = now,
            }
        }
        if first == 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        self.work.fetch_add(1, SeqCst);
        if self.sleeping.load(SeqCst) != 0 {
            sys::futex_wake_all(&self.work);
        }
    }
}

fn serve(heap: &Heap, slots: &Slots) {
    let reclaimer = &heap.reclaimer;
    while reclaimer.stopped.load(Acquire) == 0 {
        reclaimer.sleeping.store(1, SeqCst);
        let seen = reclaimer.work.load(SeqCst);
        let freed = reclaimer.freed.swap(0, AcqRel);
        if freed == 0 {
            if reclaimer.stopped.load(Acquire) == 0 {
                sys::futex_wait(&reclaimer.work, seen);
            }
            continue;
        }
        reclaimer.sleeping.store(0, Relaxed);
        while slots.synchronize(Some(PATIENCE)).is_err() {
            if reclaimer.stopped.load(Acquire) != 0 {
                return;
            }
        }
        give_back(heap, freed);
    }
}

fn give_back(heap: &Heap, mut object: u64) {
    while object != 0 {
        // SAFETY: an object that was freed, which no run looks at any more.
        let next = unsafe { word(object - NEXT) }.load(Relaxed);
        let mut classes = heap.classes.iter().filter_map(std::sync::OnceLock::get);
        if let Some(class) = classes.find(|class| class.object_at(object).is_some()) {
            class.give(object);
        }
        object = next;
    }
}

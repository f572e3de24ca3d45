//! What a thread knows of its own runs: for itself, and for signal handlers that interrupt it.
//!
//! A run has two words: that in which its epoch is published, for others, and the snapshot that it has latched, for its own
//! thread ([`Run::latch`]). A handler tells by them where the interrupted code was:
//!
//! | epoch | latched | the interrupted code | the handler |
//! |---|---|---|---|
//! | 0 | no | had no run, or is about to publish one | is a run of its own |
//! | set | no | is on its way in, or out | nests if the slot's list has something to flush: only on the way out; else as above |
//! | set | yes | is inside | nests |
//! | 0 | yes | was on its way in, and has been withdrawn | is a run of its own |
//!
//! Code on its way in looks at its epoch once more when it has latched. If a handler has had a run on the same lane meanwhile, or
//! withdrawn the epoch, that is 0, and it starts over. So a handler needs no notice of the entry that it interrupts.
//!
//! The run on the thread's lease is always there, in the thread's own memory: entering it stores its epoch and its snapshot, and
//! nothing else. Other runs are *claimed*; they lie in stack frames, listed innermost first. What a thread has on lease changes
//! only while none of its runs is seen to be on its way or inside, which a handler cannot be quite sure of: code on its way in
//! compares its lane, too. While there are claimed runs, handlers change nothing of that, and the fast way in is closed.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::compiler_fence;

use super::{Run, Slot};
use crate::hook::Snapshot;
use crate::lease::Lane;
use crate::primitive::Ordering::{Relaxed, SeqCst};
use crate::primitive::atomic::AtomicU64;
use crate::sys;

/// No runtime has this number.
pub(super) const NO_RUNTIME: u64 = u64::MAX;

/// What a thread knows of itself.
pub(super) struct Thread {
    /// The runtime whose runs it enters on its lease without further ado, if there is one.
    pub(super) ready: Cell<u64>,
    /// Its lane in the runtime that it is at home in.
    pub(super) lane: Cell<*const Lane>,
    /// The word of an owner whose slot is on lease to that.
    pub(super) lease: Cell<u32>,
    /// The run on the lease, in progress or not, with the slot.
    pub(super) run: Run<'static>,
    /// Whether there is a slot on lease, unless it was taken. The pointer to it stays, for code on its way in.
    pub(super) has_slot: Cell<bool>,
    /// The runtime that it is at home in: that in which it was last.
    pub(super) home: Cell<u64>,
    /// Its claimed runs, innermost first.
    pub(super) claimed: Cell<*const Claimed>,
    /// Its id, 0 if it has not been asked for.
    id: Cell<u32>,
}

/// A run that is not the one on the lease, or not quite.
pub(super) struct Claimed {
    pub(super) run: Run<'static>,
    pub(super) kind: Cell<Kind>,
    /// The runtime.
    pub(super) runtime: u64,
    /// Where it is published. Null if it never was.
    pub(super) epoch: Cell<*const AtomicU64>,
    pub(super) outer: *const Claimed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Part of a run that a signal handler has interrupted.
    Nested,
    /// The one on the lease, to be looked at closer.
    OnLease,
    /// On a slot that was claimed for it.
    Claimed,
}

#[cfg(not(hitless_model))]
crate::primitive::thread_local! {
    static THREAD: Thread = const { Thread::new() };
}
#[cfg(hitless_model)]
crate::primitive::thread_local! {
    static THREAD: Thread = Thread::new();
}

/// The calling thread's id; in the model, where all threads share one, a number of its own.
pub(crate) fn thread_id() -> u32 {
    let id = &Thread::current().id;
    if id.get() == 0 {
        #[cfg(not(hitless_model))]
        id.set(sys::thread_id());
        #[cfg(hitless_model)]
        {
            static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
            id.set(NEXT.fetch_add(1, Relaxed));
        }
    }
    id.get()
}

/// In a forked child, of its only thread: no run is entered any more.
pub(super) extern "C" fn close_in_child() {
    sys::set_forked();
    Thread::current().ready.set(NO_RUNTIME);
}

impl Thread {
    const fn new() -> Thread {
        Thread {
            ready: Cell::new(NO_RUNTIME),
            lane: Cell::new(ptr::null()),
            lease: Cell::new(0),
            run: Run::outside(false),
            has_slot: Cell::new(false),
            home: Cell::new(NO_RUNTIME),
            claimed: Cell::new(ptr::null()),
            id: Cell::new(0),
        }
    }

    /// The calling thread's.
    #[inline]
    pub(super) fn current<'t>() -> &'t Thread {
        // `with` and its closure would be a call of a function that is not known.
        let thread = THREAD.with(ptr::from_ref);
        // SAFETY: it has no destructor, so it is there for as long as the thread is; it is neither `Send` nor `Sync`.
        unsafe { &*thread }
    }

    /// Lists a claimed run. The fast way in is closed then.
    pub(super) fn push(&self, claimed: &Claimed) {
        self.claimed.set(claimed);
        compiler_fence(SeqCst);
        self.ready.set(NO_RUNTIME);
        compiler_fence(SeqCst);
    }

    /// Takes the innermost claimed run off the list. If it was the last, the thread's lease can be entered again.
    pub(super) fn pop(&self, claimed: &Claimed) {
        compiler_fence(SeqCst);
        self.claimed.set(claimed.outer);
        compiler_fence(SeqCst);
        if claimed.outer.is_null() && self.has_slot.get() && !sys::forked() {
            self.ready.set(self.home.get());
        }
    }

    /// Its lane in the runtime that it is at home in, if there is one; or one that was its lane, and may be another's now.
    pub(super) fn lane(&self) -> Option<&'static Lane> {
        // SAFETY: it was given a lane, and lanes are never freed.
        unsafe { self.lane.get().as_ref() }
    }

    /// Whether no run is on the lease, and nothing that a handler has interrupted shows one on its way. Then the lease can be moved.
    pub(super) fn is_outside(&self) -> bool {
        let is_published = self.lane().is_some_and(|lane| lane.epoch.load(Relaxed) != 0);
        !is_published && !self.run.is_inside()
    }

    /// Makes the thread at home in a runtime, where it has this lane, and no slot on lease yet.
    pub(super) fn move_to(&self, runtime: u64, lane: &Lane, lease: u32) {
        // A handler that comes meanwhile is at home nowhere.
        self.home.set(NO_RUNTIME);
        compiler_fence(SeqCst);
        self.lane.set(lane);
        self.lease.set(lease);
        self.has_slot.set(false);
        compiler_fence(SeqCst);
        self.home.set(runtime);
    }

    /// The claimed runs of a runtime, from `innermost` outwards.
    pub(super) fn claimed_from<'a>(
        &self,
        innermost: *const Claimed,
        runtime: u64,
    ) -> impl Iterator<Item = &'a Claimed> {
        // SAFETY: they lie in stack frames of this thread that are still live, since they are still listed.
        let all = std::iter::successors(unsafe { innermost.as_ref() }, |claimed| unsafe {
            claimed.outer.as_ref()
        });
        all.filter(move |claimed| claimed.runtime == runtime)
    }
}

impl Claimed {
    /// Not published yet.
    pub(super) fn new(runtime: u64, run: Run<'static>, kind: Kind, outer: *const Claimed) -> Claimed {
        Claimed {
            run,
            kind: Cell::new(kind),
            runtime,
            epoch: Cell::new(ptr::null()),
            outer,
        }
    }

    /// Where it is published, if it has a slot.
    pub(super) fn epoch(&self) -> Option<&AtomicU64> {
        // SAFETY: it is the word of a slot of the runtime, in which the run begins or is in progress.
        unsafe { self.epoch.get().as_ref() }
    }

    /// Whether a handler nests in it.
    pub(super) fn shelters(&self) -> bool {
        let is_published = self.epoch().is_some_and(|epoch| epoch.load(Relaxed) != 0);
        is_published && (self.run.is_inside() || !self.run.slot().flush.is_empty())
    }
}

/// In a latched snapshot's address: it is no longer, or not yet, latched.
const OUTSIDE: usize = 1;

impl Run<'static> {
    /// Not begun yet, on no slot.
    pub(super) const fn outside(timed: bool) -> Run<'static> {
        Run {
            slot: Cell::new(ptr::null()),
            index: Cell::new(0),
            snapshot: Cell::new(ptr::without_provenance(OUTSIDE)),
            nested: false,
            timed,
            stripes_before: 0,
            runtime: PhantomData,
        }
    }

    /// Before it begins: which slot it is on.
    pub(super) fn move_to(&self, slot: &Slot, index: u32) {
        self.slot.set(slot);
        self.index.set(index);
    }

    /// Part of this one, in a signal handler that has interrupted it.
    pub(super) fn nest(&self, timed: bool) -> Run<'static> {
        Run {
            slot: self.slot.clone(),
            index: self.index.clone(),
            snapshot: Cell::new(self.snapshot.get().map_addr(|address| address & !OUTSIDE)),
            nested: true,
            timed,
            stripes_before: self.slot().stripes.load(Relaxed),
            runtime: PhantomData,
        }
    }
}

impl Run<'_> {
    /// Whether it is inside, as handlers see it.
    #[inline]
    pub(super) fn is_inside(&self) -> bool {
        self.snapshot.get().addr() & OUTSIDE == 0
    }

    /// Goes inside, with this snapshot, at a point that handlers see in order.
    #[inline]
    pub(super) fn latch(&self, snapshot: *const Snapshot) {
        compiler_fence(SeqCst);
        self.snapshot.set(snapshot);
        compiler_fence(SeqCst);
    }

    /// Goes outside again, likewise; what was latched is still known to a handler that nests.
    #[inline]
    pub(super) fn unlatch(&self) {
        compiler_fence(SeqCst);
        self.snapshot
            .set(self.snapshot.get().map_addr(|address| address | OUTSIDE));
        compiler_fence(SeqCst);
    }

    /// Goes inside again, after [`unlatch`](Self::unlatch).
    pub(super) fn relatch(&self) {
        self.latch(self.snapshot.get().map_addr(|address| address & !OUTSIDE));
    }
}

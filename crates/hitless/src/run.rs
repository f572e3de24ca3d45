//! Runs: how a thread enters BPF code, and how others wait until it has left.
//!
//! A *slot* is this world's CPU. A thread owns one for the length of a run; there are twice as many as processors, so
//! that a thread preempted inside a run holds nobody up. It keeps the slot for its next run, until others need it
//! (`lease.rs`). Entering publishes the current epoch with one plain store; [`Slots::synchronize`] advances the epoch,
//! executes `membarrier(2)` and waits until nobody shows an earlier epoch any more (`run/grace.rs`). What was unpublished before
//! that call can then be freed: no run can still see it.
//!
//! Entering publishes the run first and looks at the gate (`gate.rs`) second; if that is closed, the run backs out and waits
//! with no slot and no epoch. So the thread that closed the gate and then waited for a grace period knows that nothing
//! runs. The gate is the runtime's, not a hook's: a run nested in another (a signal handler's) takes the program versions
//! that its outermost run latched, and any hook may be outermost.
//!
//! A signal handler that interrupts a run of its own thread nests: it uses the same slot, and must not wait for
//! anything that the interrupted code may hold. One that interrupts the few instructions in which a run begins or ends is
//! a run of its own; one that was beginning then starts over, if the handler has used the thread's lane or withdrawn it
//! (`run/thread.rs`). Before a handler waits at a closed gate it withdraws what it has interrupted, so that the cutover does not
//! wait for a thread that waits for the cutover.
//!
//! Nearly every run is on the thread's lease, with nothing else to look at: that way in ([`Slots::run`]) is a handful of loads and
//! two stores, and the way out two more. Whatever is rare is one word away (`run/attention.rs`), and goes the other way
//! ([`Slots::enter_otherwise`]).

mod attention;
mod grace;
mod thread;

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::atomic::compiler_fence;

pub(crate) use attention::Attention;
use grace::RetiredLater;
pub use grace::SyncError;
pub(crate) use thread::thread_id;
use thread::{Claimed, Kind, Thread};

use crate::gate::{Gate, GateClosed};
use crate::hook::Snapshot;
use crate::lease::{Lane, Lanes, leased_to};
use crate::primitive::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::primitive::atomic::{AtomicPtr, AtomicU32, AtomicU64};
use crate::primitive::{Mutex, Retired, yield_now};
use crate::sys;
use crate::trace::FlushList;

/// One slot. Only the owner (and signal handlers that interrupt it) touches the fields after `epoch`.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Slot {
    /// Thread id of the owner, 0 if free, or who has it on lease (`lease.rs`).
    owner: AtomicU32,
    /// Epoch at which the owner's run began, 0 if there is none; of one on lease, its lane says it.
    epoch: AtomicU64,
    /// How many stripe locks of map tracing the owner holds.
    pub(crate) stripes: AtomicU32,
    /// Whether the owner is inside a `bpf_spin_lock` section.
    pub(crate) spin_locked: AtomicU32,
    /// Elements written through pointers, to be traced when the outermost run ends.
    pub(crate) flush: FlushList,
}

impl Slot {
    fn new() -> Slot {
        Slot {
            owner: AtomicU32::new(0),
            epoch: AtomicU64::new(0),
            stripes: AtomicU32::new(0),
            spin_locked: AtomicU32::new(0),
            flush: FlushList::new(),
        }
    }
}

/// The slots of a runtime, its epoch and its gate.
#[derive(Debug)]
pub(crate) struct Slots {
    runtime: u64,
    slots: Box<[Slot]>,
    lanes: Lanes,
    /// Starts at 1, so that 0 can mean "no run".
    epoch: AtomicU64,
    /// Whether runs that begin have to look at the gate, or at any of what follows it.
    attention: Attention,
    gate: Gate,
    /// Threads that found every slot taken.
    waiting: AtomicU32,
    /// How many ask for statistics of programs.
    timed: AtomicU32,
    /// What runs latch when they begin: which programs are at which hook.
    snapshot: AtomicPtr<Snapshot>,
    /// What to drop after the next grace period.
    retired: Mutex<RetiredLater>,
}

/// A run could not begin: this process is a forked child of the one that made the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the runtime belongs to the parent process: hooks and maps are inert in a forked child")]
pub struct Forked;

/// How often a thread lets others run before it takes a slot that they wait for.
const COURTESY: u32 = 4;

/// A signal handler that interrupts the entry or the end of a run, where it cannot nest, takes a slot of its own.
const MIN_SLOTS: usize = 2;

/// A run in progress on this thread: the permission to touch what grace periods protect.
pub(crate) struct Run<'rt> {
    slot: Cell<*const Slot>,
    index: Cell<u32>,
    /// What it has latched, marked as long as it is outside (`run/thread.rs`).
    snapshot: Cell<*const Snapshot>,
    /// Whether it interrupted another run of this thread.
    nested: bool,
    /// Whether statistics of programs are kept.
    timed: bool,
    /// Stripes that the thread held when this run began.
    stripes_before: u32,
    /// Of slots that are there, on this thread.
    runtime: PhantomData<(&'rt Slots, *const ())>,
}

impl Run<'_> {
    /// The slot's number: what programs see as their CPU.
    #[inline]
    pub(crate) fn index(&self) -> u32 {
        self.index.get()
    }

    #[inline]
    pub(crate) fn slot(&self) -> &Slot {
        // SAFETY: a run is given out with a slot of the runtime that it is in, which stays as long as it is in progress.
        unsafe { &*self.slot.get() }
    }

    /// Whether this run interrupted another run of this thread, and so must not wait for a lock.
    #[inline]
    pub(crate) fn is_nested(&self) -> bool {
        self.nested
    }

    /// Whether statistics of programs are kept.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.timed
    }

    /// Whether the code that this run interrupted holds a stripe: then nothing traced may be changed.
    #[inline]
    pub(crate) fn interrupted_a_stripe(&self) -> bool {
        self.stripes_before > 0
    }

    /// The programs at the hooks, as the outermost run latched them.
    #[inline]
    pub(crate) fn snapshot(&self) -> &Snapshot {
        // SAFETY: a run is given out when it has latched one, and inside. Snapshots are freed a grace period after they were
        // replaced; this run began before that ended.
        unsafe { &*self.snapshot.get() }
    }
}

impl Slots {
    pub(crate) fn new(runtime: u64, count: usize, snapshot: Box<Snapshot>) -> Slots {
        sys::init(thread::close_in_child);
        let count = count.max(MIN_SLOTS);
        Slots {
            runtime,
            slots: (0..count).map(|_| Slot::new()).collect(),
            lanes: Lanes::new(count),
            epoch: AtomicU64::new(1),
            attention: Attention::new(sys::fences_on_entry()),
            gate: Gate::new(),
            waiting: AtomicU32::new(0),
            timed: AtomicU32::new(0),
            snapshot: AtomicPtr::new(Box::into_raw(snapshot)),
            retired: Mutex::default(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Runs `f` inside a run. Before the outermost run ends, registered pointer updates are flushed.
    ///
    /// Inlined, since it is on the way of every invocation of a hook: what a run returns is to stay in registers.
    #[inline]
    pub(crate) fn run<R>(&self, f: impl FnOnce(&Run<'_>) -> R) -> Result<R, Forked> {
        let thread = Thread::current();
        let mut place = MaybeUninit::uninit();
        let claimed = if self.enter_leased(thread) {
            None
        } else {
            Some(self.enter_otherwise(thread, &mut place)?)
        };
        let run = claimed.map_or(&thread.run, |claimed| &claimed.run);
        let unwound = Unwound {
            slots: self,
            thread,
            claimed,
        };
        let result = f(run);
        self.leave(thread, claimed);
        mem::forget(unwound);
        Ok(result)
    }

    /// Enters on the thread's lease, if it has one and there is nothing else to look at; false if not.
    #[inline]
    fn enter_leased(&self, thread: &Thread) -> bool {
        if thread.ready.get() != self.runtime || thread.run.is_inside() {
            return false;
        }
        // SAFETY: a thread that is ready to enter a runtime has a lane, and lanes are never freed. If a handler has moved the thread to
        // another runtime in between, it is one of that, which is found out below.
        let lane = unsafe { &*thread.lane.get() };
        if lane.epoch.load(Relaxed) != 0 {
            return false;
        }
        self.publish_run(&lane.epoch, &thread.run, || {
            let is_ours = thread.run.slot().owner.load(Acquire) == thread.lease.get();
            // Without a `membarrier(2)`, which makes a fence of this one, attention is always raised.
            thread.ready.get() == self.runtime
                && ptr::eq(thread.lane.get(), lane)
                && is_ours
                && !self.attention.is_raised()
        })
    }

    /// Publishes a run, and latches the snapshot if it may enter and is not withdrawn meanwhile; false if not.
    #[inline]
    fn publish_run(&self, epoch: &AtomicU64, run: &Run<'_>, may_enter: impl FnOnce() -> bool) -> bool {
        // Release: whoever reads this has also seen the end of the slot's run before.
        epoch.store(self.epoch.load(Acquire), Release);
        compiler_fence(SeqCst);
        if !may_enter() {
            return back_out(run, epoch);
        }
        run.latch(self.snapshot.load(Acquire));
        if epoch.load(Relaxed) == 0 {
            return back_out(run, epoch);
        }
        true
    }

    /// Ends the run.
    #[inline]
    fn leave(&self, thread: &Thread, claimed: Option<&Claimed>) {
        match claimed {
            None => {
                // SAFETY: the run in progress is on the lease in that lane, which is never freed.
                let lane = unsafe { &*thread.lane.get() };
                end(&thread.run, &lane.epoch);
            }
            Some(claimed) => self.leave_otherwise(thread, claimed),
        }
    }

    /// Enters where the fast way is closed: nests, or looks at everything.
    #[cold]
    #[inline(never)]
    fn enter_otherwise<'p>(&self, thread: &Thread, place: &'p mut MaybeUninit<Claimed>) -> Result<&'p Claimed, Forked> {
        if sys::forked() {
            return Err(Forked);
        }
        let outer = thread.claimed.get();
        if let Some(interrupted) = self.shelter(thread) {
            let run = interrupted.nest(self.is_timed());
            return Ok(place.write(Claimed::new(self.runtime, run, Kind::Nested, outer)));
        }
        let run = Run::outside(self.is_timed());
        let claimed: &Claimed = place.write(Claimed::new(self.runtime, run, Kind::Claimed, outer));
        thread.push(claimed);
        loop {
            if self.gate.is_closed_to(thread_id) {
                self.withdraw_interrupted(thread, outer);
                self.gate.wait();
            }
            let may_lease = outer.is_null() && thread.is_outside();
            if may_lease && self.waiting.load(Relaxed) == 0 && self.enter_on_lease(thread, claimed) {
                thread.pop(claimed);
                return Ok(claimed);
            }
            if may_lease {
                self.prepare_lease(thread);
            }
            let (index, slot) = self.claim();
            claimed.run.move_to(slot, index);
            claimed.epoch.set(&raw const slot.epoch);
            if self.publish_run(&slot.epoch, &claimed.run, || self.passes_gate()) {
                return Ok(claimed);
            }
            claimed.epoch.set(ptr::null());
            slot.owner.store(0, Release);
        }
    }

    /// Enters on the thread's lease, looking at the gate.
    fn enter_on_lease(&self, thread: &Thread, claimed: &Claimed) -> bool {
        if thread.home.get() != self.runtime || !thread.has_slot.get() {
            return false;
        }
        // SAFETY: who is at home in a runtime has a lane there, and lanes are never freed.
        let lane = unsafe { &*thread.lane.get() };
        let (slot, index) = (thread.run.slot(), thread.run.index());
        let entered = self.publish_run(&lane.epoch, &thread.run, || {
            self.passes_gate() && slot.owner.load(Acquire) == thread.lease.get()
        });
        if entered {
            claimed.kind.set(Kind::OnLease);
            claimed.run.move_to(slot, index);
            claimed.run.latch(thread.run.snapshot.get());
        }
        entered
    }

    /// After a run has been published: whether the gate is open to the thread.
    fn passes_gate(&self) -> bool {
        sys::light_barrier();
        !self.gate.is_closed_to(thread_id)
    }

    /// Whether statistics of programs are kept.
    fn is_timed(&self) -> bool {
        self.timed.load(Relaxed) > 0
    }

    /// The run that the caller, a signal handler, has interrupted, if there is one that it can nest in.
    fn shelter<'t>(&self, thread: &'t Thread) -> Option<&'t Run<'static>> {
        let mut claimed = thread.claimed_from(thread.claimed.get(), self.runtime);
        if let Some(claimed) = claimed.find(|claimed| claimed.shelters()) {
            return Some(&claimed.run);
        }
        let lane = (thread.home.get() == self.runtime).then(|| thread.lane())?;
        (lane?.epoch.load(Relaxed) != 0 && (thread.run.is_inside() || self.has_to_flush(thread))).then_some(&thread.run)
    }

    /// Whether the run on the thread's lease, which is on its way in or out, has something to flush: then it is on its way out.
    fn has_to_flush(&self, thread: &Thread) -> bool {
        let slot = thread.run.slot();
        slot.owner.load(Acquire) == thread.lease.get() && !slot.flush.is_empty()
    }

    #[cold]
    #[inline(never)]
    fn leave_otherwise(&self, thread: &Thread, claimed: &Claimed) {
        match claimed.kind.get() {
            Kind::Nested => {}
            Kind::OnLease => {
                // As the run that may be timed.
                flush(&claimed.run);
                self.leave(thread, None);
            }
            Kind::Claimed => {
                let (slot, index) = (claimed.run.slot(), claimed.run.index());
                end(&claimed.run, &slot.epoch);
                // A handler that comes here is a run of its own, and gives back what it claims.
                let lease = self.takes_on_lease(thread, claimed).then(|| {
                    thread.run.move_to(slot, index);
                    thread.has_slot.set(true);
                    thread.lease.get()
                });
                slot.owner.store(lease.unwrap_or(0), Release);
                thread.pop(claimed);
            }
        }
    }

    /// Whether the thread keeps the slot of a claimed run on lease: it has a lane, and no other slot yet.
    fn takes_on_lease(&self, thread: &Thread, claimed: &Claimed) -> bool {
        let is_at_home = thread.home.get() == self.runtime && claimed.outer.is_null() && thread.is_outside();
        let has_other = || thread.has_slot.get() && thread.run.slot().owner.load(Relaxed) == thread.lease.get();
        is_at_home && !has_other() && !self.lanes.is_crowded()
    }

    /// Before a slot is claimed by a thread that has no run: finds it a lane, to keep a slot on lease later. If others wait for
    /// slots, the one that it has on lease is theirs.
    fn prepare_lease(&self, thread: &Thread) {
        if self.waiting.load(Relaxed) > 0 {
            self.lanes.set_crowded();
        }
        if thread.home.get() == self.runtime {
            if self.lanes.is_crowded() && thread.has_slot.replace(false) {
                // If it fails, it was taken.
                let owner = &thread.run.slot().owner;
                let _ = owner.compare_exchange(thread.lease.get(), 0, Release, Relaxed);
            }
        } else if !self.lanes.is_crowded()
            && let Some(index) = self.lanes.of_thread(thread_id())
            && let Some(lane) = self.lanes.get(index)
        {
            let lease = leased_to(index);
            let slot = self.slots.iter().position(|slot| slot.owner.load(Relaxed) == lease);
            thread.move_to(self.runtime, lane, lease);
            if let Some(index) = slot {
                thread.run.move_to(&self.slots[index], index as u32);
                thread.has_slot.set(true);
            }
        }
    }

    /// Before the calling signal handler waits at the gate: withdraws the runs of this runtime that it interrupted where it
    /// could not nest, so that nobody waits for them meanwhile. One that was entering starts over; one that was leaving has
    /// nothing left to do.
    fn withdraw_interrupted(&self, thread: &Thread, outer: *const Claimed) {
        for claimed in thread.claimed_from(outer, self.runtime) {
            if let Some(epoch) = claimed.epoch() {
                epoch.store(0, Release);
            }
        }
        for lane in self.lanes_of(thread_id()) {
            lane.epoch.store(0, Release);
        }
    }

    /// The lanes of a thread: one, but for that of a thread that had the same id before.
    fn lanes_of(&self, thread: u32) -> impl Iterator<Item = &'static Lane> {
        self.lanes.iter().filter(move |lane| lane.thread() == thread)
    }

    fn claim(&self) -> (u32, &Slot) {
        let thread = thread_id();
        // With more threads than slots, those that run would take each free slot again before a waiting one gets to see it.
        let mut turn = 0;
        while self.waiting.load(Relaxed) > 0 && turn < COURTESY {
            yield_now();
            turn += 1;
        }
        if let Some(claimed) = self.try_claim(thread) {
            return claimed;
        }
        self.waiting.fetch_add(1, Relaxed);
        self.attention.raise();
        loop {
            yield_now();
            if let Some(claimed) = self.try_claim(thread) {
                self.attention.lower();
                self.waiting.fetch_add(u32::MAX, Relaxed);
                return claimed;
            }
        }
    }

    fn try_claim(&self, thread: u32) -> Option<(u32, &Slot)> {
        let first = sys::current_cpu();
        let mut indices = (0..self.slots.len()).map(|i| (first + i) % self.slots.len());
        let is_claimed = |index: &usize| {
            let owner = &self.slots[*index].owner;
            owner.load(Relaxed) == 0 && owner.compare_exchange(0, thread, Acquire, Relaxed).is_ok()
        };
        let claimed = indices.clone().find(is_claimed);
        let is_taken = |index: &usize| self.lanes.take(&self.slots[*index].owner, thread);
        let index = claimed.or_else(|| indices.find(is_taken))?;
        Some((index as u32, &self.slots[index]))
    }

    /// Whether the calling thread is inside a run of this runtime, or a handler that interrupted its beginning or end.
    pub(crate) fn in_run(&self) -> bool {
        let thread = Thread::current();
        let claimed = thread.claimed_from(thread.claimed.get(), self.runtime).next().is_some();
        claimed || self.lanes_of(thread_id()).any(|lane| lane.epoch.load(Relaxed) != 0)
    }

    /// The number of the runtime that these are the slots of.
    pub(crate) fn runtime(&self) -> u64 {
        self.runtime
    }

    /// Publishes what later runs latch; returns the snapshot before it, to be freed after a grace period.
    pub(crate) fn publish(&self, snapshot: Snapshot) -> Retired<Snapshot> {
        let before = self.snapshot.swap(Box::into_raw(Box::new(snapshot)), AcqRel);
        // SAFETY: the pointer came from `Box::into_raw`, the swap left it to the caller, who waits for a grace period.
        unsafe { Retired::new(before) }
    }

    /// Has runs that begin from now on keep statistics of programs, until it is undone as often.
    pub(crate) fn keep_time(&self, keep: bool) {
        if keep {
            self.timed.fetch_add(1, Relaxed);
            self.attention.raise();
        } else {
            self.attention.lower();
            self.timed.fetch_add(u32::MAX, Relaxed);
        }
    }

    /// The gate, which holds up runs that begin.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Closes the gate until the guard is dropped. Runs that began before go on; wait for them with `wait_at_gate`.
    pub(crate) fn close_gate(&self) -> GateClosed<'_> {
        self.gate.close(thread_id(), &self.attention)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: the word holds a pointer from `Box::into_raw`, and no run can be active in what is being dropped.
        drop(unsafe { Box::from_raw(self.snapshot.get_mut()) });
    }
}

/// Takes back a run that was published in this word, and perhaps has latched something; returns that it has not begun.
#[cold]
#[inline(never)]
fn back_out(run: &Run<'_>, epoch: &AtomicU64) -> bool {
    run.unlatch();
    epoch.store(0, Release);
    false
}

/// Ends a run that is published in this word.
#[inline]
fn end(run: &Run<'_>, epoch: &AtomicU64) {
    // A handler that comes now is a run of its own; one that came before may have left something to be flushed.
    run.unlatch();
    if !run.slot().flush.is_empty() {
        flush_and_unlatch(run);
    }
    epoch.store(0, Release);
}

/// The end of a run that has something to flush, or whose handlers leave something until nothing is left.
#[cold]
#[inline(never)]
fn flush_and_unlatch(run: &Run<'_>) {
    while !run.slot().flush.is_empty() {
        run.relatch();
        flush(run);
        run.unlatch();
    }
}

fn flush(run: &Run<'_>) {
    while !run.slot().flush.is_empty() {
        crate::trace::flush(run);
    }
}

/// Ends the run if it panics.
struct Unwound<'a> {
    slots: &'a Slots,
    thread: &'a Thread,
    claimed: Option<&'a Claimed>,
}

impl Drop for Unwound<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // By value, so that nothing of this is in memory as long as nothing panics.
        end_unwound(self.slots, self.thread, self.claimed);
    }
}

#[cold]
#[inline(never)]
fn end_unwound(slots: &Slots, thread: &Thread, claimed: Option<&Claimed>) {
    let run = claimed.map_or(&thread.run, |claimed| &claimed.run);
    if !run.is_nested() {
        // What it names may not outlive the run.
        run.slot().flush.clear();
    }
    slots.leave(thread, claimed);
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use super::*;

    fn slots(runtime: u64) -> Slots {
        // Numbers that no other test has.
        Slots::new(u64::MAX / 2 + runtime, 4, Box::default())
    }

    fn nothing_runs(slots: &Slots) -> bool {
        slots.synchronize(Some(Duration::ZERO)) == Ok(())
    }

    #[test]
    fn a_thread_goes_from_runtime_to_runtime() {
        let first = slots(0);
        for runtime in 1..10 {
            let second = slots(runtime);
            let both = first.run(|outer| {
                let inner = second.run(|inner| inner.is_nested()).unwrap();
                let within = first.run(|within| (within.is_nested(), within.index())).unwrap();
                assert_eq!(within, (true, outer.index()));
                assert_eq!(second.synchronize(None), Ok(()));
                assert_eq!(first.synchronize(None), Err(SyncError::Deadlock));
                outer.is_nested() || inner
            });
            assert_eq!(both, Ok(false));
            assert_eq!(second.run(|run| run.is_nested()), Ok(false));
            assert!(nothing_runs(&first) && nothing_runs(&second));
        }
    }

    #[test]
    fn a_run_that_panics_is_left() {
        let slots = slots(20);
        // The first is claimed, later ones are on the lease.
        for _ in 0..3 {
            let panicked = catch_unwind(AssertUnwindSafe(|| slots.run(|_| panic!("on purpose"))));
            assert!(panicked.is_err() && nothing_runs(&slots));
            assert_eq!(slots.run(|run| run.is_nested()), Ok(false));
        }
    }

    #[test]
    fn runs_are_timed_while_that_is_asked_for() {
        let slots = slots(30);
        let is_timed = || slots.run(|run| run.is_timed()).unwrap();
        assert!(!is_timed() && !is_timed());
        slots.keep_time(true);
        assert!(is_timed() && is_timed());
        slots.run(|_| assert!(is_timed())).unwrap();
        slots.keep_time(false);
        assert!(!is_timed() && nothing_runs(&slots));
    }

    #[test]
    fn whoever_closes_the_gate_passes_it() {
        let slots = slots(40);
        for _ in 0..3 {
            let gate = slots.close_gate();
            assert_eq!(slots.run(|run| run.is_nested()), Ok(false));
            assert!(nothing_runs(&slots));
            drop(gate);
            assert_eq!(slots.run(|run| run.is_nested()), Ok(false));
        }
    }
}

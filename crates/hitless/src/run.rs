//! Runs: how a thread enters BPF code, and how others wait until it has left.
//!
//! A *slot* is this world's CPU. A thread owns one for the length of a run; there are twice as many as processors, so
//! that a thread preempted inside a run holds nobody up. It keeps the slot for its next run, until others need it
//! (`lease.rs`). Entering publishes the current epoch with one plain store; [`Slots::synchronize`] advances the epoch,
//! executes `membarrier(2)` and waits until nobody shows an earlier epoch any more. What was unpublished before that call can
//! then be freed: no run can still see it.
//!
//! Entering publishes the run first and looks at the gate (`gate.rs`) second; if that is closed, the run backs out and waits
//! with no slot and no epoch. So the thread that closed the gate and then waited for a grace period knows that nothing
//! runs. The gate is the runtime's, not a hook's: a run nested in another (a signal handler's) takes the program versions
//! that its outermost run latched, and any hook may be outermost.
//!
//! A signal handler that interrupts a run of its own thread nests: it uses the same slot, and must not wait for
//! anything that the interrupted code may hold. One that interrupts the few instructions in which a run begins or ends is
//! a run of its own, with another slot; before it waits at a closed gate it withdraws the interrupted run (one that was
//! beginning then starts over), so that the cutover does not wait for a thread that waits for the cutover.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::compiler_fence;
use std::time::{Duration, Instant};

use crate::gate::{Gate, GateClosed};
use crate::hook::Snapshot;
use crate::lease::{Lanes, leased_to};
use crate::primitive::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::primitive::atomic::{AtomicPtr, AtomicU32, AtomicU64};
use crate::primitive::{Mutex, MutexGuard, Retired, relax, yield_now};
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

/// Why waiting for a grace period ended without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// The caller is inside a run, which would wait for itself.
    #[error("waiting for a grace period from inside a run would wait for itself")]
    Deadlock,
    /// A run was still active at the deadline.
    #[error("thread {thread} was still inside a run after {waited:?}")]
    TimedOut {
        /// The thread whose run did not end.
        thread: u32,
        /// How long was waited.
        waited: Duration,
    },
    /// There is no memory for the code that would run then.
    #[error("no memory for the code that would run then")]
    NoMemory,
}

const NO_SLOT: u32 = u32::MAX;

/// How long to wait for runs before something is dropped later.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a thread lets others run before it takes a slot that they wait for.
const COURTESY: u32 = 4;

/// A signal handler that interrupts the entry or the end of a run, where it cannot nest, takes a slot of its own.
const MIN_SLOTS: usize = 2;

/// Where a thread's runs are recorded, innermost first, for signal handlers to find.
struct Record {
    runtime: u64,
    /// The slot it owns, or [`NO_SLOT`].
    slot: Cell<u32>,
    /// Where the run is published: in the slot, or in the lane of the thread. Null if it never was.
    epoch: Cell<*const AtomicU64>,
    stage: Cell<Stage>,
    /// Set by a signal handler that withdrew the entry.
    withdrawn: Cell<bool>,
    snapshot: Cell<*const Snapshot>,
    outer: *const Record,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// On the way in: a handler cannot nest, and may withdraw what is published.
    Entering,
    /// A handler nests.
    Inside,
    /// On the way out. A handler nests only as long as something is to be flushed, which makes the run go back inside.
    Leaving,
}

impl Record {
    /// Whether a handler nests in the run: it is published, and stays so for as long as the handler needs.
    fn shelters(&self, slots: &[Slot]) -> bool {
        let Some(slot) = slots.get(self.slot.get() as usize) else {
            return false;
        };
        match self.stage.get() {
            Stage::Entering => false,
            Stage::Inside => !self.withdrawn.get(),
            Stage::Leaving => !slot.flush.is_empty(),
        }
    }

    /// Whether it is published in the thread's lane, since its slot is on lease.
    #[inline]
    fn is_leased(&self, slot: &Slot) -> bool {
        !ptr::eq(self.epoch.get(), &raw const slot.epoch)
    }

    /// Notes the slot, and where the run is to be published. A handler that finds the slot finds the rest.
    #[inline]
    fn take_slot(&self, index: u32, epoch: &AtomicU64) {
        self.epoch.set(epoch);
        compiler_fence(SeqCst);
        self.slot.set(index);
    }

    /// Unpublishes the run. A handler that comes then finds no run to nest in, and nothing that a grace period waits for.
    #[inline]
    fn unpublish(&self, epoch: &AtomicU64) {
        epoch.store(0, Release);
        self.slot.set(NO_SLOT);
        compiler_fence(SeqCst);
    }

    /// Moves to another stage, at a point that handlers see in order.
    #[inline]
    fn enter_stage(&self, stage: Stage) {
        compiler_fence(SeqCst);
        self.stage.set(stage);
        compiler_fence(SeqCst);
    }
}

/// What a thread knows of itself.
struct Thread {
    /// Its runs, innermost first.
    current: Cell<*const Record>,
    /// Its id, 0 if it has not been asked for.
    id: Cell<u32>,
    /// The runtime whose lane and slot follow: that in which it was last.
    runtime: Cell<u64>,
    /// Its lane there.
    lane: Cell<u32>,
    /// The slot that it has on lease there, unless it was taken.
    slot: Cell<u32>,
}

/// No runtime has this number.
const NO_RUNTIME: u64 = u64::MAX;

impl Thread {
    const fn new() -> Thread {
        Thread {
            current: Cell::new(ptr::null()),
            id: Cell::new(0),
            runtime: Cell::new(NO_RUNTIME),
            lane: Cell::new(0),
            slot: Cell::new(NO_SLOT),
        }
    }
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
    THREAD.with(|Thread { id, .. }| {
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
    })
}

/// The runs of the calling thread, innermost first.
#[inline]
fn current() -> *const Record {
    THREAD.with(|thread| thread.current.get())
}

/// A run in progress on this thread: the permission to touch what grace periods protect.
pub(crate) struct Run<'rt> {
    slot: &'rt Slot,
    index: u32,
    snapshot: *const Snapshot,
    /// Whether it interrupted another run of this thread.
    nested: bool,
    /// Whether statistics of programs are kept.
    timed: bool,
    /// Stripes that the thread held when this run began.
    stripes_before: u32,
    not_send: PhantomData<*const ()>,
}

impl Run<'_> {
    /// The slot's number: what programs see as their CPU.
    #[inline]
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    #[inline]
    pub(crate) fn slot(&self) -> &Slot {
        self.slot
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
        // SAFETY: snapshots are freed a grace period after they were replaced; this run began before that ended.
        unsafe { &*self.snapshot }
    }
}

impl Slots {
    pub(crate) fn new(runtime: u64, count: usize, snapshot: Box<Snapshot>) -> Slots {
        sys::init();
        Slots {
            runtime,
            slots: (0..count.max(MIN_SLOTS)).map(|_| Slot::new()).collect(),
            lanes: Lanes::new(count.max(MIN_SLOTS)),
            epoch: AtomicU64::new(1),
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
        if sys::forked() {
            return Err(Forked);
        }
        let outer = current();
        if !outer.is_null()
            && let Some(run) = self.nested(outer)
        {
            return Ok(f(&run));
        }
        let record = Record {
            runtime: self.runtime,
            slot: Cell::new(NO_SLOT),
            epoch: Cell::new(ptr::null()),
            stage: Cell::new(Stage::Entering),
            withdrawn: Cell::new(false),
            snapshot: Cell::new(ptr::null()),
            outer,
        };
        THREAD.with(|thread| thread.current.set(&raw const record));
        let (index, slot) = self.enter(&record);
        let leave = Leave {
            slots: self,
            slot,
            index,
            record: &record,
        };
        let run = Run {
            slot,
            index,
            snapshot: record.snapshot.get(),
            nested: false,
            timed: self.timed.load(Relaxed) > 0,
            stripes_before: 0,
            not_send: PhantomData,
        };
        let result = f(&run);
        // A handler that comes now is a run of its own; one that came before may have left something to be flushed.
        record.enter_stage(Stage::Leaving);
        if !slot.flush.is_empty() {
            flush_and_leave(&run, &record);
        }
        drop(leave);
        Ok(result)
    }

    /// The run that a signal handler has interrupted, to go on in, if there is one that it can nest in.
    #[cold]
    fn nested(&self, outer: *const Record) -> Option<Run<'_>> {
        let record = self.records(outer).find(|record| record.shelters(&self.slots))?;
        let index = record.slot.get();
        let slot = &self.slots[index as usize];
        Some(Run {
            slot,
            index,
            snapshot: record.snapshot.get(),
            nested: true,
            timed: self.timed.load(Relaxed) > 0,
            stripes_before: slot.stripes.load(Relaxed),
            not_send: PhantomData,
        })
    }

    /// Takes a slot, publishes the run, then looks at the gate; returns once it has passed.
    #[inline]
    fn enter(&self, record: &Record) -> (u32, &Slot) {
        // The slot that the thread has on lease, if it still has it and the gate is open.
        if record.outer.is_null()
            && self.waiting.load(Relaxed) == 0
            && let Some(entered) = self.enter_leased(record)
        {
            return entered;
        }
        self.enter_anyhow(record)
    }

    #[inline]
    fn enter_leased(&self, record: &Record) -> Option<(u32, &Slot)> {
        let (runtime, lane, index) = THREAD.with(|thread| (thread.runtime.get(), thread.lane.get(), thread.slot.get()));
        if runtime != self.runtime {
            return None;
        }
        let epoch = &self.lanes.get(lane)?.epoch;
        let slot = self.slots.get(index as usize)?;
        record.take_slot(index, epoch);
        if self.publish_run(record, epoch, || slot.owner.load(Acquire) == leased_to(lane)) {
            return Some((index, slot));
        }
        record.unpublish(epoch);
        None
    }

    /// Gives the slot back, or keeps it on lease.
    #[inline]
    fn leave(&self, record: &Record, index: u32, slot: &Slot) {
        if record.is_leased(slot) {
            // SAFETY: it points to the epoch of a lane of this runtime, put there by `enter_leased`.
            record.unpublish(unsafe { &*record.epoch.get() });
        } else {
            self.leave_claimed(record, index, slot);
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_claimed(&self, record: &Record, index: u32, slot: &Slot) {
        record.unpublish(&slot.epoch);
        // A handler that comes here is a run of its own, and gives back what it claims. It may take the thread's lease.
        let lease = THREAD.with(|thread| {
            let has_lane = record.outer.is_null() && thread.runtime.get() == self.runtime;
            let lane = thread.lane.get();
            let before = self.slots.get(thread.slot.get() as usize);
            let none_yet = before.is_none_or(|slot| slot.owner.load(Relaxed) != leased_to(lane));
            (has_lane && none_yet && !self.lanes.is_crowded()).then(|| {
                thread.slot.set(index);
                lane
            })
        });
        slot.owner.store(lease.map_or(0, leased_to), Release);
    }

    /// Publishes the run, and latches the snapshot if the slot is the thread's and the gate open; false if not.
    #[inline]
    fn publish_run(&self, record: &Record, epoch: &AtomicU64, is_ours: impl Fn() -> bool) -> bool {
        loop {
            record.enter_stage(Stage::Entering);
            record.withdrawn.set(false);
            // Release: whoever reads this has also seen the end of the slot's run before.
            epoch.store(self.epoch.load(Acquire), Release);
            sys::light_barrier();
            if !is_ours() || self.gate.is_closed_to(thread_id) {
                return false;
            }
            record.snapshot.set(self.snapshot.load(Acquire));
            record.enter_stage(Stage::Inside);
            if !record.withdrawn.get() {
                return true;
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn enter_anyhow(&self, record: &Record) -> (u32, &Slot) {
        loop {
            if self.gate.is_closed_to(thread_id) {
                self.withdraw_interrupted(record.outer);
                self.gate.wait();
            }
            self.prepare_lease(record);
            let (index, slot) = self.claim();
            record.take_slot(index, &slot.epoch);
            if self.publish_run(record, &slot.epoch, || true) {
                return (index, slot);
            }
            record.unpublish(&slot.epoch);
            slot.owner.store(0, Release);
        }
    }

    /// Before a slot is claimed: finds the thread a lane, to keep a slot on lease later. If others wait for slots, the one that it
    /// has on lease is theirs.
    fn prepare_lease(&self, record: &Record) {
        if !record.outer.is_null() {
            return;
        }
        THREAD.with(|thread| {
            if self.waiting.load(Relaxed) > 0 {
                self.lanes.set_crowded();
            }
            if thread.runtime.get() == self.runtime {
                if self.lanes.is_crowded()
                    && let Some(slot) = self.slots.get(thread.slot.replace(NO_SLOT) as usize)
                {
                    let lease = leased_to(thread.lane.get());
                    // If it fails, it was taken.
                    let _ = slot.owner.compare_exchange(lease, 0, Release, Relaxed);
                }
            } else if !self.lanes.is_crowded()
                && let Some(lane) = self.lanes.of_thread(thread_id())
            {
                let lease = leased_to(lane);
                let slot = self.slots.iter().position(|slot| slot.owner.load(Relaxed) == lease);
                thread.slot.set(slot.map_or(NO_SLOT, |slot| slot as u32));
                thread.lane.set(lane);
                thread.runtime.set(self.runtime);
            }
        });
    }

    /// Before the calling signal handler waits at the gate: withdraws the runs of this runtime that it interrupted where it
    /// could not nest, so that nobody waits for them meanwhile. One that was entering starts over; one that was leaving has
    /// nothing left to do.
    fn withdraw_interrupted(&self, outer: *const Record) {
        for interrupted in self.records(outer) {
            interrupted.withdrawn.set(true);
            if interrupted.slot.get() != NO_SLOT {
                // SAFETY: with a slot, it points to the epoch of a slot or lane of this runtime.
                unsafe { (*interrupted.epoch.get()).store(0, Release) };
            }
        }
    }

    /// The runs of this runtime on the calling thread, from `innermost` outwards.
    fn records<'a>(&self, innermost: *const Record) -> impl Iterator<Item = &'a Record> {
        // SAFETY: records lie in stack frames of this thread that are still live, since they are still listed.
        let all = std::iter::successors(unsafe { innermost.as_ref() }, |record| unsafe { record.outer.as_ref() });
        all.filter(|record| record.runtime == self.runtime)
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
        loop {
            yield_now();
            if let Some(claimed) = self.try_claim(thread) {
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
        self.records(current()).next().is_some()
    }

    /// The number of the runtime that these are the slots of.
    pub(crate) fn runtime(&self) -> u64 {
        self.runtime
    }

    /// Waits until every run that was active when it was called has left.
    pub(crate) fn synchronize(&self, timeout: Option<Duration>) -> Result<(), SyncError> {
        if self.in_run() {
            return Err(SyncError::Deadlock);
        }
        // Taken first: it is what was unpublished before the epoch ends.
        let retired = Retiring {
            slots: self,
            taken: std::mem::take(&mut self.retired().0),
        };
        let target = self.epoch.fetch_add(1, SeqCst) + 1;
        sys::heavy_barrier();
        let start = Instant::now();
        let claimed = self.slots.iter().map(|slot| (&slot.epoch, slot.owner.load(Relaxed)));
        let leased = self.lanes.iter().map(|lane| (&lane.epoch, lane.thread()));
        for (word, thread) in claimed.chain(leased) {
            let mut turn = 0;
            loop {
                let epoch = word.load(Acquire);
                if epoch == 0 || epoch >= target {
                    break;
                }
                if let Some(limit) = timeout
                    && start.elapsed() >= limit
                {
                    return Err(SyncError::TimedOut {
                        thread,
                        waited: start.elapsed(),
                    });
                }
                // With the gate closed the traffic stands still: never sleep, only yield.
                relax(if self.gate.is_closed() { turn.min(1000) } else { turn });
                turn += 1;
            }
        }
        // What is dropped may take long, and may have to wait for what a cutover holds: not while the gate is closed.
        if !self.gate.is_closed() {
            retired.drop_now();
        }
        Ok(())
    }

    /// Drops what was unpublished once no run can see it: at once, after a grace period, if the caller may wait for one, it
    /// ends in time and no cutover is under way; else after a later one.
    pub(crate) fn retire<T: Send + 'static>(&self, unpublished: T) {
        #[cfg(hitless_model)]
        if crate::model::fault(crate::model::Fault::NoRetireGrace) {
            // Nothing is dropped that may be in use.
            return self.retired().0.push(Box::new(unpublished));
        }
        match self.synchronize(Some(RETIRE_TIMEOUT)) {
            Ok(()) if !self.gate.is_closed() => drop(unpublished),
            _ => self.retired().0.push(Box::new(unpublished)),
        }
    }

    fn retired(&self) -> MutexGuard<'_, RetiredLater> {
        self.retired.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A grace period after a change of what is attached: waits until nothing runs that does not know of it.
    pub(crate) fn wait_for_change(&self, timeout: Duration) -> Result<(), SyncError> {
        #[cfg(hitless_model)]
        if crate::model::fault(crate::model::Fault::NoAttachGrace) {
            return Ok(());
        }
        self.synchronize(Some(timeout))
    }

    /// With the gate closed, waits until nothing runs.
    pub(crate) fn wait_at_gate(&self, deadline: Duration) -> Result<(), SyncError> {
        #[cfg(hitless_model)]
        if crate::model::fault(crate::model::Fault::NoGate) {
            return Ok(());
        }
        self.synchronize(Some(deadline))
    }

    /// Publishes what later runs latch; returns the snapshot before it, to be freed after a grace period.
    pub(crate) fn publish(&self, snapshot: Snapshot) -> Retired<Snapshot> {
        let before = self.snapshot.swap(Box::into_raw(Box::new(snapshot)), AcqRel);
        // SAFETY: the pointer came from `Box::into_raw`, the swap left it to the caller, who waits for a grace period.
        unsafe { Retired::new(before) }
    }

    /// Has runs that begin from now on keep statistics of programs, until it is undone as often.
    pub(crate) fn keep_time(&self, keep: bool) {
        self.timed.fetch_add(if keep { 1 } else { u32::MAX }, Relaxed);
    }

    /// The gate, which holds up runs that begin.
    pub(crate) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Closes the gate until the guard is dropped. Runs that began before go on; wait for them with `wait_at_gate`.
    pub(crate) fn close_gate(&self) -> GateClosed<'_> {
        self.gate.close(thread_id())
    }
}

/// What could not be dropped yet.
#[derive(Default)]
struct RetiredLater(Vec<Box<dyn Send>>);

impl std::fmt::Debug for RetiredLater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RetiredLater").field(&self.0.len()).finish()
    }
}

/// What a grace period is for; goes back on the list if that does not end in time.
struct Retiring<'a> {
    slots: &'a Slots,
    taken: Vec<Box<dyn Send>>,
}

impl Retiring<'_> {
    fn drop_now(mut self) {
        self.taken.clear();
    }
}

impl Drop for Retiring<'_> {
    fn drop(&mut self) {
        if !self.taken.is_empty() {
            self.slots.retired().0.append(&mut self.taken);
        }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: the word holds a pointer from `Box::into_raw`, and no run can be active in what is being dropped.
        drop(unsafe { Box::from_raw(self.snapshot.get_mut()) });
    }
}

/// Ends the outermost run, also if it panics.
struct Leave<'a> {
    slots: &'a Slots,
    slot: &'a Slot,
    index: u32,
    record: &'a Record,
}

/// The end of a run that has something to flush, or whose handlers leave something until nothing is left.
#[cold]
#[inline(never)]
fn flush_and_leave(run: &Run<'_>, record: &Record) {
    while !run.slot.flush.is_empty() {
        record.enter_stage(Stage::Inside);
        while !run.slot.flush.is_empty() {
            crate::trace::flush(run);
        }
        record.enter_stage(Stage::Leaving);
    }
}

impl Drop for Leave<'_> {
    #[inline]
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What it names may not outlive the run.
            self.slot.flush.clear();
            self.record.enter_stage(Stage::Leaving);
        }
        self.slots.leave(self.record, self.index, self.slot);
        THREAD.with(|thread| thread.current.set(self.record.outer));
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Whoever did the cutover would wait for it, and everybody for the cutover.
    #[test]
    fn nothing_overdue_is_dropped_while_the_gate_is_closed() {
        let slots = Slots::new(0, 4, Box::default());
        let retired = Arc::new(());
        // Who is inside of a run cannot wait for its end.
        slots.run(|_| slots.retire(Arc::clone(&retired))).unwrap();
        let gate = slots.close_gate();
        slots.wait_at_gate(Duration::from_secs(10)).unwrap();
        slots.retire(Arc::clone(&retired));
        assert_eq!(Arc::strong_count(&retired), 3);
        drop(gate);
        slots.synchronize(None).unwrap();
        assert_eq!(Arc::strong_count(&retired), 1);
    }
}

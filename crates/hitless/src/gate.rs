//! The gate: what holds up runs that begin while a cutover swaps programs.
//!
//! A run publishes itself first and looks at the gate second (`run.rs`); one that finds it closed backs out and sleeps here, on
//! a futex, so that the thread that does the cutover gets the processor.

use std::time::{Duration, Instant};

use crate::primitive::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::primitive::relax;
use crate::run::Attention;
use crate::sys;

/// A runtime's gate.
#[derive(Debug)]
pub(crate) struct Gate {
    /// [`OPEN`] or the id of the thread that closed it.
    closed_by: AtomicU32,
    longest_wait_ns: AtomicU64,
    /// Invocations that wait, or have not yet noted how long they did.
    waiting: AtomicU32,
}

const OPEN: u32 = 0;

/// How long the invocations that waited may take to be scheduled again before their waits are left out.
const WAKE_UP_LIMIT: Duration = Duration::from_secs(1);

impl Gate {
    pub(crate) fn new() -> Gate {
        Gate {
            closed_by: AtomicU32::new(OPEN),
            longest_wait_ns: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed_by.load(Relaxed) != OPEN
    }

    /// Closes the gate until the guard is dropped. The thread that closed it may still pass.
    /// Runs that begin find attention raised, and so look.
    pub(crate) fn close<'a>(&'a self, thread: u32, attention: &'a Attention) -> GateClosed<'a> {
        self.longest_wait_ns.store(0, Relaxed);
        self.closed_by.store(thread, SeqCst);
        attention.raise();
        GateClosed {
            gate: self,
            attention,
            since: Instant::now(),
        }
    }

    /// The longest that an invocation has waited since the gate was last closed. Called with the gate open; lets those that
    /// are still waking up note their wait first.
    pub(crate) fn longest_wait(&self) -> Duration {
        let start = Instant::now();
        let mut turn = 0;
        while self.waiting.load(Acquire) > 0 && start.elapsed() < WAKE_UP_LIMIT {
            relax(turn);
            turn += 1;
        }
        Duration::from_nanos(self.longest_wait_ns.load(Relaxed))
    }

    /// Whether a thread may not pass: the gate is closed, and by another thread.
    #[inline]
    pub(crate) fn is_closed_to(&self, thread: impl FnOnce() -> u32) -> bool {
        let closed_by = self.closed_by.load(Acquire);
        closed_by != OPEN && closed_by != thread()
    }

    /// Whether anybody waits at the gate.
    #[cfg(all(test, not(hitless_model)))]
    pub(crate) fn is_waited_at(&self) -> bool {
        self.waiting.load(Acquire) > 0
    }

    /// Sleeps until the gate is open.
    pub(crate) fn wait(&self) {
        let start = Instant::now();
        self.waiting.fetch_add(1, Relaxed);
        loop {
            let closed_by = self.closed_by.load(Acquire);
            if closed_by == OPEN {
                break;
            }
            sys::futex_wait(&self.closed_by, closed_by);
        }
        let waited = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.longest_wait_ns.fetch_max(waited, Relaxed);
        self.waiting.fetch_add(u32::MAX, Release);
    }
}

/// The gate, closed.
pub(crate) struct GateClosed<'a> {
    gate: &'a Gate,
    attention: &'a Attention,
    since: Instant,
}

impl GateClosed<'_> {
    /// How long the gate has been closed.
    pub(crate) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Drop for GateClosed<'_> {
    fn drop(&mut self) {
        self.attention.lower();
        self.gate.closed_by.store(OPEN, SeqCst);
        sys::futex_wake_all(&self.gate.closed_by);
    }
}

//! Grace periods: how others wait until runs have ended, and what they drop then.

use std::time::{Duration, Instant};

use super::Slots;
use crate::primitive::MutexGuard;
use crate::primitive::Ordering::{Acquire, Relaxed, SeqCst};
use crate::primitive::relax;
use crate::sys;

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

/// How long to wait for runs before something is dropped later.
const RETIRE_TIMEOUT: Duration = Duration::from_secs(10);

impl Slots {
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
}

/// What could not be dropped yet.
#[derive(Default)]
pub(super) struct RetiredLater(Vec<Box<dyn Send>>);

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

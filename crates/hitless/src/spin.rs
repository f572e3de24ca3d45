//! `struct bpf_spin_lock`: a 4-byte word in a map value that guards the rest of it.
//!
//! Programs take it with `bpf_spin_lock()` (the verifier sees to it that they call nothing else and do not exit while they
//! hold it), the runtime when it copies a guarded value. The holder may be preempted, so waiting yields the processor. While
//! a slot holds such a lock, programs that use them are not started in signal handlers on it (they could wait for
//! the very lock that the interrupted code holds), and the runtime's own copies there fail as busy.

use std::sync::atomic::AtomicU32;

use crate::map::MapError;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::{relax, schedule_point};
use crate::region::SharedBytes;
use crate::run::Run;

/// The lock word at an address.
fn word<'a>(lock: SharedBytes<'a>) -> &'a AtomicU32 {
    assert!(
        lock.len() == 4 && lock.address().is_multiple_of(4),
        "{lock:?} is no bpf_spin_lock"
    );
    // SAFETY: `SharedBytes` vouches for the memory; aligned, as just checked; only accessed atomically.
    unsafe { &*(lock.address() as *const AtomicU32) }
}

/// Whether the run is one that interrupted code that holds a lock.
pub(crate) fn is_interrupted(run: &Run<'_>) -> bool {
    run.is_nested() && run.slot().spin_locked.load(Relaxed) > 0
}

/// Takes the lock. Fails with [`MapError::Busy`] if the code that this run interrupted holds one, which could be this one; any
/// other holder goes on by itself, since it cannot wait for anything that this thread has.
pub(crate) fn lock(run: &Run<'_>, lock: SharedBytes<'_>) -> Result<(), MapError> {
    let held = &run.slot().spin_locked;
    if is_interrupted(run) {
        return Err(MapError::Busy);
    }
    // Counted first, so that a signal that comes in between finds it.
    held.store(held.load(Relaxed) + 1, Relaxed);
    let mut turn = 0;
    loop {
        schedule_point();
        if word(lock).compare_exchange(0, 1, Acquire, Relaxed).is_ok() {
            return Ok(());
        }
        relax(turn);
        turn += 1;
    }
}

/// Releases the lock.
pub(crate) fn unlock(run: &Run<'_>, lock: SharedBytes<'_>) {
    schedule_point();
    word(lock).store(0, Release);
    let held = &run.slot().spin_locked;
    held.store(held.load(Relaxed).saturating_sub(1), Relaxed);
}

/// Runs `f` with the lock held.
pub(crate) fn with_lock<R>(run: &Run<'_>, at: SharedBytes<'_>, f: impl FnOnce() -> R) -> Result<R, MapError> {
    lock(run, at)?;
    let _held = Held { run, at };
    Ok(f())
}

/// A lock that the runtime holds, until dropped.
struct Held<'a> {
    run: &'a Run<'a>,
    at: SharedBytes<'a>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        unlock(self.run, self.at);
    }
}

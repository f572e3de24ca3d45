//! Locks of one word that names the slot that holds it: of a hash map's buckets, and the stripes of map tracing.
//!
//! A signal handler that interrupted the very holder fails instead of waiting for it. One that finds another holder only
//! tries for a while: that thread may in turn wait for something that the interrupted code holds.

use crate::map::MapError;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::AtomicU32;
use crate::primitive::relax;
use crate::run::Run;

/// How often a nested run looks for a lock that another thread holds.
const NESTED_TRIES: u32 = 64;

/// Takes the lock in `word`, which is 0 if it is free.
#[inline]
pub(crate) fn lock<'a>(run: &Run<'_>, word: &'a AtomicU32) -> Result<OwnerGuard<'a>, MapError> {
    match word.compare_exchange(0, run.index() + 1, Acquire, Relaxed) {
        Ok(_) => Ok(OwnerGuard { word }),
        Err(_) => lock_later(run, word),
    }
}

#[cold]
fn lock_later<'a>(run: &Run<'_>, word: &'a AtomicU32) -> Result<OwnerGuard<'a>, MapError> {
    let me = run.index() + 1;
    let mut turn = 0;
    loop {
        match word.compare_exchange(0, me, Acquire, Relaxed) {
            Ok(_) => return Ok(OwnerGuard { word }),
            Err(owner) if owner == me || (run.is_nested() && turn >= NESTED_TRIES) => return Err(MapError::Busy),
            Err(_) => relax(turn),
        }
        turn += 1;
    }
}

/// A lock, held.
pub(crate) struct OwnerGuard<'a> {
    word: &'a AtomicU32,
}

impl Drop for OwnerGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.word.store(0, Release);
    }
}

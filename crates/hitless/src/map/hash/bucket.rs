//! The word at the start of a bucket: who writes it, its version, and what else one store is to publish.
//!
//! ```text
//! 63..32  version, which changes when a slot of the bucket, or an element, may be used again
//! 31..16  the slot of the run that writes, plus one; 0 if nobody does
//! 15..0   the layout's own
//! ```
//!
//! A writer takes the bucket by one compare-and-swap; the store that publishes what it has done releases it. A signal handler
//! that finds its own slot there interrupted the writer, and fails as busy; one that finds another only tries for a while.

use crate::map::MapError;
use crate::primitive::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::primitive::atomic::AtomicU64;
use crate::primitive::relax;
use crate::run::Run;

const OWNER: u64 = 0xffff << 16;
const VERSION: u64 = 1 << 32;
/// The bits that are the layout's own.
pub(super) const OWN: u64 = 0xffff;
/// Slots have numbers below this.
pub(super) const MAX_SLOTS: usize = 0xffff;

/// How often a nested run looks for a bucket that another thread holds.
const NESTED_TRIES: u32 = 64;

/// The word, as it was read, without its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Meta(u64);

impl Meta {
    #[inline]
    pub(super) fn load(word: &AtomicU64) -> Meta {
        Meta(word.load(Acquire) & !OWNER)
    }

    /// The layout's own bits.
    #[inline]
    pub(super) fn own(self) -> u64 {
        self.0 & OWN
    }

    /// The same with other bits of the layout's own.
    #[inline]
    pub(super) fn with(self, own: u64) -> Meta {
        Meta(self.0 & !OWN | own)
    }

    /// The next version.
    #[inline]
    pub(super) fn next_version(self) -> Meta {
        Meta(self.0.wrapping_add(VERSION))
    }

    /// Whether the version is still the same.
    #[inline]
    pub(super) fn has_version_of(self, other: Meta) -> bool {
        self.0 >> 32 == other.0 >> 32
    }
}

/// What a try for a bucket came to.
pub(super) enum Tried {
    Locked(Meta),
    /// This thread has it: the run interrupted the writer.
    Own,
    Other,
}

/// Takes a bucket if its word is what was read: then what the version vouches for is as it was, and need not be read again.
#[inline(always)]
pub(super) fn try_lock_seen(run: &Run<'_>, word: &AtomicU64, seen: Meta) -> bool {
    let me = u64::from(run.index() + 1) << 16;
    word.compare_exchange(seen.0, seen.0 | me, Acquire, Relaxed).is_ok()
}

/// Takes a bucket, as [`try_lock_seen`] does, publishes another word, and lets go of it, all at once.
#[inline(always)]
pub(super) fn try_publish_seen(word: &AtomicU64, seen: Meta, meta: Meta) -> bool {
    word.compare_exchange(seen.0, meta.0, AcqRel, Relaxed).is_ok()
}

/// Tries for a bucket once.
#[inline]
pub(super) fn try_lock(run: &Run<'_>, word: &AtomicU64) -> Tried {
    let me = u64::from(run.index() + 1) << 16;
    let now = word.load(Relaxed);
    if now & OWNER == 0 && word.compare_exchange(now, now | me, Acquire, Relaxed).is_ok() {
        return Tried::Locked(Meta(now));
    }
    if now & OWNER == me { Tried::Own } else { Tried::Other }
}

/// Takes a bucket. The word keeps its value, but for the owner, until it is published.
#[inline]
pub(super) fn lock(run: &Run<'_>, word: &AtomicU64) -> Result<Meta, MapError> {
    match try_lock(run, word) {
        Tried::Locked(meta) => Ok(meta),
        _ => lock_later(run, word),
    }
}

#[cold]
fn lock_later(run: &Run<'_>, word: &AtomicU64) -> Result<Meta, MapError> {
    let mut turn = 0;
    loop {
        match try_lock(run, word) {
            Tried::Locked(meta) => return Ok(meta),
            Tried::Own => return Err(MapError::Busy),
            Tried::Other if run.is_nested() && turn >= NESTED_TRIES => return Err(MapError::Busy),
            Tried::Other => relax(turn),
        }
        turn += 1;
    }
}

/// Lets go of a bucket that a process held that is gone; false if it was not held.
pub(super) fn release(word: &AtomicU64) -> bool {
    let held = word.load(Relaxed);
    word.store(held & !OWNER, Relaxed);
    held & OWNER != 0
}

/// Publishes a bucket's word, and lets go of the bucket.
#[inline]
pub(super) fn publish(word: &AtomicU64, meta: Meta) {
    word.store(meta.0, Release);
}

/// Publishes a bucket's word, but keeps the bucket.
#[inline]
pub(super) fn publish_locked(run: &Run<'_>, word: &AtomicU64, meta: Meta) {
    word.store(meta.0 | u64::from(run.index() + 1) << 16, Release);
}

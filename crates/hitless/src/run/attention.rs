//! One word that tells a run that begins whether there is anything to look at but its lease.
//!
//! The reasons are rare: the gate is closed, threads wait for slots, statistics are kept, there is no `membarrier(2)`. Whoever has
//! one writes down what it is first and raises attention second, so that who finds none raised may take it that there is no
//! reason. What is found raised need not be: who looks closer looks at the reasons themselves.

use crate::primitive::Ordering::{Acquire, SeqCst};
use crate::primitive::atomic::AtomicU32;

/// How many reasons there are.
#[derive(Debug)]
pub(crate) struct Attention(AtomicU32);

impl Attention {
    /// With one reason that never goes away, or with none.
    pub(crate) fn new(always: bool) -> Attention {
        Attention(AtomicU32::new(always.into()))
    }

    /// There is one more reason.
    pub(crate) fn raise(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    /// There is one less.
    pub(crate) fn lower(&self) {
        self.0.fetch_add(u32::MAX, SeqCst);
    }

    /// Whether there is any. Acquire: a run that finds none comes behind whatever a reason that is gone was for.
    #[inline]
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Acquire) != 0
    }
}

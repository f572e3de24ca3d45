//! Buffers that code in a run may use without allocating: one for each slot.

use std::cell::UnsafeCell;

use crate::primitive::Ordering::{Acquire, Release};
use crate::primitive::Padded;
use crate::primitive::atomic::AtomicU32;
use crate::run::Run;

/// A buffer of a fixed length for each slot.
pub(crate) struct Scratch {
    buffers: Box<[Padded<Buffer>]>,
}

struct Buffer {
    taken: AtomicU32,
    bytes: UnsafeCell<Box<[u8]>>,
}

// SAFETY: the bytes are reached only by whoever has set `taken`.
unsafe impl Sync for Buffer {}

impl Scratch {
    /// Buffers of `len` bytes for `slots` slots.
    pub(crate) fn new(slots: usize, len: usize) -> Scratch {
        let buffer = || Buffer {
            taken: AtomicU32::new(0),
            bytes: UnsafeCell::new(vec![0; len].into_boxed_slice()),
        };
        Scratch {
            buffers: (0..slots).map(|_| Padded(buffer())).collect(),
        }
    }

    /// Lends the run's buffer to `f`; `None` if this run interrupted the code that uses it.
    pub(crate) fn with<R>(&self, run: &Run<'_>, f: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
        let buffer = &self.buffers[run.index() as usize].0;
        if buffer.taken.swap(1, Acquire) != 0 {
            return None;
        }
        let _lent = Lent { taken: &buffer.taken };
        // SAFETY: the swap made this call the only user of the bytes until `taken` is cleared.
        Some(f(unsafe { &mut *buffer.bytes.get() }))
    }
}

/// A buffer in use, until dropped.
struct Lent<'a> {
    taken: &'a AtomicU32,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.taken.store(0, Release);
    }
}

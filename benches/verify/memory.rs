//! How much memory a call has in use at the most.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts the bytes that the process has allocated. One thread at a time does, so the counts are exact.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn add(len: usize) {
    let in_use = IN_USE.load(Relaxed) + len;
    IN_USE.store(in_use, Relaxed);
    if in_use > PEAK.load(Relaxed) {
        PEAK.store(in_use, Relaxed);
    }
}

fn sub(len: usize) {
    IN_USE.store(IN_USE.load(Relaxed).wrapping_sub(len), Relaxed);
}

// SAFETY: everything is left to `System`, whose contract is the same; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the contract of `GlobalAlloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        sub(layout.size());
        // SAFETY: as in `alloc`; `memory` came from `System`, since everything does.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        // While bytes are moved both are in use.
        add(len);
        sub(layout.size());
        // SAFETY: as in `dealloc`.
        unsafe { System.realloc(memory, layout, len) }
    }
}

/// The most bytes that `work` had in use at once beyond those before it.
pub fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = IN_USE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = work();
    (PEAK.load(Relaxed) - before, result)
}

//! The one place where concurrency primitives come from.
//!
//! In an ordinary build these are the standard library's. Built with `--cfg hitless_model`, every atomic operation is a
//! scheduling point of the shuttle model checker, locks and threads are shuttle's, and waiting yields to its scheduler, so
//! that the model test runs the runtime's own code under chosen interleavings. Shuttle explores sequentially
//! consistent interleavings; memory orderings are argued where they are used.

#[cfg(not(hitless_model))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard},
    thread_local,
};

#[cfg(hitless_model)]
pub(crate) use shuttle::{
    sync::{Mutex, MutexGuard},
    thread_local,
};

pub(crate) use std::sync::atomic::Ordering;

/// A value on cache lines of its own (two, since processors fetch them in pairs), for what each slot writes.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// Something that was unpublished, and that runs may still be reading: dropping it frees it, which whoever holds it does a
/// grace period later. It is no `Box`, which would claim to be the only way to what it points to.
pub(crate) struct Retired<T>(*mut T);

// SAFETY: it stands for an owned `T`.
unsafe impl<T: Send> Send for Retired<T> {}

impl<T> Retired<T> {
    /// # Safety
    /// `pointer` came from `Box::into_raw`, nobody else will free it, and nobody reads it any more when this is dropped.
    pub(crate) unsafe fn new(pointer: *mut T) -> Retired<T> {
        Retired(pointer)
    }
}

impl<T> Drop for Retired<T> {
    fn drop(&mut self) {
        // SAFETY: `new`'s caller vouches for it.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// A point where the model checker may run another thread; nothing in an ordinary build.
#[inline(always)]
pub(crate) fn schedule_point() {
    // Shuttle's `sleep` is a bare switch; its `yield_now` would tell the scheduler that this thread waits for others.
    #[cfg(hitless_model)]
    shuttle::thread::sleep(std::time::Duration::ZERO);
}

/// Lets another thread run.
pub(crate) fn yield_now() {
    #[cfg(hitless_model)]
    shuttle::thread::yield_now();
    #[cfg(not(hitless_model))]
    std::thread::yield_now();
}

/// Waits a moment: called in every loop that waits for another thread, with the number of turns so far.
#[inline]
pub(crate) fn relax(turn: u32) {
    #[cfg(hitless_model)]
    {
        let _ = turn;
        yield_now();
    }
    #[cfg(not(hitless_model))]
    match turn {
        0..64 => std::hint::spin_loop(),
        64..1024 => yield_now(),
        _ => std::thread::sleep(std::time::Duration::from_micros(50)),
    }
}

/// Atomic words: the standard library's, with a scheduling point before each operation.
pub(crate) mod atomic {
    use super::{Ordering, schedule_point};

    /// A 32-bit word.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub(crate) struct AtomicU32(std::sync::atomic::AtomicU32);

    impl AtomicU32 {
        pub(crate) const fn new(value: u32) -> AtomicU32 {
            AtomicU32(std::sync::atomic::AtomicU32::new(value))
        }

        #[inline]
        pub(crate) fn load(&self, order: Ordering) -> u32 {
            schedule_point();
            self.0.load(order)
        }

        #[inline]
        pub(crate) fn store(&self, value: u32, order: Ordering) {
            schedule_point();
            self.0.store(value, order);
        }

        #[inline]
        pub(crate) fn swap(&self, value: u32, order: Ordering) -> u32 {
            schedule_point();
            self.0.swap(value, order)
        }

        #[inline]
        pub(crate) fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
            schedule_point();
            self.0.fetch_add(value, order)
        }

        #[inline]
        pub(crate) fn fetch_max(&self, value: u32, order: Ordering) -> u32 {
            schedule_point();
            self.0.fetch_max(value, order)
        }

        #[inline]
        pub(crate) fn compare_exchange(&self, old: u32, new: u32, ok: Ordering, no: Ordering) -> Result<u32, u32> {
            schedule_point();
            self.0.compare_exchange(old, new, ok, no)
        }

        /// The word itself, for a futex.
        #[cfg(not(hitless_model))]
        pub(crate) fn raw(&self) -> &std::sync::atomic::AtomicU32 {
            &self.0
        }
    }

    /// A 64-bit word.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub(crate) struct AtomicU64(std::sync::atomic::AtomicU64);

    impl AtomicU64 {
        pub(crate) const fn new(value: u64) -> AtomicU64 {
            AtomicU64(std::sync::atomic::AtomicU64::new(value))
        }

        #[inline]
        pub(crate) fn load(&self, order: Ordering) -> u64 {
            schedule_point();
            self.0.load(order)
        }

        #[inline]
        pub(crate) fn store(&self, value: u64, order: Ordering) {
            schedule_point();
            self.0.store(value, order);
        }

        #[inline]
        pub(crate) fn swap(&self, value: u64, order: Ordering) -> u64 {
            schedule_point();
            self.0.swap(value, order)
        }

        #[inline]
        pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
            schedule_point();
            self.0.fetch_add(value, order)
        }

        #[inline]
        pub(crate) fn fetch_or(&self, value: u64, order: Ordering) -> u64 {
            schedule_point();
            self.0.fetch_or(value, order)
        }

        #[inline]
        pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
            schedule_point();
            self.0.fetch_max(value, order)
        }

        #[inline]
        pub(crate) fn compare_exchange(&self, old: u64, new: u64, ok: Ordering, no: Ordering) -> Result<u64, u64> {
            schedule_point();
            self.0.compare_exchange(old, new, ok, no)
        }
    }

    /// A pointer.
    #[derive(Debug)]
    #[repr(transparent)]
    pub(crate) struct AtomicPtr<T>(std::sync::atomic::AtomicPtr<T>);

    impl<T> AtomicPtr<T> {
        pub(crate) const fn new(value: *mut T) -> AtomicPtr<T> {
            AtomicPtr(std::sync::atomic::AtomicPtr::new(value))
        }

        #[inline]
        pub(crate) fn load(&self, order: Ordering) -> *mut T {
            schedule_point();
            self.0.load(order)
        }

        #[inline]
        pub(crate) fn store(&self, value: *mut T, order: Ordering) {
            schedule_point();
            self.0.store(value, order);
        }

        #[inline]
        pub(crate) fn swap(&self, value: *mut T, order: Ordering) -> *mut T {
            schedule_point();
            self.0.swap(value, order)
        }

        #[inline]
        pub(crate) fn compare_exchange(
            &self,
            old: *mut T,
            new: *mut T,
            ok: Ordering,
            no: Ordering,
        ) -> Result<*mut T, *mut T> {
            schedule_point();
            self.0.compare_exchange(old, new, ok, no)
        }

        pub(crate) fn get_mut(&mut self) -> *mut T {
            *self.0.get_mut()
        }
    }
}

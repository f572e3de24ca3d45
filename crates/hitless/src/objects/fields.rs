//! The fields of a map value, or of an object, that refer to objects: pointers, lists and trees.
//!
//! Nobody but helpers and kernel functions writes them: copies leave them alone ([`Fields::write`]), and the host reads zeros there.
//! When an element is replaced or deleted, or an object is gone, what they refer to is let go of, exactly once: a pointer is
//! exchanged for NULL, a list or tree is emptied with its lock held.

use std::sync::atomic::Ordering::AcqRel;

use super::tree::Tree;
use super::{Heap, Released, list, word};
use crate::map::MapError;
use crate::region::SharedBytes;
use crate::run::Run;
use crate::spin;

/// The fields of values of a type.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// Pointers that are references.
    pub(super) pointers: Vec<u32>,
    /// Pointers that are none.
    pub(super) loose: Vec<u32>,
    pub(super) lists: Vec<u32>,
    pub(super) trees: Vec<u32>,
    pub(super) lock: Option<u32>,
    /// All of them, and the lock: where, and how many bytes; in order.
    pub(super) kept: Vec<(usize, usize)>,
}

impl Fields {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        let all = [&self.pointers, &self.loose, &self.lists, &self.trees];
        all.into_iter().all(Vec::is_empty)
    }

    /// Whether some of the bytes are a field's.
    pub(crate) fn touches(&self, off: usize, len: usize) -> bool {
        self.kept.iter().any(|(at, size)| off < at + size && *at < off + len)
    }

    /// Overwrites a value with another one, but for the fields and the lock.
    ///
    /// # Safety
    /// `to` is writable, and both are values of the type.
    pub(crate) unsafe fn write(&self, to: SharedBytes<'_>, from: SharedBytes<'_>) {
        let mut done = 0;
        for &(at, size) in &self.kept {
            // SAFETY: as for this function.
            unsafe { to.part(done, at - done).write(from.part(done, at - done)) };
            done = at + size;
        }
        // SAFETY: as for this function.
        unsafe {
            to.part(done, to.len() - done).write(from.part(done, to.len() - done));
        }
    }

    /// Overwrites a value with zeros, but for the fields and the lock.
    ///
    /// # Safety
    /// As for [`write`](Self::write).
    pub(crate) unsafe fn wipe(&self, to: SharedBytes<'_>) {
        let mut done = 0;
        for &(at, size) in &self.kept {
            // SAFETY: as for this function.
            unsafe { to.part(done, at - done).clear() };
            done = at + size;
        }
        // SAFETY: as for this function.
        unsafe { to.part(done, to.len() - done).clear() };
    }

    /// Clears what the host is shown of the fields and the lock.
    pub(crate) fn hide(&self, value: &mut [u8]) {
        for &(at, size) in &self.kept {
            value[at..at + size].fill(0);
        }
    }

    /// Fails where [`clear`](Self::clear) would: in a run that interrupted one that holds a spin lock, which may be that of a list.
    pub(crate) fn check_clear(&self, run: &Run<'_>) -> Result<(), MapError> {
        if self.has_graph() && spin::is_interrupted(run) {
            return Err(MapError::Busy);
        }
        Ok(())
    }

    /// Whether there are lists or trees.
    pub(crate) fn has_graph(&self) -> bool {
        !self.lists.is_empty() || !self.trees.is_empty()
    }

    /// Lets go of what a value in a map refers to. Where [`check_clear`](Self::check_clear) fails, lists and trees stay.
    pub(crate) fn clear(&self, run: &Run<'_>, heap: &Heap, value: SharedBytes<'_>) {
        let mut released = Released::new(heap);
        // SAFETY: a value in a map has these fields, by the type that it was made with; references in them are its own.
        unsafe { self.clear_pointers(value.address(), &mut released) };
        if let (true, Some(lock)) = (self.has_graph(), self.lock) {
            let clear = || {
                // SAFETY: as above, and the lock is held.
                unsafe { self.clear_graph(value.address(), &mut released) };
            };
            let _ = spin::with_lock(run, value.part(lock as usize, 4), clear);
        }
    }

    /// The same, of a value that nobody else can reach: of a map that is gone.
    pub(crate) fn clear_last(&self, heap: &Heap, value: SharedBytes<'_>) {
        let mut released = Released::new(heap);
        // SAFETY: as in `clear`; nobody else has it.
        unsafe { self.clear_unlocked(value.address(), &mut released) };
    }

    /// The same, of an object without references.
    ///
    /// # Safety
    /// There is a value of the type, which nobody else can reach.
    pub(super) unsafe fn clear_unlocked(&self, value: u64, released: &mut Released<'_>) {
        // SAFETY: as for this function.
        unsafe {
            self.clear_pointers(value, released);
            self.clear_graph(value, released);
        }
    }

    /// # Safety
    /// There is a value of the type.
    unsafe fn clear_pointers(&self, value: u64, released: &mut Released<'_>) {
        for off in &self.loose {
            // SAFETY: as for this function.
            unsafe { word(value + u64::from(*off)) }.swap(0, AcqRel);
        }
        for off in &self.pointers {
            // SAFETY: as for this function; what is there is a reference, which the exchange makes this one's.
            unsafe {
                let object = word(value + u64::from(*off)).swap(0, AcqRel);
                if object != 0 {
                    released.add(object);
                }
            }
        }
    }

    /// # Safety
    /// There is a value of the type, whose lock is held, or which nobody else can reach.
    unsafe fn clear_graph(&self, value: u64, released: &mut Released<'_>) {
        for off in &self.lists {
            // SAFETY: as for this function.
            unsafe { list::release(list::detach(value + u64::from(*off)), released) };
        }
        for off in &self.trees {
            // SAFETY: as for this function.
            unsafe { Tree::at(value + u64::from(*off)) }.clear(released);
        }
    }
}

//! Tables of what maps refer to: programs and maps, each of them kept alive by its entry.
//!
//! Programs read an entry with one load, inside a run. What an entry held before is given back to whoever changed it, and is
//! to be dropped a grace period later.

use std::ptr;
use std::sync::Arc;

use crate::primitive::Ordering::{AcqRel, Acquire};
use crate::primitive::atomic::AtomicPtr;
use crate::run::Run;

/// Entries that each refer to a `T`, or to nothing.
pub(crate) struct References<T> {
    entries: Box<[AtomicPtr<T>]>,
}

impl<T> References<T> {
    pub(super) fn new(len: usize) -> References<T> {
        References {
            entries: (0..len).map(|_| AtomicPtr::new(ptr::null_mut())).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Where the entry at an index points, null if there is none: for compiled code.
    #[inline]
    pub(super) fn address(&self, index: usize) -> *const T {
        match self.entries.get(index) {
            Some(entry) => entry.load(Acquire),
            None => ptr::null(),
        }
    }

    /// What the entry at an index refers to.
    ///
    /// # Safety
    /// The caller is in a run, and uses it no longer; or it is who changes the table.
    #[inline]
    pub(super) unsafe fn get(&self, index: usize) -> Option<&T> {
        // SAFETY: every pointer in the table came from `Arc::into_raw`, and its reference is dropped a grace period after it
        // was replaced.
        unsafe { self.address(index).as_ref() }
    }

    /// Whether any entry refers to something like this.
    pub(super) fn any(&self, _run: &Run<'_>, mut is_it: impl FnMut(&T) -> bool) -> bool {
        // SAFETY: this is in a run, and what is found is not used for longer.
        (0..self.len()).any(|index| unsafe { self.get(index) }.is_some_and(&mut is_it))
    }

    /// Like [`References::get`], with a reference of its own.
    ///
    /// # Safety
    /// As for [`References::get`].
    pub(super) unsafe fn get_arc(&self, index: usize) -> Option<Arc<T>> {
        let pointer = self.address(index);
        if pointer.is_null() {
            return None;
        }
        // SAFETY: it came from `Arc::into_raw`, and its reference is still counted by the caller's word.
        unsafe {
            Arc::increment_strong_count(pointer);
            Some(Arc::from_raw(pointer))
        }
    }

    /// Changes an entry, which is there; what it referred to before is to be dropped a grace period later.
    #[must_use = "it is to be dropped a grace period later"]
    pub(super) fn replace(&self, index: usize, new: Option<Arc<T>>) -> Option<Arc<T>> {
        let new = new.map_or(ptr::null(), Arc::into_raw).cast_mut();
        let old = self.entries[index].swap(new, AcqRel);
        // SAFETY: the pointer came from `Arc::into_raw`, and its reference was the table's, which has given it up.
        (!old.is_null()).then(|| unsafe { Arc::from_raw(old) })
    }

    /// Empties all entries.
    #[must_use = "they are to be dropped a grace period later"]
    pub(super) fn clear(&self) -> Vec<Arc<T>> {
        (0..self.len()).filter_map(|index| self.replace(index, None)).collect()
    }
}

impl<T> Drop for References<T> {
    fn drop(&mut self) {
        drop(self.clear());
    }
}

impl<T> std::fmt::Debug for References<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("References").field("len", &self.len()).finish()
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_what_they_refer_to() {
        let value = Arc::new(7);
        let table = References::new(2);
        assert_eq!(table.replace(1, Some(Arc::clone(&value))), None);
        assert_eq!(Arc::strong_count(&value), 2);
        // SAFETY: nobody else changes the table.
        let (found, none) = unsafe { (table.get_arc(1), table.get(2)) };
        assert_eq!((found.as_deref(), none), (Some(&7), None));
        assert_eq!(table.replace(1, None), Some(found.expect("it was there")));
        assert_eq!(Arc::strong_count(&value), 1);
        assert_eq!(table.replace(0, Some(Arc::clone(&value))), None);
        drop(table);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}

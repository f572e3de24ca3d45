//! A cell for each slot, which its owner uses without atomic read-modify-write operations, and which others can take away.
//!
//! The owner marks its cell busy with a plain store and then looks whether somebody has revoked it; whoever revokes a cell
//! says so, executes `membarrier(2)`, and then waits until the cell is not busy. The barrier completes the owner's side: either
//! the owner sees the revocation, or the other one sees it busy (as with the epochs of runs, see `run.rs`). The owner pays two
//! stores and a load; revoking costs microseconds, and is rare.
//!
//! A signal handler that interrupts the owner while the cell is busy gets nothing.

use std::ops::Deref;

use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::primitive::atomic::AtomicU32;
use crate::primitive::{Padded, relax};
use crate::run::Run;
use crate::sys;

/// How often a nested run looks at a cell that another thread uses.
const NESTED_TRIES: u32 = 64;

/// The cells.
#[derive(Debug)]
pub(super) struct Cells<T> {
    cells: Box<[Padded<Cell<T>>]>,
}

#[derive(Debug, Default)]
struct Cell<T> {
    busy: AtomicU32,
    /// 1 while somebody else has the cell, or is about to.
    revoked: AtomicU32,
    content: T,
}

/// A cell in use, until dropped.
pub(super) struct Used<'a, T> {
    word: &'a AtomicU32,
    content: &'a T,
}

impl<T> Deref for Used<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.content
    }
}

impl<T> Drop for Used<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.word.store(0, Release);
    }
}

impl<T: Default> Cells<T> {
    pub(super) fn new(slots: usize) -> Cells<T> {
        Cells {
            cells: (0..slots).map(|_| Padded::default()).collect(),
        }
    }
}

impl<T> Cells<T> {
    /// The cell of the run's slot, if it can be had at once.
    #[inline(always)]
    pub(super) fn own_now(&self, run: &Run<'_>) -> Option<Used<'_, T>> {
        let cell = &self.cells[run.index() as usize].0;
        if cell.busy.load(Relaxed) != 0 {
            return None;
        }
        cell.busy.store(1, Relaxed);
        sys::light_barrier();
        let used = Used {
            word: &cell.busy,
            content: &cell.content,
        };
        (cell.revoked.load(Acquire) == 0).then_some(used)
    }

    /// The cell of the run's slot; `None` if the run interrupted its use, or waits in vain for who has revoked it.
    #[inline]
    pub(super) fn own(&self, run: &Run<'_>) -> Option<Used<'_, T>> {
        let cell = &self.cells[run.index() as usize].0;
        if cell.busy.load(Relaxed) != 0 {
            return None;
        }
        self.own_now(run).or_else(|| self.own_later(run, cell))
    }

    #[cold]
    fn own_later<'a>(&'a self, run: &Run<'_>, cell: &'a Cell<T>) -> Option<Used<'a, T>> {
        let mut turn = 0;
        loop {
            cell.busy.store(0, Release);
            if run.is_nested() && turn >= NESTED_TRIES {
                return None;
            }
            relax(turn);
            turn += 1;
            cell.busy.store(1, Relaxed);
            sys::light_barrier();
            if cell.revoked.load(Acquire) == 0 {
                return Some(Used {
                    word: &cell.busy,
                    content: &cell.content,
                });
            }
        }
    }

    /// Looks at the cells of other slots, without taking them.
    pub(super) fn others<'a>(&'a self, run: &Run<'_>) -> impl Iterator<Item = (usize, &'a T)> {
        let (own, count) = (run.index() as usize, self.cells.len());
        let others = (1..count).map(move |i| (own + i) % count);
        others.map(|index| (index, &self.cells[index].0.content))
    }

    /// Waits until each of the other cells has been seen unused: what was on its way into one, or from a common store, has
    /// arrived. False in a nested run that would have to wait long.
    pub(super) fn settle(&self, run: &Run<'_>) -> bool {
        let mut turn = 0;
        for cell in &self.cells {
            while cell.0.busy.load(Acquire) != 0 && !std::ptr::eq(cell, &self.cells[run.index() as usize]) {
                if run.is_nested() && turn >= NESTED_TRIES {
                    return false;
                }
                relax(turn);
                turn += 1;
            }
        }
        true
    }

    /// All cells, for whoever knows that nobody uses them, or who only counts.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.cells.iter().map(|cell| &cell.0.content)
    }

    /// Takes the cell of another slot away, until the guard is dropped; `None` if somebody else does, or, in a nested run, if its
    /// owner does not let go.
    pub(super) fn revoke(&self, run: &Run<'_>, index: usize) -> Option<Used<'_, T>> {
        let cell = &self.cells[index].0;
        cell.revoked.compare_exchange(0, 1, Acquire, Relaxed).ok()?;
        let revoked = Used {
            word: &cell.revoked,
            content: &cell.content,
        };
        sys::heavy_barrier();
        let mut turn = 0;
        while cell.busy.load(Acquire) != 0 {
            if run.is_nested() && turn >= NESTED_TRIES {
                return None;
            }
            relax(turn);
            turn += 1;
        }
        Some(revoked)
    }
}

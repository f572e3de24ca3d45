//! What runs have written through pointers, until it is traced.
//!
//! A run keeps a list in its slot. If that is full, what it writes is marked in a bitmap of the map instead, which all runs
//! share; whoever ends a run that has marked something traces whatever is marked in any map, and waits for others who are doing so,
//! since they may have taken its marks.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::fence;

use super::{Cell, Event, TraceState};
use crate::map::{Elem, Map, UpdateFlags};
use crate::primitive::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::primitive::atomic::{AtomicPtr, AtomicU32, AtomicU64};
use crate::primitive::relax;
use crate::run::Run;

/// How many values a run keeps in its own list before it falls back to the maps' bitmaps.
const CAPACITY: usize = if cfg!(hitless_model) { 2 } else { 32 };
/// In place of a value: none, the entry is empty or being filled.
const UNSET: u64 = u64::MAX;
/// In place of a value: none, the entry is being emptied.
const TAKEN: u64 = u64::MAX - 1;

impl Cell {
    fn to_word(self) -> u64 {
        u64::from(self.slot) << 32 | u64::from(self.elem.0)
    }

    fn from_word(word: u64) -> Cell {
        Cell {
            elem: Elem(word as u32),
            slot: (word >> 32) as u32,
        }
    }
}

/// The values that the runs of a slot have written through pointers.
///
/// Only the slot's owner touches it, and signal handlers that interrupt it, which push and do not flush. So each step leaves
/// the list valid for a handler, and expects that one has run: an entry is claimed by its map, and only a claimed entry
/// gets a value.
#[derive(Debug)]
pub(crate) struct FlushList {
    /// Entries at and above this index are empty. Not 0 if something is marked in bitmaps.
    high: AtomicU32,
    /// 1 if something is marked in bitmaps, too.
    overflowed: AtomicU32,
    entries: [FlushEntry; CAPACITY],
}

#[derive(Debug)]
struct FlushEntry {
    map: AtomicPtr<Map>,
    cell: AtomicU64,
}

impl FlushEntry {
    fn new() -> FlushEntry {
        FlushEntry {
            map: AtomicPtr::new(ptr::null_mut()),
            cell: AtomicU64::new(UNSET),
        }
    }

    /// Puts a value in, if the entry is empty.
    fn fill(&self, map: *mut Map, word: u64) -> bool {
        if self.cell.load(Relaxed) != UNSET {
            return false;
        }
        let claimed = self.map.compare_exchange(ptr::null_mut(), map, Relaxed, Relaxed);
        if claimed.is_ok() {
            self.cell.store(word, Relaxed);
        }
        claimed.is_ok()
    }

    fn take(&self) -> Option<(*mut Map, Cell)> {
        let word = self.cell.load(Relaxed);
        if word == UNSET {
            return None;
        }
        let map = self.map.load(Relaxed);
        self.cell.store(TAKEN, Relaxed);
        self.map.store(ptr::null_mut(), Relaxed);
        self.cell.store(UNSET, Relaxed);
        Some((map, Cell::from_word(word)))
    }
}

impl FlushList {
    pub(crate) fn new() -> FlushList {
        FlushList {
            high: AtomicU32::new(0),
            overflowed: AtomicU32::new(0),
            entries: std::array::from_fn(|_| FlushEntry::new()),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.high.load(Relaxed) == 0
    }

    /// Registers a value that has been written.
    ///
    /// # Safety
    /// `map` is one of those that the slot's outermost run has latched as traced.
    pub(crate) unsafe fn push(&self, map: &Map, trace: &TraceState, cell: Cell) {
        let (this, word) = (ptr::from_ref(map).cast_mut(), cell.to_word());
        let mut known = self.entries[..self.high.load(Relaxed) as usize].iter();
        if known.any(|entry| entry.cell.load(Relaxed) == word && entry.map.load(Relaxed) == this) {
            return;
        }
        match self.entries.iter().position(|entry| entry.fill(this, word)) {
            Some(index) => {
                self.high.fetch_max(index as u32 + 1, Relaxed);
            }
            None => {
                #[cfg(hitless_model)]
                if crate::model::fault(crate::model::Fault::NoBitmap) {
                    return;
                }
                trace.dirty.mark(cell);
                self.overflowed.store(1, Relaxed);
                self.high.fetch_max(1, Relaxed);
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.high.store(0, Relaxed);
        self.overflowed.store(0, Relaxed);
        for entry in &self.entries {
            entry.take();
        }
    }
}

/// The values of a map that are marked: a bit for each.
#[derive(Debug)]
pub(super) struct Dirty {
    elements: u32,
    words: Box<[AtomicU64]>,
    /// How many runs are taking marks, and tracing what was marked.
    taking: AtomicU32,
}

impl Dirty {
    pub(super) fn new(elements: u32, values: u32) -> Dirty {
        let bits = u64::from(elements) * u64::from(values);
        Dirty {
            elements,
            words: (0..bits.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            taking: AtomicU32::new(0),
        }
    }

    fn mark(&self, cell: Cell) {
        let bit = u64::from(cell.slot) * u64::from(self.elements) + u64::from(cell.elem.0);
        self.words[(bit / 64) as usize].fetch_or(1 << (bit % 64), Release);
    }

    /// Takes every mark. When it returns, `trace` has returned for each mark that was there before, here or in another run.
    fn take_all(&self, mut trace: impl FnMut(Cell)) {
        self.taking.fetch_add(1, AcqRel);
        for (index, word) in self.words.iter().enumerate() {
            let mut bits = match word.load(Relaxed) {
                0 => 0,
                _ => word.swap(0, AcqRel),
            };
            while bits != 0 {
                let bit = index as u64 * 64 + u64::from(bits.trailing_zeros());
                let elements = u64::from(self.elements);
                trace(Cell {
                    elem: Elem((bit % elements) as u32),
                    slot: (bit / elements) as u32,
                });
                bits &= bits - 1;
            }
        }
        self.taking.fetch_add(u32::MAX, AcqRel);
        #[cfg(hitless_model)]
        if crate::model::fault(crate::model::Fault::NoBitmapWait) {
            return;
        }
        // They wait for nothing that the caller has: it is at its end, and holds no lock.
        let mut turn = 0;
        while self.taking.load(Acquire) > 0 {
            relax(turn);
            turn += 1;
        }
    }
}

/// Runs the tracers for everything that is registered, until nothing is left (tracers may register more).
pub(crate) fn flush(run: &Run<'_>) {
    let list = &run.slot().flush;
    // See `StripeGuard::run_tracers`.
    fence(SeqCst);
    while !list.is_empty() {
        let high = list.high.swap(0, Relaxed);
        for entry in &list.entries[..high as usize] {
            if let Some((map, cell)) = entry.take() {
                // SAFETY: whoever pushed the entry vouched that the run has latched the map, which keeps it alive.
                flush_cell(run, unsafe { &*map }, cell);
            }
        }
        if list.overflowed.swap(0, Relaxed) != 0 {
            for map in traced_maps(run) {
                if let Some(trace) = map.trace() {
                    trace.dirty.take_all(|cell| flush_cell(run, map, cell));
                }
            }
        }
    }
}

/// The maps that the run has latched as traced.
pub(crate) fn traced_maps<'a>(run: &'a Run<'_>) -> &'a [Arc<Map>] {
    &run.snapshot().traced
}

/// Reports a value under the key that its element now holds, if that is live.
fn flush_cell(run: &Run<'_>, map: &Map, cell: Cell) {
    let Some(trace) = map.trace() else { return };
    let flags = UpdateFlags::EXIST;
    match trace.lock_live(run, map, cell.elem) {
        Ok(Some(stripe)) => stripe.run_tracers(run, map, Event::Update { cell, flags }),
        Ok(None) => {}
        // Only a nested run is refused, and only an outermost one flushes.
        Err(_) => trace.lose(),
    }
}

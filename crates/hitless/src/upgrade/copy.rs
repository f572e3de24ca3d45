//! The bulk copy: every element that an old map holds, brought over under the stripe of its key, while programs run.
//!
//! Positions are visited in order, and a key keeps its position as long as it is in the map. What comes after its position was
//! visited is mirrored; so every key that is there at the end has arrived, by the one way or the other.

use std::time::{Duration, Instant};

use super::Progress;
use super::mirror::MapMirror;
use crate::map::Map;
use crate::run::{Forked, Run, Slots};
use crate::trace::{Cell, Mirror};

/// How many entries are copied, and how many positions visited, in one run: enough to share the cost of entering, which is high
/// when there are more threads than slots; so few that a grace period does not wait for it.
const ENTRIES: u64 = 64;
const POSITIONS: u64 = 4096;

/// Keeps a copy to so many entries a second.
pub(super) struct Pace {
    rate: Option<u32>,
    start: Instant,
    copied: u64,
}

impl Pace {
    pub(super) fn new(rate: Option<u32>) -> Pace {
        Pace {
            rate: rate.filter(|rate| *rate > 0),
            start: Instant::now(),
            copied: 0,
        }
    }

    fn wait(&mut self, copied: u64) {
        self.copied += copied;
        if let Some(rate) = self.rate {
            let due = Duration::from_secs_f64(self.copied as f64 / f64::from(rate));
            if let Some(early) = due.checked_sub(self.start.elapsed()) {
                std::thread::sleep(early);
            }
        }
    }
}

/// Copies a map; returns how many entries.
pub(super) fn copy_map(
    slots: &Slots,
    old: &Map,
    mirror: &MapMirror,
    pace: &mut Pace,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<u64, Forked> {
    let total = old.ops().positions();
    let mut copied = 0;
    let mut next = 0u64;
    while next < total {
        let mut in_batch = 0;
        slots.run(|run| {
            let end = next.saturating_add(POSITIONS).min(total);
            while next < end && in_batch < ENTRIES {
                in_batch += u64::from(copy_element(run, old, mirror, next));
                next += 1;
                // The first entry is reported as soon as it is over.
                if copied == 0 && in_batch == 1 {
                    break;
                }
            }
        })?;
        copied += in_batch;
        progress(Progress::Copying {
            map: old.name(),
            visited: next,
            total,
            copied,
        });
        pace.wait(in_batch);
    }
    Ok(copied)
}

/// Copies the element at a position, if there is one; says whether there was. One that is replaced meanwhile is mirrored.
fn copy_element(run: &Run<'_>, old: &Map, mirror: &MapMirror, position: u64) -> bool {
    let Some((elem, _)) = old.live_at(position) else {
        return false;
    };
    match old.visit(run, elem, |key| mirror.copy(run, old, key, Cell::own(old, run, elem))) {
        Ok(copied) => copied.is_some(),
        Err(_) => {
            // Only nested runs are refused, and this is none.
            mirror.lost();
            false
        }
    }
}

//! Waiting until a map is used by nobody else, or is gone (`BPF_MAP_WAIT`).
//!
//! Who takes a map out of use (deletes it from a map of maps, detaches what uses it, drops handles) may have to know when the
//! last user has really gone: to drain what it holds, or to make another one in its memory. References go when whoever holds
//! them says so; a program's use of a map that it looked up goes with its run.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{Map, MapHandle};
use crate::primitive::Ordering::{Acquire, Release};
use crate::primitive::atomic::AtomicU32;
use crate::primitive::relax;
use crate::program::Program;
use crate::run::{Slots, SyncError};
use crate::runtime::{Attachment, Control, Inner, Runtime};

/// What to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum WaitEvent {
    /// References to it that programs took from other maps before the call are gone.
    PendingRefs = 0,
    /// No reference is left but the caller's handle; then nobody but the caller can change the map, or read it.
    Drained = 1,
    /// It is gone, and its memory was given back: a map as large can be made at once.
    Freed = 2,
}

impl fmt::Display for WaitEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitEvent::PendingRefs => "pending references",
            WaitEvent::Drained => "drained",
            WaitEvent::Freed => "freed",
        })
    }
}

/// Why waiting for a map ended before what was waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// `-EDEADLK`: the caller is inside a run, which would wait for itself.
    #[error("waiting for map {map} from inside a run would wait for itself")]
    Deadlock {
        /// The map's id.
        map: u32,
    },
    /// `-EDEADLK`: the handle that is waited with keeps the map from being freed.
    #[error("map {map}: the handle keeps it from being freed; give it away with wait_freed, or wait by id")]
    OwnHandle {
        /// The map's id.
        map: u32,
    },
    /// `-ETIMEDOUT`.
    #[error("map {map}: waited {waited:?} for {event}; held by {}", if holders.is_empty() { "nobody known".to_owned() } else { holders.join(", ") })]
    TimedOut {
        /// The map's id.
        map: u32,
        /// What was waited for.
        event: WaitEvent,
        /// How long.
        waited: Duration,
        /// Who holds the map: programs, maps, links and handles, or the thread whose run did not end.
        holders: Vec<String>,
    },
}

impl WaitError {
    /// The kernel's number for it, positive.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        match self {
            WaitError::Deadlock { .. } | WaitError::OwnHandle { .. } => libc::EDEADLK,
            WaitError::TimedOut { .. } => libc::ETIMEDOUT,
        }
    }
}

/// A map as its runtime knows it: it keeps nothing alive.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    map: Weak<Map>,
    gone: Arc<Gone>,
}

/// Says that a map's memory was given back.
#[derive(Debug, Default)]
struct Gone(AtomicU32);

/// Held by a map as the last thing that it lets go of.
#[derive(Debug)]
pub(crate) struct Memory(Arc<Gone>);

impl Memory {
    pub(super) fn new() -> Memory {
        Memory(Arc::default())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.0.store(1, Release);
    }
}

impl Registered {
    pub(crate) fn new(map: &Arc<Map>) -> Registered {
        Registered {
            map: Arc::downgrade(map),
            gone: Arc::clone(&map.memory.0),
        }
    }

    pub(crate) fn get(&self) -> Option<Arc<Map>> {
        self.map.upgrade()
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.0.load(Acquire) != 0
    }
}

impl Control {
    /// Counts a new map in.
    pub(crate) fn register(&mut self, map: &Arc<Map>) {
        self.maps.insert(map.id(), Registered::new(map));
        // Those that are gone are forgotten now and then, so that this costs little for each map.
        if self.maps.len() > self.maps_limit {
            self.maps.retain(|_, known| !known.is_gone());
            let maps = &self.maps;
            self.graph.forget_outers(|outer| maps.contains_key(&outer));
            self.maps_limit = 2 * self.maps.len() + 16;
        }
    }
}

impl Inner {
    /// Whoever holds a map, in words. `own` of its handles are the caller's.
    fn holders(&self, map: &Map, own: u32) -> Vec<String> {
        let id = map.id();
        let control = self.control();
        let mut holders = Vec::new();
        for program in control.live_programs() {
            if program.map_ids().contains(&id) {
                holders.push(format!("program {} (id {})", program.name(), program.id()));
            }
        }
        // Those of iterators have handles.
        let mut own = own;
        for (link, attachment) in &control.links {
            let (held, handles) = match attachment {
                Attachment::Trace { map, .. } => (map.id(), 0),
                Attachment::Iter { map: Some(map), .. } => (map.id(), 1),
                _ => continue,
            };
            if held == id {
                holders.push(format!("link {link}"));
                own += handles;
            }
        }
        let known: Vec<_> = control.maps.values().filter_map(Registered::get).collect();
        // A run may have to wait for a cutover, which takes this lock.
        drop(control);
        for outer in known {
            let holds = outer
                .inner_maps()
                .map(|maps| outer.slots.run(|run| maps.holds(run, id)));
            if matches!(holds, Some(Ok(true))) {
                holders.push(format!("map {} (id {})", outer.name(), outer.id()));
            }
        }
        match map.user_count().saturating_sub(own) {
            0 => {}
            1 => holders.push("a handle of the host".to_owned()),
            more => holders.push(format!("{more} handles of the host")),
        }
        if holders.is_empty() {
            holders.push("a reference of the host".to_owned());
        }
        holders
    }
}

/// What is left of the time for a wait.
struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    fn new(limit: Duration) -> Deadline {
        Deadline {
            start: Instant::now(),
            limit,
        }
    }

    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.start.elapsed())
    }

    /// Looks at a condition until it holds, or the time is over.
    fn wait_until(&self, mut holds: impl FnMut() -> bool) -> bool {
        let mut turn = 0;
        while !holds() {
            if self.left().is_zero() {
                return false;
            }
            relax(turn);
            turn += 1;
        }
        true
    }

    fn timed_out(&self, map: u32, event: WaitEvent, holders: Vec<String>) -> WaitError {
        WaitError::TimedOut {
            map,
            event,
            waited: self.start.elapsed(),
            holders,
        }
    }

    /// Waits for a grace period on behalf of `event`.
    fn synchronize(&self, slots: &Slots, map: u32, event: WaitEvent) -> Result<(), WaitError> {
        slots.synchronize(Some(self.left())).map_err(|error| match error {
            // The latter is of changes of code, of which waiting is none.
            SyncError::Deadlock | SyncError::NoMemory => WaitError::Deadlock { map },
            SyncError::TimedOut { thread, .. } => {
                self.timed_out(map, event, vec![format!("the run of thread {thread}")])
            }
        })
    }
}

impl Map {
    /// Waits until the references to this map that programs took from other maps before the call are gone
    /// ([`WaitEvent::PendingRefs`], `BPF_MAP_SYNC_REFS`).
    ///
    /// # Errors
    /// [`WaitError`], by variant.
    pub fn sync_refs(&self, timeout: Duration) -> Result<(), WaitError> {
        Deadline::new(timeout).synchronize(&self.slots, self.id, WaitEvent::PendingRefs)
    }
}

impl MapHandle {
    /// Waits for something to become of the map (`BPF_MAP_WAIT`).
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], which names who holds the map; [`WaitError::Deadlock`] from inside a run;
    /// [`WaitError::OwnHandle`] for [`WaitEvent::Freed`].
    pub fn wait(&self, event: WaitEvent, timeout: Duration) -> Result<(), WaitError> {
        let deadline = Deadline::new(timeout);
        match event {
            WaitEvent::PendingRefs => self.sync_refs(timeout),
            WaitEvent::Freed => Err(WaitError::OwnHandle { map: self.id }),
            WaitEvent::Drained => {
                // What was retired is dropped, and what programs looked up is not in use any more.
                deadline.synchronize(&self.slots, self.id, event)?;
                let map: &Arc<Map> = self;
                if deadline.wait_until(|| Arc::strong_count(map) == 1) {
                    return Ok(());
                }
                let holders = self.runtime().map(|inner| inner.holders(map, 1));
                Err(deadline.timed_out(self.id, event, holders.unwrap_or_default()))
            }
        }
    }

    /// Gives the handle away and waits until the map is gone: its memory was given back, and a map as large can be made at
    /// once.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`], which names who holds the map: it lives on for them. [`WaitError::Deadlock`] from inside a run.
    pub fn wait_freed(self, timeout: Duration) -> Result<(), WaitError> {
        let known = Registered::new(&self);
        let (runtime, slots, id) = (self.runtime(), Arc::clone(&self.slots), self.id);
        drop(self);
        known.wait_freed(runtime.as_deref(), &slots, id, timeout)
    }
}

impl Registered {
    fn wait_freed(&self, runtime: Option<&Inner>, slots: &Slots, id: u32, timeout: Duration) -> Result<(), WaitError> {
        let (deadline, event) = (Deadline::new(timeout), WaitEvent::Freed);
        deadline.synchronize(slots, id, event)?;
        if deadline.wait_until(|| self.is_gone()) {
            return Ok(());
        }
        let holders = runtime.zip(self.get()).map(|(inner, map)| inner.holders(&map, 0));
        Err(deadline.timed_out(id, event, holders.unwrap_or_default()))
    }
}

impl Runtime {
    /// Waits until the map with this id is gone: its memory was given back, and a map as large can be made at once. A map
    /// that there is not, or not any more, is gone.
    ///
    /// # Errors
    /// As [`MapHandle::wait_freed`].
    pub fn wait_freed(&self, map: u32, timeout: Duration) -> Result<(), WaitError> {
        let inner = self.inner();
        let known = inner.control().maps.get(&map).cloned();
        match known {
            None => Ok(()),
            Some(known) => known.wait_freed(Some(inner), &inner.slots, map, timeout),
        }
    }

    /// The map with this id.
    #[must_use]
    pub fn map_by_id(&self, id: u32) -> Option<MapHandle> {
        let map = self.inner().control().maps.get(&id)?.get()?;
        Some(MapHandle::new(map, self.inner()))
    }

    /// The ids of all maps, in order (`BPF_MAP_GET_NEXT_ID`).
    #[must_use]
    pub fn map_ids(&self) -> Vec<u32> {
        let control = self.inner().control();
        let there = control.maps.iter().filter(|(_, known)| known.map.strong_count() > 0);
        there.map(|(id, _)| *id).collect()
    }

    /// The ids of all programs, in order (`BPF_PROG_GET_NEXT_ID`).
    #[must_use]
    pub fn program_ids(&self) -> Vec<u32> {
        let control = self.inner().control();
        let mut ids: Vec<u32> = control.live_programs().map(|program| program.id()).collect();
        drop(control);
        ids.sort_unstable();
        ids
    }

    /// The program with this id.
    #[must_use]
    pub fn program_by_id(&self, id: u32) -> Option<Arc<Program>> {
        let control = self.inner().control();
        let mut programs = control.live_programs();
        programs.find(|program| program.id() == id)
    }

    /// The ids of all links, in order (`BPF_LINK_GET_NEXT_ID`).
    #[must_use]
    pub fn link_ids(&self) -> Vec<u32> {
        self.inner().control().links.keys().copied().collect()
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;
    use crate::map::{MapDef, UpdateFlags};
    use hitless_verifier::MapKind;

    /// A cutover holds up runs, and takes the control lock while it does.
    #[test]
    fn who_holds_a_map_is_found_during_a_cutover() {
        let runtime = Runtime::default();
        let made = MapDef::new("inner", MapKind::Hash, 4, 4, 1);
        let outer = MapDef {
            inner: Some(Box::new(made.clone())),
            ..MapDef::new("outer", MapKind::ArrayOfMaps, 4, 4, 1)
        };
        let (inner, outer) = (runtime.create_map(made).unwrap(), runtime.create_map(outer).unwrap());
        outer.insert_map(&[0; 4], &inner, UpdateFlags::ANY).unwrap();
        let gate = runtime.inner().slots.close_gate();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| runtime.inner().holders(&inner, 1));
            while !runtime.inner().slots.gate().is_waited_at() {
                std::thread::yield_now();
            }
            drop(runtime.inner().control());
            drop(gate);
            assert_eq!(waiter.join().unwrap(), [format!("map outer (id {})", outer.id())]);
        });
    }
}

//! The thread that calls the functions of timers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::{Clock, State, Timers};
use crate::map::{Elem, Key, Map};
use crate::primitive::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::program::Program;
use crate::run::{Run, Slots, thread_id};
use crate::sys;

/// What the thread has to remember: when to look at which slot. Of a timer that is started again and again before its time,
/// that is the latest only.
#[derive(Default)]
struct Deadlines {
    in_order: BTreeSet<(u64, u32)>,
    of_slots: HashMap<u32, u64>,
}

/// What a slot no longer holds, to be dropped outside of a run.
type Dropped = (Option<Arc<Program>>, Option<Arc<Program>>, Option<Arc<Map>>);

/// A call that is due.
struct Due {
    map: Arc<Map>,
    elem: Elem,
    key: Key,
    program: Arc<Program>,
    function: hitless_jit::Function,
}

impl Timers {
    /// Starts the thread, which lives until [`Timers::stop`].
    pub(crate) fn start_thread(timers: &Arc<Timers>, slots: Arc<Slots>) -> std::io::Result<()> {
        let timers = Arc::clone(timers);
        let serve = move || timers.serve(&slots);
        std::thread::Builder::new()
            .name("hitless-timers".into())
            .spawn(serve)
            .map(|_| ())
    }

    fn serve(&self, slots: &Slots) {
        let mut deadlines = Deadlines::default();
        loop {
            self.sleeping.store(1, SeqCst);
            let seen = self.work.load(SeqCst);
            if self.stopped.load(Acquire) != 0 {
                break;
            }
            let idle = !self.take_changes(slots, &mut deadlines);
            let now = Clock::Monotonic.now();
            if let Some((deadline, index)) = deadlines.first() {
                if deadline <= now {
                    deadlines.note(index, None);
                    self.call(slots, index, deadline);
                } else if idle {
                    sys::futex_wait_for(&self.work, seen, Some(Duration::from_nanos(deadline - now)));
                }
            } else if idle {
                sys::futex_wait_for(&self.work, seen, None);
            }
            self.sleeping.store(0, Relaxed);
        }
        for index in 0..super::COUNT {
            let ended = slots.run(|run| self.lock(run, index).ok().map(|held| held.state.end()));
            drop(ended);
        }
    }

    /// Takes the list of changed slots: notes deadlines, and drops what they do not hold any more. False if it was empty.
    fn take_changes(&self, slots: &Slots, deadlines: &mut Deadlines) -> bool {
        let mut next = self.changed.swap(0, Acquire);
        let found = next != 0;
        while let Some(index) = next.checked_sub(1) {
            let slot = &self.slots[index as usize];
            next = slot.next.load(Relaxed);
            slot.listed.store(0, Release);
            let dropped = slots.run(|run| {
                let held = self.lock(run, index).ok()?;
                if held.state.running != 0 || held.state.is_alive() {
                    let state = held.state;
                    deadlines.note(index, state.deadline);
                    let unused = state.function.is_none() && state.running == 0;
                    let program = if unused { state.program.take() } else { None };
                    return Some((program, state.retired.take(), None));
                }
                deadlines.note(index, None);
                Some(held.state.end())
            });
            drop(dropped);
        }
        found
    }

    /// Calls the function of a slot's timer, if this is still its time.
    fn call(&self, slots: &Slots, index: u32, deadline: u64) {
        let finished = slots.run(|run| {
            let due = self.lock(run, index).ok()?.state.due(deadline)?;
            run_due(run, &due);
            if let Ok(held) = self.lock(run, index) {
                held.state.running = 0;
            }
            // What happened meanwhile to what the slot holds.
            self.list(index);
            Some(due)
        });
        drop(finished);
    }
}

impl Deadlines {
    /// Notes the deadline of a slot, in place of the one before.
    fn note(&mut self, index: u32, deadline: Option<u64>) {
        let before = match deadline {
            Some(deadline) => self.of_slots.insert(index, deadline),
            None => self.of_slots.remove(&index),
        };
        if let Some(before) = before {
            self.in_order.remove(&(before, index));
        }
        self.in_order.extend(deadline.map(|deadline| (deadline, index)));
    }

    /// The first deadline, and its slot.
    fn first(&self) -> Option<(u64, u32)> {
        self.in_order.first().copied()
    }
}

fn run_due(run: &Run<'_>, due: &Due) {
    let map = Arc::as_ptr(&due.map).addr() as u64;
    let value = due.map.ops().value(due.elem, run.index()).address();
    // SAFETY: the verifier has proved that the function takes a map, a key and a value.
    let result = unsafe {
        due.program
            .run_callback(run, due.function, due.key.bytes(), |key| [map, key, value, 0, 0])
    };
    // One that did not run because it was running already is counted by the program.
    debug_assert!(result != Err(crate::program::Failure::Trapped), "{result:?}");
}

impl State {
    /// The call that is due; none if the timer has ended, or was started anew or cancelled since.
    fn due(&mut self, deadline: u64) -> Option<Due> {
        if self.deadline != Some(deadline) || !self.is_alive() {
            return None;
        }
        let (map, elem) = (self.map.clone()?, self.elem?);
        let due = Due {
            key: map.live(elem)?,
            map,
            elem,
            program: self.program.clone()?,
            function: self.function?,
        };
        self.deadline = None;
        self.running = thread_id();
        Some(due)
    }

    /// Frees the slot.
    fn end(&mut self) -> Dropped {
        let ended = std::mem::take(self);
        (ended.program, ended.retired, ended.map)
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn a_timer_started_again_and_again_takes_no_more_room() {
        let mut deadlines = Deadlines::default();
        deadlines.note(2, Some(500));
        for deadline in 0..1000 {
            deadlines.note(1, Some(deadline));
        }
        assert_eq!((deadlines.first(), deadlines.in_order.len()), (Some((500, 2)), 2));
        deadlines.note(2, None);
        assert_eq!(deadlines.first(), Some((999, 1)));
        deadlines.note(1, None);
        deadlines.note(1, None);
        assert_eq!((deadlines.first(), deadlines.of_slots.len()), (None, 0));
    }
}

//! Timers (`struct bpf_timer`): functions of programs that are called later.
//!
//! A timer lies in a map value, in sixteen bytes that programs reach through helpers only. What there is to know of it lies in a
//! [`Slot`] of the runtime's table, made when the first map with timers is, since nothing is allocated while programs run. The
//! value holds the slot's *token*: its index, and how often the slot was used before. A timer is the slot's if the value still
//! holds the token, at the address that the slot knows. So maps need not know of timers: whatever overwrites or recycles a value
//! ends its timer, as in Linux, and of an element that was deleted there is no key.
//!
//! One thread for each runtime calls the functions (`thread.rs`). Each call is a run, which passes the gate. Whoever changes a
//! timer puts its slot on a list, which the thread takes as a whole, and wakes the thread. Slots have a lock each, which a signal
//! handler that interrupts its holder only tries.
//!
//! A slot holds its map and the program that the function is of. They are dropped by the thread, never in somebody's run. When
//! the last user reference to a map goes, its timers go, too.

mod thread;

use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use hitless_jit::Function;
use rustix::time::ClockId;

use crate::lock::{OwnerGuard, lock};
use crate::map::{Elem, Map, MapError};
use crate::primitive::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::primitive::atomic::AtomicU32;
use crate::primitive::relax;
use crate::program::Program;
use crate::run::{Run, thread_id};
use crate::sys;

/// How many timers a runtime has.
const COUNT: u32 = 1 << 15;

/// Which clock a timer goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clock {
    Realtime,
    Monotonic,
    Boottime,
}

impl Clock {
    /// The clock with this number (`CLOCK_*`), if timers may go by it.
    pub(crate) fn from_number(number: u64) -> Option<Clock> {
        match number {
            0 => Some(Clock::Realtime),
            1 => Some(Clock::Monotonic),
            7 => Some(Clock::Boottime),
            _ => None,
        }
    }

    fn now(self) -> u64 {
        let id = match self {
            Clock::Realtime => ClockId::Realtime,
            Clock::Monotonic => ClockId::Monotonic,
            Clock::Boottime => ClockId::Boottime,
        };
        crate::helpers::now(id)
    }
}

/// Why nothing could be done with a timer: the errno of the helper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TimerError {
    /// `-EINVAL`: it was not initialised, or has no function.
    Unset,
    /// `-EBUSY`: it was initialised already, or the interrupted code uses it.
    Busy,
    /// `-EPERM`: nobody holds its map but programs.
    NoUser,
    /// `-ENOMEM`: there are too many timers.
    TooMany,
    /// `-EDEADLK`: its function would wait for itself.
    Deadlock,
}

impl From<MapError> for TimerError {
    fn from(_: MapError) -> TimerError {
        TimerError::Busy
    }
}

/// A timer in a map value.
pub(crate) struct Place<'a> {
    pub(crate) map: &'a Arc<Map>,
    pub(crate) address: u64,
}

impl Place<'_> {
    /// The word of the value that holds the token.
    fn word(&self) -> &AtomicU64 {
        // SAFETY: a timer lies there, which the verifier has proved, aligned to eight bytes; the map's memory is there as long as
        // the map, and only accessed atomically.
        unsafe { &*(self.address as *const AtomicU64) }
    }
}

/// What is known of a timer.
#[derive(Default)]
struct State {
    /// What the value holds; 0 if the slot is free.
    token: u64,
    map: Option<Arc<Map>>,
    elem: Option<Elem>,
    address: u64,
    clock: Option<Clock>,
    program: Option<Arc<Program>>,
    /// What `program` was before, for the thread to drop.
    retired: Option<Arc<Program>>,
    function: Option<Function>,
    /// When it is to be called, by the monotonic clock.
    deadline: Option<u64>,
    /// The thread that calls the function now, or 0.
    running: u32,
}

/// A timer's place in the table.
struct Slot {
    owner: AtomicU32,
    /// How often it was used.
    uses: AtomicU32,
    /// The next one on the list of changed ones, by index plus 1.
    next: AtomicU32,
    /// Whether it is on that list.
    listed: AtomicU32,
    state: UnsafeCell<State>,
}

// SAFETY: the state is reached by whoever holds the lock only.
unsafe impl Sync for Slot {}

/// The timers of a runtime.
pub(crate) struct Timers {
    slots: Box<[Slot]>,
    /// Where to look for a free slot first.
    hint: AtomicU32,
    /// First of the changed ones, by index plus 1.
    changed: AtomicU32,
    /// Moves when there is something to do for the thread.
    work: AtomicU32,
    /// Whether the thread sleeps, or is about to.
    sleeping: AtomicU32,
    stopped: AtomicU32,
}

/// A slot, locked.
struct Held<'a> {
    index: u32,
    state: &'a mut State,
    _guard: OwnerGuard<'a>,
}

impl std::fmt::Debug for Timers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timers").finish_non_exhaustive()
    }
}

impl Timers {
    pub(crate) fn new() -> Timers {
        let slot = |_| Slot {
            owner: AtomicU32::new(0),
            uses: AtomicU32::new(0),
            next: AtomicU32::new(0),
            listed: AtomicU32::new(0),
            state: UnsafeCell::default(),
        };
        Timers {
            slots: (0..COUNT).map(slot).collect(),
            hint: AtomicU32::new(0),
            changed: AtomicU32::new(0),
            work: AtomicU32::new(0),
            sleeping: AtomicU32::new(0),
            stopped: AtomicU32::new(0),
        }
    }

    /// Makes a timer of what lies in a value.
    pub(crate) fn init(&self, run: &Run<'_>, place: &Place<'_>, clock: Clock) -> Result<(), TimerError> {
        let before = place.word().load(Acquire);
        if self.find(run, place)?.is_some() {
            return Err(TimerError::Busy);
        }
        if !place.map.has_user() {
            return Err(TimerError::NoUser);
        }
        let held = self.take_free(run)?;
        let uses = self.slots[held.index as usize].uses.fetch_add(1, Relaxed);
        let token = u64::from(uses) << 32 | u64::from(held.index + 1);
        *held.state = State {
            token,
            map: Some(Arc::clone(place.map)),
            elem: place.map.ops().element_at(place.address, 1),
            address: place.address,
            clock: Some(clock),
            ..State::default()
        };
        // Somebody else may have been faster.
        if place.word().compare_exchange(before, token, AcqRel, Relaxed).is_err() {
            held.state.token = 0;
            held.state.address = 0;
            self.list(held.index);
            return Err(TimerError::Busy);
        }
        Ok(())
    }

    /// Says which function of which program a timer calls.
    pub(crate) fn set_callback(
        &self,
        run: &Run<'_>,
        place: &Place<'_>,
        program: Arc<Program>,
        function: Function,
    ) -> Result<(), TimerError> {
        let held = self.find(run, place)?.ok_or(TimerError::Unset)?;
        if !place.map.has_user() {
            return Err(TimerError::NoUser);
        }
        let state = held.state;
        if !state.program.as_ref().is_some_and(|known| Arc::ptr_eq(known, &program)) {
            if state.retired.is_some() {
                return Err(TimerError::Busy);
            }
            state.retired = state.program.replace(program);
            self.list(held.index);
        }
        state.function = Some(function);
        Ok(())
    }

    /// Has the function called at a time of the timer's clock, or so many nanoseconds from now.
    pub(crate) fn start(
        &self,
        run: &Run<'_>,
        place: &Place<'_>,
        nanoseconds: u64,
        absolute: bool,
    ) -> Result<(), TimerError> {
        let held = self.find(run, place)?.ok_or(TimerError::Unset)?;
        let (Some(clock), Some(_)) = (held.state.clock, held.state.function) else {
            return Err(TimerError::Unset);
        };
        let delay = if absolute {
            nanoseconds.saturating_sub(clock.now())
        } else {
            nanoseconds
        };
        held.state.deadline = Some(Clock::Monotonic.now().saturating_add(delay));
        self.list(held.index);
        Ok(())
    }

    /// Cancels a timer, and waits until its function is not running any more. Returns whether it was to be called.
    pub(crate) fn cancel(&self, run: &Run<'_>, place: &Place<'_>) -> Result<bool, TimerError> {
        let mut turn = 0;
        loop {
            let held = self.find(run, place)?.ok_or(TimerError::Unset)?;
            match held.state.running {
                0 => {
                    held.state.function = None;
                    let was_started = held.state.deadline.take().is_some();
                    self.list(held.index);
                    return Ok(was_started);
                }
                running if running == thread_id() => return Err(TimerError::Deadlock),
                _ => {}
            }
            drop(held);
            relax(turn);
            turn += 1;
        }
    }

    /// Ends all timers of maps without users: the last one of a map has gone.
    pub(crate) fn sweep(&self) {
        for index in 0..COUNT {
            self.list(index);
        }
    }

    /// Ends the thread, and with it all timers.
    pub(crate) fn stop(&self) {
        self.stopped.store(1, Release);
        self.wake();
    }

    /// The slot of a timer, if it was initialised.
    fn find<'a>(&'a self, run: &Run<'_>, place: &Place<'_>) -> Result<Option<Held<'a>>, TimerError> {
        let token = place.word().load(Acquire);
        let Some(index) = (token as u32).checked_sub(1).filter(|index| *index < COUNT) else {
            return Ok(None);
        };
        let held = self.lock(run, index)?;
        let same = held.state.token == token && held.state.address == place.address;
        Ok(same.then_some(held))
    }

    /// A slot that is free, or whose timer has ended without anybody saying so.
    fn take_free<'a>(&'a self, run: &Run<'_>) -> Result<Held<'a>, TimerError> {
        let hint = self.hint.load(Relaxed);
        for i in 0..COUNT {
            let index = (hint + i) % COUNT;
            let Ok(held) = self.lock(run, index) else { continue };
            // One that still holds something is the thread's to clear.
            if held.state.token == 0 && held.state.map.is_none() {
                self.hint.store(index + 1, Relaxed);
                return Ok(held);
            }
            if !held.state.is_alive() {
                self.list(index);
            }
        }
        Err(TimerError::TooMany)
    }

    fn lock<'a>(&'a self, run: &Run<'_>, index: u32) -> Result<Held<'a>, TimerError> {
        let slot = &self.slots[index as usize];
        let guard = lock(run, &slot.owner)?;
        Ok(Held {
            index,
            // SAFETY: the lock is held until the guard is dropped, together with this borrow.
            state: unsafe { &mut *slot.state.get() },
            _guard: guard,
        })
    }

    /// Puts a slot on the list of changed ones, for the thread.
    fn list(&self, index: u32) {
        let slot = &self.slots[index as usize];
        if slot.listed.swap(1, AcqRel) == 0 {
            let mut first = self.changed.load(Relaxed);
            loop {
                slot.next.store(first, Relaxed);
                match self.changed.compare_exchange(first, index + 1, Release, Relaxed) {
                    Ok(_) => break,
                    Err(now) => first = now,
                }
            }
        }
        self.wake();
    }

    fn wake(&self) {
        self.work.fetch_add(1, SeqCst);
        if self.sleeping.load(SeqCst) != 0 {
            sys::futex_wake_all(&self.work);
        }
    }
}

impl State {
    /// Whether the value still holds the timer, and somebody the map.
    fn is_alive(&self) -> bool {
        let Some(map) = self.map.as_ref().filter(|_| self.token != 0) else {
            return false;
        };
        let place = Place {
            map,
            address: self.address,
        };
        map.has_user()
            && place.word().load(Acquire) == self.token
            && self.elem.is_some_and(|elem| map.live(elem).is_some())
    }
}

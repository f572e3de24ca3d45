//! A program at work in a run: which variant, the guard against re-entering it, and statistics.
//!
//! What is written while programs run lies apart for each slot, so that threads share no cache line. Statistics cost nothing
//! while nobody asks for them but a look at the run, which has latched whether anybody does.

use std::mem::ManuallyDrop;
use std::ptr;
use std::time::Instant;

use hitless_jit::Entry;

use crate::env::{Reach, RunEnv};
use crate::primitive::Ordering::Relaxed;
use crate::primitive::Padded;
use crate::primitive::atomic::{AtomicU32, AtomicU64};
use crate::program::{Failure, Program};
use crate::run::Run;

/// What a program has for each slot.
#[derive(Debug, Default)]
pub(crate) struct PerSlot {
    /// How many executions are in progress: more than one only in signal handlers and tracers.
    active: AtomicU32,
    /// Executions while statistics were kept.
    runs: AtomicU64,
    /// How long those took.
    time_ns: AtomicU64,
}

/// What has been counted of a program.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ProgramStats {
    /// How often it ran while statistics were kept ([`Runtime::enable_stats`](crate::Runtime::enable_stats)).
    #[doc(alias = "run_cnt")]
    pub runs: u64,
    /// How long those runs took, in nanoseconds.
    #[doc(alias = "run_time_ns")]
    pub time_ns: u64,
    /// How often it was not run because it was already running on its slot: in signal handlers only. Always counted.
    pub recursion_misses: u64,
}

impl PerSlot {
    /// For so many slots.
    pub(crate) fn for_slots(count: usize) -> Box<[Padded<PerSlot>]> {
        (0..count).map(|_| Padded::default()).collect()
    }

    /// Runs, and their time.
    pub(crate) fn sum(slots: &[Padded<PerSlot>]) -> (u64, u64) {
        slots.iter().fold((0, 0), |(runs, time), Padded(slot)| {
            (
                runs.wrapping_add(slot.runs.load(Relaxed)),
                time.wrapping_add(slot.time_ns.load(Relaxed)),
            )
        })
    }

    /// Counts one more execution in, unless the program would be re-entered.
    #[cold]
    #[inline(never)]
    fn enter_nested(&self, program: &Program, run: &Run<'_>) -> Result<(), Failure> {
        let depth = self.active.load(Relaxed);
        if program.must_not_nest(run, depth) {
            return Err(Failure::Missed);
        }
        self.active.store(depth + 1, Relaxed);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn leave_nested(&self) {
        self.active.store(self.active.load(Relaxed) - 1, Relaxed);
    }

    /// Counts a run. Only the owner of the slot does, or a handler on its thread, which may make it lose one: so be it.
    fn count(&self, time: u64) {
        self.runs.store(self.runs.load(Relaxed).wrapping_add(1), Relaxed);
        self.time_ns
            .store(self.time_ns.load(Relaxed).wrapping_add(time), Relaxed);
    }
}

/// A program at work, to be run on one context or several.
pub(crate) struct Execution<'e, 'a> {
    env: &'e mut RunEnv<'a>,
    slot: &'a PerSlot,
    entry: &'a Entry,
    timed: bool,
}

impl<'a> Execution<'_, 'a> {
    /// Begins a program in a run, and calls `work` with it; unless the program would be re-entered.
    #[inline(always)]
    pub(crate) fn with<R>(
        program: &'a Program,
        run: &'a Run<'a>,
        reach: Option<&'a Reach<'a>>,
        work: impl FnOnce(&mut Execution<'_, 'a>) -> R,
    ) -> Result<R, Failure> {
        let slot = program.slot(run.index());
        let active = Active::enter(program, run, slot)?;
        let version = program.current();
        // SAFETY: there is no context before a call gives one.
        let env = unsafe { RunEnv::new(run, program, ptr::null(), version) };
        // Each call leaves nothing in it that would be to be dropped.
        let mut env = ManuallyDrop::new(env);
        if let Some(reach) = reach {
            env.set_reach(reach);
        }
        let result = work(&mut Execution {
            env: &mut env,
            slot,
            entry: version.entry(),
            timed: run.is_timed(),
        });
        drop(active);
        Ok(result)
    }

    /// Says that it runs by the link with this cookie.
    #[inline]
    pub(crate) fn attached(&mut self, cookie: u64) -> &mut Self {
        self.env.cookie = cookie;
        self
    }

    /// Runs it on a context. `None` if a check of the engine failed, which the program has kept.
    ///
    /// What is rare gets what it needs by value: this stays in registers.
    ///
    /// # Safety
    /// `context` is a context of the program's type in its host layout, valid and unaliased for the call, as is the memory
    /// that its pointer fields name; the reach describes that memory.
    #[inline(always)]
    pub(crate) unsafe fn call<C: ?Sized>(&mut self, context: &mut C) -> Option<u64> {
        let context = ptr::from_mut(context).cast();
        // SAFETY: the caller vouches for the context.
        unsafe { self.env.begin(context) };
        let result = if self.timed {
            // SAFETY: as below.
            unsafe { timed(self.entry, self.env, context, self.slot) }
        } else {
            // SAFETY: the caller vouches for the context; the image was lowered for this program type's layout and for this
            // type of environment. What the environment contains is map regions, accessed atomically only, and what the
            // caller describes in the reach. The run holds the program, which holds the code.
            unsafe { self.entry.run(self.env.vm(), context) }
        };
        if self.env.is_finished() {
            return Some(result);
        }
        finish(self.env, result)
    }
}

/// Runs a program, and counts it and the time that it takes.
///
/// # Safety
/// As for [`Entry::run`], with the environment.
#[cold]
unsafe fn timed(entry: &Entry, env: &mut RunEnv<'_>, context: *mut u8, slot: &PerSlot) -> u64 {
    let start = Instant::now();
    // SAFETY: as for this function.
    let result = unsafe { entry.run(env.vm(), context) };
    let time = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    slot.count(time);
    result
}

/// Sees to what a program has left.
#[cold]
fn finish(env: &mut RunEnv<'_>, result: u64) -> Option<u64> {
    match env.finish() {
        None => Some(result),
        Some(trap) => {
            env.program().keep_trap(trap);
            None
        }
    }
}

/// Counts an execution in progress, until dropped.
pub(crate) struct Active<'a> {
    slot: &'a PerSlot,
    run: &'a Run<'a>,
}

impl<'a> Active<'a> {
    /// Counts one in, unless the program would be re-entered.
    #[inline]
    pub(crate) fn enter(program: &Program, run: &'a Run<'a>, slot: &'a PerSlot) -> Result<Active<'a>, Failure> {
        // One that is not nested finds none, and so reads nothing that the one before it wrote: programs of a run come one after
        // the other, and no tracer leads back to itself.
        if run.is_nested() {
            slot.enter_nested(program, run)?;
        } else {
            slot.active.store(1, Relaxed);
        }
        Ok(Active { slot, run })
    }
}

impl Drop for Active<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.run.is_nested() {
            self.slot.leave_nested();
        } else {
            self.slot.active.store(0, Relaxed);
        }
    }
}

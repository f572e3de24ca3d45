//! Hooks: where the host runs programs.
//!
//! Which programs are attached is a [`Snapshot`], replaced as a whole whenever links change. A run latches the snapshot
//! current when its outermost run began, so it never sees a mixture of old and new programs.

use std::marker::PhantomData;
use std::sync::Arc;

use hitless_jit::Trap;

use crate::context::{Context, Xdp};
use crate::env::Reach;
use crate::map::Map;
use crate::program::{Failure, Program};
use crate::run::{Forked, Run, Slots};

/// What runs latch.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// The programs at every hook, by the hook's index, in the order of attachment.
    pub(crate) hooks: Vec<Vec<Arc<Program>>>,
    /// The maps that are traced, or are about to be.
    pub(crate) traced: Vec<Arc<Map>>,
}

/// A hook that runs programs on contexts of one sort, by default XDP programs on packets. Cheap to clone; any number of threads
/// may run it at once. Made by [`Runtime::hook`](crate::Runtime::hook).
pub struct Hook<C: Context = Xdp> {
    slots: Arc<Slots>,
    index: usize,
    name: Arc<str>,
    context: PhantomData<fn(C)>,
}

impl<C: Context> Clone for Hook<C> {
    fn clone(&self) -> Hook<C> {
        Hook {
            slots: Arc::clone(&self.slots),
            index: self.index,
            name: Arc::clone(&self.name),
            context: PhantomData,
        }
    }
}

impl<C: Context> std::fmt::Debug for Hook<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook")
            .field("section", &C::SECTION)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a hook could not run its programs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A check of the engine failed: a defect of hitless, since the verifier had excluded it.
    #[error("program {program}: {trap}")]
    Trap {
        /// The program.
        program: Arc<str>,
        /// The check.
        trap: Trap,
    },
    /// A program was not run, because the signal handler that ran the hook interrupted that very program, or one that holds
    /// a spin lock. Counted by the program.
    #[error("program {program} is already running on this slot")]
    Recursion {
        /// The program.
        program: Arc<str>,
    },
    /// The process is a forked child.
    #[error(transparent)]
    Forked(#[from] Forked),
}

impl<C: Context> Hook<C> {
    pub(crate) fn new(slots: Arc<Slots>, index: usize, name: Arc<str>) -> Hook<C> {
        Hook {
            slots,
            index,
            name,
            context: PhantomData,
        }
    }

    /// The hook's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn runtime(&self) -> u64 {
        self.slots.runtime()
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Runs the attached programs on an input, in their order; what their results come to says the context
    /// ([`Context::combine`]).
    ///
    /// May be called from any thread, and from a signal handler. Waits while a cutover swaps programs (some
    /// microseconds), unless it is nested in another run.
    ///
    /// # Errors
    /// [`RunError::Recursion`] in signal handlers only; [`RunError::Forked`] in a forked child; [`RunError::Trap`] never,
    /// short of a defect.
    pub fn run(&self, input: &mut C::Input<'_>) -> Result<C::Verdict, RunError> {
        self.slots.run(|run| self.run_in(run, input))?
    }

    fn run_in(&self, run: &Run<'_>, input: &mut C::Input<'_>) -> Result<C::Verdict, RunError> {
        let programs = run.snapshot().hooks.get(self.index).map_or(&[][..], Vec::as_slice);
        C::with_frame(input, |frame| {
            let mut verdict = C::initial();
            for program in programs {
                // SAFETY: the program is of a kind that the hook takes, and `Context` vouches for the frame.
                let result = unsafe { program.execute(run, frame, Reach::NONE) };
                let result = result.map_err(|failure| error(program, failure))?;
                if C::combine(&mut verdict, result).is_break() {
                    break;
                }
            }
            Ok(verdict)
        })
    }
}

fn error(program: &Program, failure: Failure) -> RunError {
    // Shared, since this may be a signal handler that interrupted the allocator.
    let program = program.shared_name();
    match failure {
        Failure::Missed => RunError::Recursion { program },
        Failure::Trap(trap) => RunError::Trap { program, trap },
    }
}

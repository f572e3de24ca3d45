//! Hooks: where the host runs programs.
//!
//! Which programs are attached is a [`Snapshot`], replaced as a whole whenever links change. A run latches the snapshot
//! current when its outermost run began, so it never sees a mixture of old and new programs.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::context::{Context, Xdp};
use crate::env::Reach;
use crate::execution::Execution;
use crate::map::Map;
use crate::program::Program;
use crate::run::{Forked, Run, Slots};

/// What runs latch.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// The programs at every hook, by the hook's index, in the order of attachment.
    pub(crate) hooks: Vec<Vec<Attached>>,
    /// The maps that are traced, or are about to be.
    pub(crate) traced: Vec<Arc<Map>>,
}

/// A program at a hook.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) program: Arc<Program>,
    /// What the program finds as `bpf_get_attach_cookie()`.
    pub(crate) cookie: u64,
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
// Two words, so that what a hook returns comes in registers; and made without allocating, also in a signal handler that has
// interrupted the allocator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// A check of the engine failed: a defect of hitless, since the verifier had excluded it.
    #[error("program {}: {}", .program.name(), failed_check(program))]
    Trap {
        /// The program, which knows the check ([`Program::failed_check`]).
        program: Arc<Program>,
    },
    /// A program was not run, because the signal handler that ran the hook interrupted that very program, or one that holds
    /// a spin lock. Counted by the program.
    #[error("program {} is already running on this slot", .program.name())]
    Recursion {
        /// The program.
        program: Arc<Program>,
    },
    /// A program accesses more of the context than there is of it this time (`-EACCES` where Linux compares at attach).
    #[error("program {} accesses {} bytes of the context", .program.name(), .program.context_extent())]
    Short {
        /// The program.
        program: Arc<Program>,
    },
    /// The process is a forked child.
    #[error(transparent)]
    Forked(#[from] Forked),
}

fn failed_check(program: &Program) -> String {
    program.failed_check().map(ToString::to_string).unwrap_or_default()
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
    #[inline]
    pub fn run(&self, input: &mut C::Input<'_>) -> Result<C::Verdict, RunError> {
        // Set apart from the verdict, which stays in a register.
        let mut failed = None;
        let verdict = self.slots.run(|run| self.programs(run).run(run, input, &mut failed))?;
        match failed {
            None => Ok(verdict),
            Some(failed) => Err(failed),
        }
    }

    /// Runs the attached programs on several inputs, each as [`run`](Self::run) does, in one run: entering and leaving is paid
    /// for once. `each` gets every input with its verdict.
    ///
    /// A cutover waits for the whole batch, as does whoever waits for a grace period: keep it short.
    ///
    /// # Errors
    /// [`Forked`] in a forked child; what each invocation may fail with as for [`run`](Self::run).
    pub fn run_batch<'a: 'i, 'i>(
        &self,
        inputs: impl IntoIterator<Item = &'i mut C::Input<'a>>,
        mut each: impl FnMut(&'i mut C::Input<'a>, Result<C::Verdict, RunError>),
    ) -> Result<(), Forked>
    where
        C::Input<'a>: 'i,
    {
        self.slots.run(|run| {
            let programs = self.programs(run);
            if let [attached] = programs.programs
                && !C::VARIABLE
            {
                programs.run_one(attached, run, inputs, each);
                return;
            }
            for input in inputs {
                let mut failed = None;
                let verdict = programs.run(run, input, &mut failed);
                each(input, failed.map_or(Ok(verdict), Err));
            }
        })
    }

    /// The programs that the run has latched for this hook.
    #[inline]
    fn programs<'r>(&self, run: &'r Run<'_>) -> Programs<'r, C> {
        Programs {
            programs: run.snapshot().hooks.get(self.index).map_or(&[][..], Vec::as_slice),
            context: PhantomData,
        }
    }
}

/// The programs of a hook, for the length of a run.
struct Programs<'r, C> {
    programs: &'r [Attached],
    context: PhantomData<fn(C)>,
}

impl<C: Context> Programs<'_, C> {
    #[inline]
    fn run(&self, run: &Run<'_>, input: &mut C::Input<'_>, failed: &mut Option<RunError>) -> C::Verdict {
        let each = |frame: &mut C::Frame| {
            let mut verdict = C::initial();
            for Attached { program, cookie } in self.programs {
                if C::VARIABLE && size_of_val(frame) < program.context_extent() {
                    *failed = Some(short(program));
                    break;
                }
                // SAFETY: the program is of a kind that the hook takes, and `Context` vouches for the frame.
                let call = |execution: &mut Execution<'_, '_>| unsafe { execution.attached(*cookie).call(frame) };
                match Execution::with(program, run, Reach::NONE, call) {
                    Ok(Some(result)) => {
                        if C::combine(&mut verdict, result).is_break() {
                            break;
                        }
                    }
                    missed => {
                        *failed = Some(error(program, missed.is_ok()));
                        break;
                    }
                }
            }
            verdict
        };
        // SAFETY: programs keep nothing of a frame, nor does the closure.
        unsafe { C::with_frame(input, each) }
    }

    /// Runs the only program on several inputs, begun once for all of them.
    #[inline]
    fn run_one<'a: 'i, 'i>(
        &self,
        Attached { program, cookie }: &Attached,
        run: &Run<'_>,
        inputs: impl IntoIterator<Item = &'i mut C::Input<'a>>,
        mut each: impl FnMut(&'i mut C::Input<'a>, Result<C::Verdict, RunError>),
    ) where
        C::Input<'a>: 'i,
    {
        let mut inputs = inputs.into_iter();
        let worked = Execution::with(program, run, Reach::NONE, |execution| {
            execution.attached(*cookie);
            for input in inputs.by_ref() {
                // SAFETY: the program is of a kind that the hook takes, and `Context` vouches for the frame, of which programs keep
                // nothing.
                let result = unsafe { C::with_frame(input, |frame| execution.call(frame)) };
                let verdict = match result {
                    Some(result) => {
                        let mut verdict = C::initial();
                        // There is no program behind it.
                        let _ = C::combine(&mut verdict, result);
                        Ok(verdict)
                    }
                    None => Err(error(program, true)),
                };
                each(input, verdict);
            }
        });
        if worked.is_err() {
            inputs.for_each(|input| each(input, Err(error(program, false))));
        }
    }
}

#[cold]
fn short(program: &Arc<Program>) -> RunError {
    RunError::Short {
        program: Arc::clone(program),
    }
}

#[cold]
fn error(program: &Arc<Program>, trapped: bool) -> RunError {
    let program = Arc::clone(program);
    if trapped {
        RunError::Trap { program }
    } else {
        RunError::Recursion { program }
    }
}

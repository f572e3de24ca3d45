//! Hooks: where the host runs programs.
//!
//! Which programs are attached is a [`Snapshot`], replaced as a whole whenever links change. A run latches the snapshot
//! current when its outermost run began, so it never sees a mixture of old and new programs.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::Arc;

use crate::context::{Context, Xdp};
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
    /// [`RunError::Recursion`] where a signal handler, or what a batch calls, runs a program again that is running; [`RunError::Forked`] in a forked child; [`RunError::Trap`] never,
    /// short of a defect.
    #[inline]
    pub fn run(&self, input: &mut C::Input<'_>) -> Result<C::Verdict, RunError> {
        // Set apart from the verdict, which stays in a register.
        let mut failed = MaybeUninit::uninit();
        let verdict = self.slots.run(|run| self.programs(run).run(run, input, &mut failed))?;
        // SAFETY: without a verdict, it has been written.
        verdict.ok_or_else(|| unsafe { failed.assume_init() })
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
                attached.run_batch::<C>(run, inputs, each);
                return;
            }
            for input in inputs {
                let mut failed = MaybeUninit::uninit();
                let verdict = self.programs(run).run(run, input, &mut failed);
                // SAFETY: without a verdict, it has been written.
                each(input, verdict.ok_or_else(|| unsafe { failed.assume_init() }));
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
    /// Runs them. Without a verdict, `failed` is why.
    #[inline(always)]
    fn run(self, run: &Run<'_>, input: &mut C::Input<'_>, failed: &mut MaybeUninit<RunError>) -> Option<C::Verdict> {
        match self.programs {
            [attached] if !C::VARIABLE => attached.run_alone::<C>(run, input, failed),
            [] => Some(C::initial()),
            _ => self.run_all(run, input, failed),
        }
    }

    #[inline(never)]
    fn run_all(
        self,
        run: &Run<'_>,
        input: &mut C::Input<'_>,
        failed: &mut MaybeUninit<RunError>,
    ) -> Option<C::Verdict> {
        let each = |frame: &mut C::Frame| {
            let mut verdict = C::initial();
            for Attached { program, cookie } in self.programs {
                if C::VARIABLE && size_of_val(frame) < program.context_extent() {
                    return Err(short(program));
                }
                // SAFETY: the program is of a kind that the hook takes, and `Context` vouches for the frame.
                let call = |execution: &mut Execution<'_, '_>| unsafe { execution.attached(*cookie).call(frame) };
                match Execution::with(program, run, None, call) {
                    Ok(Some(result)) => {
                        if C::combine(&mut verdict, result).is_break() {
                            break;
                        }
                    }
                    missed => return Err(error(program, missed.is_ok())),
                }
            }
            Ok(verdict)
        };
        // SAFETY: programs keep nothing of a frame, nor does the closure.
        let verdict = unsafe { C::with_frame(input, each) };
        verdict.map_err(|error| failed.write(error)).ok()
    }
}

impl Attached {
    /// Runs the program as the only one of its hook. Without a verdict, `failed` is why.
    #[inline(always)]
    fn run_alone<C: Context>(
        &self,
        run: &Run<'_>,
        input: &mut C::Input<'_>,
        failed: &mut MaybeUninit<RunError>,
    ) -> Option<C::Verdict> {
        let worked = Execution::with(&self.program, run, None, |execution| {
            execution.attached(self.cookie);
            call::<C>(execution, input).or_else(|| self.fail(true, failed))
        });
        worked.unwrap_or_else(|_| self.fail(false, failed))
    }

    /// Says why there is no verdict.
    #[cold]
    #[inline(never)]
    fn fail<V>(&self, trapped: bool, failed: &mut MaybeUninit<RunError>) -> Option<V> {
        failed.write(error(&self.program, trapped));
        None
    }

    /// Runs it as the only one on several inputs, begun once for all of them.
    #[inline]
    fn run_batch<'a: 'i, 'i, C: Context>(
        &self,
        run: &Run<'_>,
        inputs: impl IntoIterator<Item = &'i mut C::Input<'a>>,
        mut each: impl FnMut(&'i mut C::Input<'a>, Result<C::Verdict, RunError>),
    ) where
        C::Input<'a>: 'i,
    {
        // Taken by the loop, so that there is nothing of it left to keep track of.
        let mut inputs = Some(inputs);
        // If it cannot be begun, the inputs are left.
        let _ = Execution::with(&self.program, run, None, |execution| {
            execution.attached(self.cookie);
            if let Some(inputs) = inputs.take() {
                for input in inputs {
                    let verdict = call::<C>(execution, input);
                    each(input, verdict.ok_or_else(|| error(&self.program, true)));
                }
            }
        });
        if let Some(inputs) = inputs {
            for input in inputs {
                each(input, Err(error(&self.program, false)));
            }
        }
    }
}

/// Runs a program that is the only one of its hook, as it has been begun. `None` if a check of the engine failed.
#[inline(always)]
fn call<C: Context>(execution: &mut Execution<'_, '_>, input: &mut C::Input<'_>) -> Option<C::Verdict> {
    // SAFETY: the program is of a kind that the hook takes, and `Context` vouches for the frame, of which programs keep nothing.
    let result = unsafe { C::with_frame(input, |frame| execution.call(frame)) }?;
    let mut verdict = C::initial();
    // There is no program behind it.
    let _ = C::combine(&mut verdict, result);
    Some(verdict)
}

#[cold]
fn short(program: &Arc<Program>) -> RunError {
    RunError::Short {
        program: Arc::clone(program),
    }
}

#[cold]
#[inline(never)]
fn error(program: &Arc<Program>, trapped: bool) -> RunError {
    let program = Arc::clone(program);
    if trapped {
        RunError::Trap { program }
    } else {
        RunError::Recursion { program }
    }
}

//! The order in which to visit: path by path, depth first, with pruning.
//!
//! Every path from the entry is followed until it ends, is found to be covered, or fails. A fork follows one side and
//! keeps the other for later. At checkpoints (where paths can meet) the state is kept, and later arrivals are compared with
//! those kept before:
//!
//! - An earlier state is *complete* when every path that left it has ended. A state that stands for no more than a
//!   complete one need not be followed: whatever machine state it stands for, the complete one stood for it as well, and
//!   all that can follow was found to be safe and to end. What was recorded on the way holds for it too.
//! - An earlier state that is not complete lies on the path that is being followed: with a stack of pending branches,
//!   every path that left a state is followed before any branch that was pending when it was made. To come back to an
//!   equal state then means that the path can go round for ever, so the program is refused. To come back to a smaller one
//!   means nothing yet, and the path is followed further.
//!
//! So a program is accepted only if each of its paths was followed to the end or into a complete state. Completeness is
//! never assumed of a state on the current path, so there is no circular argument: accepted programs terminate.
//! The number of instructions interpreted is limited, so verification does too.

use std::rc::Rc;

use crate::check::{self, check};
use crate::error::{Failure, Rejection, VerifierError};
use crate::facts::{ProgramInput, Stats, Verified};
use crate::program::{COMPLEXITY_LIMIT, Program, error};
use crate::record::Recorder;
use crate::requirements::Requirement;
use crate::state::State;
use crate::transfer::{Flow, Ids, transfer};
use crate::visited::{Progress, Seen, Visited};

/// The most branches that may wait to be followed (the kernel's `BPF_COMPLEXITY_LIMIT_JMP_SEQ`).
const PENDING_LIMIT: usize = 8192;

/// Watches the search: called with each instruction interpreted, the state before it, and the registers (bits) that
/// anything can still read. Of the others nothing is claimed.
pub(crate) type Watch<'w> = &'w mut dyn FnMut(usize, &State, u16);

/// A path to be followed from `pc`.
struct Path {
    pc: usize,
    state: State,
    progress: Rc<Progress>,
    /// Instructions and jumps since a state of this path was last kept.
    insns: u32,
    jumps: u32,
}

struct Search<'a> {
    program: &'a Program<'a>,
    recorder: Recorder,
    ids: Ids,
    pending: Vec<Path>,
    visited: Visited,
    stats: Stats,
}

/// Verifies a program, showing each step to `watch`.
pub(crate) fn explore(input: &ProgramInput<'_>, watch: Option<Watch<'_>>) -> Result<Verified, Rejection> {
    let stats = Stats {
        limit: COMPLEXITY_LIMIT,
        ..Stats::default()
    };
    let program = Program::new(input).map_err(|errors| Rejection { errors, stats })?;
    let mut search = Search {
        recorder: Recorder::new(&program),
        ids: Ids::default(),
        pending: Vec::new(),
        visited: Visited::new(program.code.len()),
        stats,
        program: &program,
    };
    let result = search.run(watch);
    let stats = search.stats;
    match result {
        Ok(()) => Ok(search.recorder.finish(input, &program.subprogs, stats)),
        Err(error) => Err(Rejection {
            errors: vec![*error],
            stats,
        }),
    }
}

impl Search<'_> {
    fn run(&mut self, mut watch: Option<Watch<'_>>) -> Result<(), Box<VerifierError>> {
        let progress = Progress::begin(None);
        self.pending.push(Path {
            pc: 0,
            state: State::entry(),
            progress,
            insns: 0,
            jumps: 0,
        });
        while let Some(mut path) = self.pending.pop() {
            while self.step(&mut path, &mut watch)? {}
            path.progress.path_ended();
        }
        let recorder = &self.recorder;
        self.program
            .check_combined_stack(recorder.depths(), |pc| recorder.is_reached(pc))
            .map_err(|(pc, failure)| self.error(pc, Requirement::CombinedStack, failure))
    }

    fn error(&self, pc: usize, requirement: Requirement, failure: Failure) -> Box<VerifierError> {
        Box::new(error(self.program.input, pc, requirement, failure))
    }

    /// Follows a path by one instruction; returns whether it goes on.
    fn step(&mut self, path: &mut Path, watch: &mut Option<Watch<'_>>) -> Result<bool, Box<VerifierError>> {
        let pc = path.pc;
        self.stats.processed += 1;
        if self.stats.processed > COMPLEXITY_LIMIT {
            let processed = self.stats.processed;
            let message = format!("BPF program is too large. Processed {processed} insn");
            let failure = Failure::new(format!("{processed} steps"), message);
            return Err(self.error(pc, Requirement::Complexity, failure));
        }
        if self.program.checkpoint[pc] {
            match self.visited.compare(self.program, pc, &path.state) {
                Seen::New => self.keep(path),
                Seen::Covered => return Ok(false),
                Seen::Loop => {
                    let failure = Failure::new("the same state again", format!("infinite loop detected at insn {pc}"));
                    return Err(self.error(pc, Requirement::Termination, failure));
                }
            }
        }
        if let Some(watch) = watch {
            watch(pc, &path.state, self.program.live[pc]);
        }
        self.recorder.reached(pc);
        let mut context = check::Context {
            program: self.program,
            pc,
            state: &path.state,
            recorder: &mut self.recorder,
        };
        for requirement in &self.program.requirements[pc] {
            if let Err(failure) = check(&mut context, requirement) {
                return Err(self.error(pc, *requirement, failure));
            }
        }
        path.insns += 1;
        match transfer(self.program, pc, &mut path.state, &mut self.ids) {
            Flow::To(to) => {
                path.jumps += u32::from(to != pc + self.program.insn(pc).slots());
                path.pc = to;
                Ok(true)
            }
            Flow::Fork { jump, taken, next } => {
                path.jumps += 1;
                path.pc = next;
                path.progress.path_forked();
                self.pending.push(Path {
                    pc: jump,
                    state: *taken,
                    progress: Rc::clone(&path.progress),
                    insns: path.insns,
                    jumps: path.jumps,
                });
                if self.pending.len() > PENDING_LIMIT {
                    let failure = Failure::new(
                        format!("{} branches", self.pending.len()),
                        format!("The sequence of {} jumps is too complex.", self.pending.len()),
                    );
                    return Err(self.error(pc, Requirement::PendingBranches, failure));
                }
                Ok(true)
            }
            Flow::End => Ok(false),
        }
    }

    /// Keeps the state of a path, unless one was kept just before.
    fn keep(&mut self, path: &mut Path) {
        if path.insns < 8 || path.jumps < 2 {
            return;
        }
        let progress = Progress::begin(Some(&path.progress));
        if self.visited.keep(self.program, path.pc, &path.state, &progress) {
            path.progress = progress;
            (path.insns, path.jumps) = (0, 0);
            self.stats.total_states += 1;
            self.stats.peak_states = self.stats.peak_states.max(self.visited.count());
        }
    }
}

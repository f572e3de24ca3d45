//! The order in which to visit: path by path, depth first, with pruning.
//!
//! Every path from the entry is followed until it ends, is found to be covered, or fails. A fork follows one side and
//! keeps the other for later. At checkpoints (where paths can meet or part) the state is compared with those kept before:
//!
//! - An earlier state is *complete* when every path that left it has ended. A state that it covers need not be followed:
//!   all that can follow was found to be safe and to end (`precision` says why, and what covering means). What was recorded
//!   on the way holds for it too.
//! - An earlier state that is not complete lies on the path that is being followed: with a stack of pending branches,
//!   every path that left a state is followed before any branch that was pending when it was made. To come back to the same
//!   state then means that the path can go round for ever, so the program is refused. To come back to a smaller one means
//!   nothing yet, and the path is followed further.
//!
//! So a program is accepted only if each of its paths was followed to the end or into a complete state. Completeness is
//! never assumed of a state on the current path, so there is no circular argument: accepted programs terminate. The number
//! of instructions interpreted is limited, so verification does too. Loops whose turns are counted while the program runs
//! are followed until a turn adds nothing new (`loops` says why that is enough, `widen` how it comes to that).
//!
//! Functions that a timer calls are verified after the main program, each by itself.
//! Global functions are verified after the main program, each by itself for any arguments of its types, if something calls
//! them. A call of one is a single step.
//!
//! Which states to keep is a matter of cost alone. One is kept if a few instructions and jumps, of whatever path, have been
//! interpreted since the last. In a loop, where the path has been at the checkpoint before, it takes more of them: the
//! states of the turns differ in the counter, and seldom cover anything. States that cover nothing are dropped (`visited`),
//! but those on the current path stay in its chain. All of this was chosen so that as many instructions are interpreted as
//! in Linux, within a few per cent (`benches/verify` compares).

use std::collections::BTreeSet;
use std::rc::Rc;

use hitless_isa::{CallTarget, Instruction};

use crate::check::{self, arg_reg, check};
use crate::domain::object::Object;
use crate::domain::pointer::{Argument, Pointer, PointerKind};
use crate::domain::stack::Slots;
use crate::domain::value::Value;
use crate::error::{Failure, Rejection, VerifierError};
use crate::facts::{FuncArg, ObjectPointer, ObjectType, ProgramInput, Stats, Trust, Verified};
use crate::history::Segment;
use crate::log::Log;
use crate::log::trace::Tracer;
use crate::loops::{End, Loops};
use crate::node::{Node, note_read};
use crate::path::{Trail, trail};
use crate::places::Places;
use crate::precision::demand;
use crate::program::{COMPLEXITY_LIMIT, Program, error};
use crate::record::Recorder;
use crate::requirements::Requirement;
use crate::state::State;
use crate::tables::helpers;
use crate::transfer::{Flow, Ids, call, transfer};
use crate::uses::Uses;
use crate::visited::{Seen, Visited};
use crate::widen::{last_at, previous_turn, widen};

/// The most branches that may wait to be followed (the kernel's `BPF_COMPLEXITY_LIMIT_JMP_SEQ`).
const PENDING_LIMIT: usize = 8192;

/// A state is kept so many instructions and jumps after the last.
const KEEP_INSNS: usize = 8;
const KEEP_JUMPS: usize = 2;
/// In a loop either of these has to be reached.
const KEEP_LOOP_INSNS: usize = 100;
const KEEP_LOOP_JUMPS: usize = 20;
/// One is kept anyway so many steps after the last of the same path: forks copy the steps.
const KEEP_STEPS: usize = 100;

/// Sees what the search does, for tests.
pub(crate) trait Observer {
    /// The most steps to be taken, if fewer than Linux takes.
    fn limit(&self) -> usize;
    /// Step `at` of the search: the instruction at `pc` is interpreted in `state`, where anything can still read the
    /// registers `live` (bits).
    fn step(&mut self, at: u32, pc: usize, state: &State, live: u16);
    /// In the state before step `at` the numbers in these registers (bits) matter. Nothing is claimed of others.
    fn precise(&mut self, at: u32, regs: u16);
}

pub(crate) type Watch<'w> = Option<&'w mut dyn Observer>;

/// A path to be followed from `pc`.
struct Path {
    pc: usize,
    /// The jump that it begins with, and where the log ended there.
    origin: Option<(usize, u64)>,
    state: State,
    /// The last state of it that was kept, and the steps since.
    node: Option<Rc<Node>>,
    segment: Segment,
}

struct Search<'a, 'w> {
    program: &'a Program<'a>,
    recorder: Recorder,
    ids: Ids,
    pending: Vec<Path>,
    visited: Visited,
    loops: Loops,
    stats: Stats,
    /// Jumps interpreted.
    jumps: usize,
    /// Instructions and jumps interpreted before the last state was kept.
    kept: (usize, usize),
    uses: Uses,
    /// What the current instruction requires.
    requirements: Vec<Requirement>,
    watch: Watch<'w>,
    tracer: Option<Tracer<'w>>,
    /// How the search came to what it refuses.
    trail: Trail,
}

/// Verifies a program, showing each step to `watch` and writing a log.
pub(crate) fn explore<'w>(
    input: &ProgramInput<'_>,
    watch: Watch<'w>,
    log: Option<&'w mut Log>,
) -> Result<Verified, Rejection> {
    let mut tracer = log.map(Tracer::new);
    let limit = watch.as_ref().map_or(COMPLEXITY_LIMIT, |watch| watch.limit());
    let stats = Stats {
        limit,
        ..Stats::default()
    };
    let program = match Program::new(input) {
        Ok(program) => program,
        Err(errors) => {
            if let Some(mut tracer) = tracer {
                errors.iter().for_each(|error| tracer.refused(&error.message));
                tracer.finish(&stats, &[], false);
            }
            let trail = Box::default();
            return Err(Rejection { errors, stats, trail });
        }
    };
    if let Some(tracer) = &mut tracer {
        tracer.begin(&program);
    }
    let mut search = Search {
        recorder: Recorder::new(&program),
        ids: Ids::default(),
        pending: Vec::new(),
        visited: Visited::new(program.code.len()),
        loops: Loops::default(),
        stats,
        jumps: 0,
        kept: (0, 0),
        uses: Uses::default(),
        requirements: Vec::new(),
        watch,
        tracer,
        trail: Trail::default(),
        program: &program,
    };
    let result = search.run();
    let stats = search.stats;
    if let Some(mut tracer) = search.tracer.take() {
        if let Err(error) = &result {
            tracer.refused(&error.message);
        }
        let recorder = &search.recorder;
        let subprogs = program.subprogs.iter().zip(recorder.depths());
        let called: Vec<u32> = subprogs
            .filter(|(subprog, _)| recorder.is_reached(subprog.0))
            .map(|(_, &depth)| depth)
            .collect();
        tracer.finish(&stats, &called, result.is_ok());
    }
    match result {
        Ok(()) => Ok(search.recorder.finish(&program, stats)),
        Err(error) => Err(Rejection {
            errors: vec![*error],
            stats,
            trail: Box::new(search.trail),
        }),
    }
}

impl Search<'_, '_> {
    fn run(&mut self) -> Result<(), Box<VerifierError>> {
        let entry = self.entry()?;
        self.follow(0, entry)?;
        let mut verified = BTreeSet::new();
        let mut verified_later = BTreeSet::new();
        loop {
            if let Some(&(subprog, map)) = self.recorder.called_later().difference(&verified_later).next() {
                verified_later.insert((subprog, map));
                if let Some(tracer) = &mut self.tracer {
                    tracer.entry();
                }
                let state = call::later(subprog, map, &mut self.ids);
                self.follow(self.program.subprogs[subprog].0, state)?;
                continue;
            }
            let Some(&subprog) = self.recorder.all_called().difference(&verified).next() else {
                break;
            };
            verified.insert(subprog);
            if let Some(tracer) = &mut self.tracer {
                tracer.global(self.program, subprog);
            }
            let args = self.program.global(subprog).and_then(|func| func.args.as_ref().ok());
            let state = self.entry_of(subprog, args.into_iter().flatten());
            self.follow(self.program.subprogs[subprog].0, state)?;
        }
        let recorder = &self.recorder;
        let made = |pc| recorder.is_reached(pc);
        let later = |subprog| recorder.is_called_later(subprog);
        let chain = self
            .program
            .check_combined_stack(recorder.depths(), made, later, recorder.called_back())
            .map_err(|(pc, failure)| self.error(pc, Requirement::CombinedStack, failure))?;
        self.recorder.chain(chain);
        Ok(())
    }

    /// Where the program begins: with its context, or with the arguments of the function that it takes the place of.
    fn entry(&mut self) -> Result<State, Box<VerifierError>> {
        let Some(func) = self.program.replacement() else {
            return Ok(State::entry());
        };
        match &func.args {
            Ok(args) => Ok(self.entry_of(0, args)),
            Err(reason) => {
                let failure = Failure::new(reason.clone(), reason.clone());
                Err(self.error(0, Requirement::GlobalArguments { subprog: 0 }, failure))
            }
        }
    }

    /// Where a subprogram with these arguments begins that is followed by itself.
    fn entry_of<'f>(&mut self, subprog: usize, args: impl IntoIterator<Item = &'f FuncArg>) -> State {
        let ids = &mut self.ids;
        let value = |(index, arg): (u8, &FuncArg)| (arg_reg(index), global_argument(subprog, index, *arg, ids));
        State::entry_of(subprog, (0..).zip(args).map(value))
    }

    /// Follows all paths from `state` at `pc`.
    fn follow(&mut self, pc: usize, state: State) -> Result<(), Box<VerifierError>> {
        self.pending.push(Path {
            pc,
            origin: None,
            state,
            node: None,
            segment: Segment::default(),
        });
        while let Some(mut path) = self.pending.pop() {
            if let (Some(tracer), Some((from, position))) = (&mut self.tracer, path.origin) {
                tracer.resumed(from, position);
            }
            loop {
                match self.step(&mut path) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        self.trail = trail(self.program, error.pc, &path.state, path.node.as_ref(), &path.segment);
                        return Err(error);
                    }
                }
            }
            self.ended(path.node);
        }
        Ok(())
    }

    fn error(&self, pc: usize, requirement: Requirement, failure: Failure) -> Box<VerifierError> {
        Box::new(error(self.program.input, pc, requirement, failure))
    }

    /// Follows a path by one instruction; returns whether it goes on.
    fn step(&mut self, path: &mut Path) -> Result<bool, Box<VerifierError>> {
        let pc = path.pc;
        let at = self.stats.processed;
        self.stats.processed += 1;
        if self.stats.processed > self.stats.limit {
            let processed = self.stats.processed;
            let message = format!("BPF program is too large. Processed {processed} insn");
            let failure = Failure::new(format!("{processed} steps"), message);
            return Err(self.error(pc, Requirement::Complexity, failure));
        }
        if self.program.checkpoint[pc] && !self.arrive(path)? {
            return Ok(false);
        }
        if let Some(watch) = &mut self.watch {
            watch.step(at as u32, pc, &path.state, self.program.live[pc]);
        }
        if let Some(tracer) = &mut self.tracer {
            tracer.step(self.program.input, pc, &path.state);
        }
        self.recorder.reached(pc);
        self.jumps += usize::from(self.program.insn(pc).is_jump());
        self.uses.clear();
        let mut context = check::Context {
            program: self.program,
            pc,
            state: &path.state,
            recorder: &mut self.recorder,
            uses: &mut self.uses,
        };
        self.program.requirements(pc, &mut self.requirements);
        for requirement in &self.requirements {
            if let Err(failure) = check(&mut context, requirement) {
                return Err(self.error(pc, *requirement, failure));
            }
        }
        let depth = path.state.depth();
        let flow = transfer(self.program, pc, &mut path.state, &mut self.ids, &mut self.uses);
        if let Some(tracer) = &mut self.tracer {
            let goes_on = !matches!(flow, Flow::End);
            tracer.done(self.program, pc, &path.state, &self.uses, goes_on);
        }
        match self.program.insn(pc) {
            Instruction::Jump { off, .. } => self.record_branch(pc, *off, &flow),
            Instruction::Call(CallTarget::Helper(helpers::MAP_LOOKUP_ELEM | helpers::TAIL_CALL)) => {
                self.recorder.index(pc, self.uses.index);
            }
            _ => {}
        }
        self.note(path, at, depth);
        path.segment.push(pc, at, &mut self.uses);
        match flow {
            Flow::To(to) => {
                path.pc = to;
                Ok(true)
            }
            Flow::Fork { jump, taken, next } => {
                path.pc = next;
                self.fork(path, (pc, jump), *taken)
                    .map_err(|failure| self.error(pc, Requirement::PendingBranches, failure))?;
                Ok(true)
            }
            Flow::Turn { out, turn } => {
                let mut state = path.state.clone();
                state.turns += 1;
                if let Some(earlier) = path.node.as_ref().and_then(previous_turn) {
                    widen(&mut state, &earlier);
                }
                path.pc = out;
                self.fork(path, (pc, turn), state)
                    .map_err(|failure| self.error(pc, Requirement::PendingBranches, failure))?;
                Ok(true)
            }
            Flow::Replaced { back, state, next } => {
                path.pc = next;
                self.fork(path, (pc, back), *state)
                    .map_err(|failure| self.error(pc, Requirement::PendingBranches, failure))?;
                if let Some(fork) = self.pending.last_mut() {
                    fork.segment.replaced();
                }
                Ok(true)
            }
            Flow::CallBack { next, start, entered } => {
                path.pc = next;
                let depth = entered.depth();
                self.fork(path, (pc, start), *entered)
                    .map_err(|failure| self.error(pc, Requirement::PendingBranches, failure))?;
                if let Some(waiting) = self.pending.last_mut() {
                    waiting.segment.calls_back(depth);
                }
                Ok(true)
            }
            Flow::Element { next, mut taken } => {
                if let Some(earlier) = path.node.as_ref().and_then(previous_turn) {
                    widen(&mut taken, &earlier);
                }
                path.pc = next;
                self.fork(path, (pc, next), *taken)
                    .map_err(|failure| self.error(pc, Requirement::PendingBranches, failure))?;
                Ok(true)
            }
            Flow::Back(to) => {
                if let Some(earlier) = last_at(path.node.as_ref(), to, &path.state) {
                    widen(&mut path.state, &earlier);
                }
                path.pc = to;
                Ok(true)
            }
            Flow::End => Ok(false),
        }
    }

    /// Records which way a conditional jump goes. What decides it matters, so the paths that are not followed because of
    /// this one go the same way.
    fn record_branch(&mut self, pc: usize, off: i32, flow: &Flow) {
        match flow {
            // If both ways lead to the same place, it does not show which was taken.
            Flow::To(to) if off != 0 => self.recorder.branch(pc, *to != pc + 1),
            Flow::To(_) | Flow::Fork { .. } => {
                self.recorder.branch(pc, true);
                self.recorder.branch(pc, false);
            }
            _ => {}
        }
    }

    /// Keeps the other side of a fork for later.
    fn fork(&mut self, path: &Path, (from, pc): (usize, usize), state: State) -> Result<(), Failure> {
        if let Some(node) = &path.node {
            node.path_forked();
        }
        self.pending.push(Path {
            pc,
            origin: Some((from, self.tracer.as_ref().map_or(0, Tracer::fork_position))),
            state,
            node: path.node.clone(),
            segment: path.segment.clone(),
        });
        let waiting = self.pending.len();
        if waiting <= PENDING_LIMIT {
            return Ok(());
        }
        let message = format!("The sequence of {waiting} jumps is too complex.");
        Err(Failure::new(format!("{waiting} branches"), message))
    }

    /// Notes in the kept states what the instruction that was just interpreted took notice of, in a frame at `depth`.
    fn note(&mut self, path: &Path, at: usize, depth: usize) {
        let uses = &self.uses;
        if uses.stack {
            for (frame, &slots) in uses.read.iter().enumerate() {
                note_read(path.node.as_ref(), path.segment.written[frame], frame, slots);
            }
        }
        if uses.values != 0 || uses.slot_value.is_some() {
            if let Some(watch) = &mut self.watch {
                watch.precise(at as u32, uses.values);
            }
            let mut wanted = Places::registers(depth, uses.values);
            if let Some(place) = uses.slot_value {
                wanted.frames[usize::from(place.frame)].slots |= 1 << place.slot;
            }
            demand(
                self.program,
                &path.segment,
                path.node.as_ref(),
                depth,
                wanted,
                &mut self.watch,
            );
        }
    }

    /// At a checkpoint: returns whether the path goes on.
    fn arrive(&mut self, path: &mut Path) -> Result<bool, Box<VerifierError>> {
        let pc = path.pc;
        if self.program.calls_back(pc) {
            path.state.begin_calling(|| self.ids.fresh());
        }
        match self.visited.compare(self.program, pc, &path.state) {
            Seen::New { again } => {
                let (insns, jumps) = (self.stats.processed - self.kept.0, self.jumps - self.kept.1);
                let enough = insns >= KEEP_INSNS && jumps >= KEEP_JUMPS;
                let worthwhile = !again || insns >= KEEP_LOOP_INSNS || jumps >= KEEP_LOOP_JUMPS;
                if enough && worthwhile || self.program.counts_turns(pc) || path.segment.steps.len() >= KEEP_STEPS {
                    self.keep(path);
                }
                Ok(true)
            }
            Seen::Covered(node) => {
                if let Some(tracer) = &mut self.tracer {
                    tracer.covered(pc);
                }
                self.cover(path.node.as_ref(), &path.segment, &path.state, &node);
                Ok(false)
            }
            Seen::Turn(target) => {
                if let Some(tracer) = &mut self.tracer {
                    tracer.covered(pc);
                }
                self.loops.hold(End {
                    node: path.node.clone(),
                    segment: std::mem::take(&mut path.segment),
                    state: path.state.clone(),
                    target,
                    carried: None,
                });
                Ok(false)
            }
            Seen::Loop => {
                let failure = Failure::new("the same state again", format!("infinite loop detected at insn {pc}"));
                Err(self.error(pc, Requirement::Termination, failure))
            }
        }
    }

    /// Ends a path at a state that covers its own: what mattered there matters here.
    fn cover(&mut self, previous: Option<&Rc<Node>>, segment: &Segment, state: &State, node: &Node) {
        let marks = *node.marks.borrow();
        let depth = state.depth();
        for (index, frame) in state.frames().iter().enumerate() {
            let slots: Slots = marks.read[index];
            note_read(previous, segment.written[index], index, slots);
            if frame.stack.lacks_written(&node.state.frames()[index].stack, slots) {
                self.recorder.clear_stack(frame.subprog);
            }
        }
        let mut wanted = state.places(|value| value.as_scalar().is_some());
        wanted.restrict(&marks.precise);
        if !wanted.is_empty() {
            demand(self.program, segment, previous, depth, wanted, &mut self.watch);
        }
    }

    /// A path through `node` has ended.
    fn ended(&mut self, node: Option<Rc<Node>>) {
        let mut current = node;
        while let Some(node) = current {
            if !node.path_ended() {
                return;
            }
            if node.is_waiting() {
                current = node.previous();
                continue;
            }
            if node.is_root.get() {
                self.settle(&node);
            }
            current = node.release();
        }
    }

    /// Every path from `root` has ended: carries over what matters from states to ends of paths until nothing changes.
    fn settle(&mut self, root: &Rc<Node>) {
        let mut ends = self.loops.take(root);
        loop {
            let mut changed = false;
            for end in &mut ends {
                let marks = *end.target.marks.borrow();
                if end.carried.replace(marks) != Some(marks) {
                    changed = true;
                    self.cover(end.node.as_ref(), &end.segment, &end.state, &end.target);
                }
            }
            if !changed {
                break;
            }
        }
        ends.into_iter().for_each(|end| end.release(root));
    }

    fn keep(&mut self, path: &mut Path) {
        let node = Node::new(
            path.pc,
            path.state.clone(),
            path.node.take(),
            std::mem::take(&mut path.segment),
        );
        self.visited.keep(self.program, path.pc, &node);
        path.node = Some(node);
        self.kept = (self.stats.processed, self.jumps);
        let stats = &mut self.stats;
        stats.total_states += 1;
        stats.peak_states = stats.peak_states.max(self.visited.count());
        stats.max_states_per_insn = stats.max_states_per_insn.max(self.visited.count_at(path.pc));
    }
}

/// What a global function knows of an argument.
fn global_argument(subprog: usize, index: u8, arg: FuncArg, ids: &mut Ids) -> Value {
    match arg {
        FuncArg::Scalar => Value::UNKNOWN,
        FuncArg::Context => Value::Pointer(Pointer::to(PointerKind::Context)),
        FuncArg::Object { ty, nullable } => {
            let pointer = ObjectPointer {
                ty: ObjectType::Btf(ty),
                trust: Trust::Trusted,
                nullable,
            };
            let object = Object::new(pointer, || ids.fresh());
            Value::Pointer(Pointer::to(PointerKind::Object(object)))
        }
        FuncArg::Memory { size, nullable } => Value::Pointer(Pointer::to(PointerKind::Argument(Argument {
            subprog: subprog as u32,
            index,
            size,
            nullable,
        }))),
    }
}

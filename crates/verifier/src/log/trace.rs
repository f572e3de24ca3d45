//! Writes the log while the search goes on.
//!
//! An instruction's line is written before it is checked, so that what is wrong with it stands right below. When the path
//! goes on to the next one, what the instruction read and wrote is added to the line. A path that begins at a fork, or comes back from a
//! call, begins with all that is known.

use std::time::Instant;

use hitless_isa::{AtomicOp, CallTarget, Instruction, Operand, Reg};

use super::text::{ALL_REGS, frame};
use super::{Log, LogLevel};
use crate::domain::stack::Slots;
use crate::facts::{ProgramInput, SourceLine, Stats};
use crate::program::{self, Program};
use crate::state::State;
use crate::uses::Uses;

/// The column in which states begin; behind longer instructions they begin in a later one that is a multiple of eight.
const STATE_COLUMN: usize = 40;
/// What is between an instruction and the state at the least.
const GAP: usize = 4;

/// How the search came to the next instruction.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    /// From the one before.
    Next,
    /// From nowhere, or into a subprogram: what is known there is to be shown.
    Entry,
    /// By an earlier jump, from this slot.
    Jump(usize),
    /// By a return, from this slot.
    Return(usize),
}

/// A log that is being written.
pub(crate) struct Tracer<'l> {
    log: &'l mut Log,
    start: Instant,
    arrival: Arrival,
    /// The state in which the instruction that is being interpreted began.
    before: Option<State>,
    /// What the last instruction did, to be added to its line if the path goes on from there.
    delta: String,
    /// Where the log ended behind the last instruction's line, without that.
    insn_end: u64,
    line: Option<SourceLine>,
}

impl<'l> Tracer<'l> {
    pub(crate) fn new(log: &'l mut Log) -> Tracer<'l> {
        Tracer {
            log,
            start: Instant::now(),
            arrival: Arrival::Entry,
            before: None,
            delta: String::new(),
            insn_end: 0,
            line: None,
        }
    }

    /// Before the first instruction.
    pub(crate) fn begin(&mut self, program: &Program<'_>) {
        if !self.log.level.has(LogLevel::ALL) {
            return;
        }
        for (index, (start, _)) in program.subprogs.iter().enumerate() {
            self.log.write(&format!("func#{index} @{start}\n"));
        }
        self.log.write("Live regs before insn:\n");
        for pc in (0..program.code.len()).filter(|&pc| program.code[pc].is_some()) {
            let live = program.live[pc];
            let regs: String = (0..10u8)
                .map(|index| {
                    if live & 1 << index != 0 {
                        (b'0' + index) as char
                    } else {
                        '.'
                    }
                })
                .collect();
            self.log
                .write(&format!("{pc:7}: {regs} {}\n", insn_text(program.input, pc)));
        }
    }

    /// Where a path that forks here is to begin in the log.
    pub(crate) fn fork_position(&self) -> u64 {
        self.insn_end
    }

    /// A global function is followed by itself.
    pub(crate) fn global(&mut self, program: &Program<'_>, subprog: usize) {
        let name = program.global(subprog).map_or("", |func| func.name.as_str());
        if !self.log.level.has(LogLevel::ALL) {
            self.log.reset(0);
        }
        if self.log.level.insns() {
            self.log.write(&format!("Validating {name}() func#{subprog}...\n"));
        }
        self.begin_at_entry();
    }

    /// A function is followed that is called later.
    pub(crate) fn entry(&mut self) {
        if !self.log.level.has(LogLevel::ALL) {
            self.log.reset(0);
        }
        self.begin_at_entry();
    }

    fn begin_at_entry(&mut self) {
        self.arrival = Arrival::Entry;
        self.delta.clear();
        self.insn_end = self.log.position();
        self.line = None;
    }

    /// A path is followed that began at the jump in slot `from`.
    pub(crate) fn resumed(&mut self, from: usize, position: u64) {
        if !self.log.level.has(LogLevel::ALL) {
            self.log.reset(position);
        }
        self.arrival = Arrival::Jump(from);
        self.delta.clear();
    }

    /// The path need not be followed further.
    pub(crate) fn covered(&mut self, pc: usize) {
        if !self.log.level.insns() {
            return;
        }
        let text = match self.arrival {
            Arrival::Jump(from) | Arrival::Return(from) => format!("\nfrom {from} to {pc}: safe\n"),
            _ => format!("{pc}: safe\n"),
        };
        self.log.write(&text);
        self.arrival = Arrival::Next;
        self.delta.clear();
    }

    /// Adds to the last instruction's line what it did.
    fn add_delta(&mut self) {
        let delta = std::mem::take(&mut self.delta);
        if !delta.is_empty() {
            let len = self.log.reopen_line();
            let column = (len + GAP).next_multiple_of(8).max(STATE_COLUMN);
            self.log.write(&format!("{:1$};{delta}\n", "", column - 2 - len));
        }
    }

    /// The instruction at `pc` is to be checked and interpreted.
    pub(crate) fn step(&mut self, input: &ProgramInput<'_>, pc: usize, state: &State) {
        if !self.log.level.insns() {
            return;
        }
        self.add_delta();
        let all = || frame(input, state, state.depth(), ALL_REGS, Slots::MAX);
        let text = match std::mem::replace(&mut self.arrival, Arrival::Next) {
            Arrival::Next => String::new(),
            Arrival::Entry => format!("{pc}:{}\n", all()),
            Arrival::Jump(from) => format!("\nfrom {from} to {pc}:{0}\n{pc}:{0}\n", all()),
            Arrival::Return(from) => format!("\nfrom {from} to {pc}:{}\n", all()),
        };
        self.log.write(&text);
        if let Some(line) = program::source(input, pc) {
            let same = |last: &SourceLine| last.line == line.line && last.file == line.file && last.text == line.text;
            if !self.line.as_ref().is_some_and(same) {
                let file = line.file.rsplit('/').next().unwrap_or_default();
                self.log.write(&format!("; {} @ {file}:{}\n", line.text, line.line));
                self.line = Some(line.clone());
            }
        }
        self.log.write(&format!("{pc}: {}\n", insn_text(input, pc)));
        self.insn_end = self.log.position();
        self.before = Some(state.clone());
    }

    /// The instruction at `pc` was interpreted, and made this state.
    pub(crate) fn done(&mut self, program: &Program<'_>, pc: usize, state: &State, uses: &Uses, goes_on: bool) {
        let Some(before) = self.before.take() else { return };
        let input = program.input;
        let all = |state: &State, depth| frame(input, state, depth, ALL_REGS, Slots::MAX);
        let depth = state.depth();
        match program.insn(pc) {
            Instruction::Call(CallTarget::Subprog(_)) if program.global_callee(pc).is_some() => {
                self.global_call(program, pc, state);
            }
            Instruction::Call(CallTarget::Subprog(_)) if depth > before.depth() => {
                let (caller, callee) = (all(state, depth - 1), all(state, depth));
                self.log.write(&format!("caller:\n{caller}\ncallee:\n{callee}\n"));
                self.arrival = Arrival::Entry;
            }
            Instruction::Exit if goes_on && depth < before.depth() => {
                let (callee, caller) = (all(&before, depth + 1), all(state, depth));
                let to = match before.frame().callback {
                    Some(_) => before.frame().call_pc,
                    None => before.frame().call_pc + 1,
                };
                self.log.write(&format!(
                    "returning from callee:\n{callee}\nto caller at {to}:\n{caller}\n"
                ));
                self.arrival = Arrival::Return(pc);
            }
            insn => {
                let stack = &state.frames()[depth].stack;
                let changed = before
                    .frames()
                    .get(depth)
                    .map_or(0, |frame| stack.differing(&frame.stack));
                let slots = match insn {
                    Instruction::Jump { .. } => 0,
                    Instruction::Call(_) => changed,
                    _ => changed | uses.read[depth] | uses.written[depth],
                };
                let text = frame(input, state, depth, touched(insn), slots);
                self.delta = if goes_on { text } else { String::new() };
                // What a branch has told shows even if the path goes no further.
                if matches!(insn, Instruction::Jump { .. }) {
                    self.add_delta();
                }
            }
        }
    }

    /// A global function was called at `pc`, and not entered.
    fn global_call(&mut self, program: &Program<'_>, pc: usize, state: &State) {
        let Some(subprog) = program.global_callee(pc) else {
            return;
        };
        let name = program.global(subprog).map_or("", |func| func.name.as_str());
        let known = frame(program.input, state, state.depth(), 1, 0);
        self.log.write(&format!(
            "Func#{subprog} ('{name}') is global and assumed valid.\n{}:{known}\n",
            pc + 1
        ));
    }

    /// The program is refused.
    pub(crate) fn refused(&mut self, message: &str) {
        if self.log.level.insns() {
            self.log.write(&format!("{message}\n"));
        }
    }

    /// The search is over.
    pub(crate) fn finish(mut self, stats: &Stats, depths: &[u32], accepted: bool) {
        if accepted && !self.log.level.has(LogLevel::ALL) {
            self.log.reset(0);
        }
        if self.log.level.has(LogLevel::STATS) {
            let depths: Vec<String> = depths.iter().map(u32::to_string).collect();
            let (micros, depths) = (self.start.elapsed().as_micros(), depths.join("+"));
            self.log
                .write(&format!("verification time {micros} usec\nstack depth {depths}\n"));
        }
        if self.log.level != LogLevel::default() {
            self.cost(stats);
        }
    }

    fn cost(&mut self, stats: &Stats) {
        self.log.write(&format!(
            "processed {} insns (limit {}) max_states_per_insn {} total_states {} peak_states {} mark_read 0\n",
            stats.processed, stats.limit, stats.max_states_per_insn, stats.total_states, stats.peak_states
        ));
    }
}

fn insn_text(input: &ProgramInput<'_>, pc: usize) -> String {
    format!("({:02x}) {}", input.insns[pc].code, program::text(input, pc))
}

/// The registers that the log shows behind an instruction, as bits: its operands and its result.
pub(crate) fn touched(insn: &Instruction) -> u16 {
    let bit = |reg: Reg| 1u16 << reg.index();
    let operand = |operand| match operand {
        Operand::Reg(reg) => bit(reg),
        Operand::Imm(_) => 0,
    };
    match *insn {
        Instruction::Alu { dst, src, .. } | Instruction::Jump { dst, src, .. } => bit(dst) | operand(src),
        Instruction::MovSx { dst, src, .. } | Instruction::AddrSpaceCast { dst, src, .. } => bit(dst) | bit(src),
        Instruction::Neg { dst, .. } | Instruction::End { dst, .. } | Instruction::LoadImm64 { dst, .. } => bit(dst),
        Instruction::Load { dst, base, .. } | Instruction::LoadAcquire { dst, base, .. } => bit(dst) | bit(base),
        Instruction::Store { base, src, .. } => bit(base) | operand(src),
        Instruction::StoreRelease { base, src, .. } => bit(base) | bit(src),
        Instruction::Atomic { op, base, src, .. } => {
            let old = if op == AtomicOp::CmpXchg { bit(Reg::R0) } else { 0 };
            bit(base) | bit(src) | old
        }
        Instruction::Call(_) | Instruction::LoadPacket { .. } => bit(Reg::R0),
        Instruction::Goto { .. } | Instruction::MayGoto { .. } | Instruction::Exit => 0,
    }
}

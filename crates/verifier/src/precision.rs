//! Which numbers mattered: found by walking back along the path.
//!
//! # Why states may differ in numbers
//!
//! Most numbers of a program decide nothing: a checksum that is summed up may be any number. Let the paths from a kept
//! state all have been followed to their ends. Call a number of the state *precise* if something on the way depended on
//! its value: it became an offset of a pointer or a size, it was returned where the hook restricts that, its being zero
//! was remembered of stack bytes, or it decided a branch (one outcome was impossible, and not followed). Or if a number
//! that is precise later was computed from it: for that the path is walked backwards, each instruction replacing what it
//! computed by what it computed it from.
//!
//! Let *G* be the set of machine states that have the kept state's pointers, its precise numbers with their bounds and
//! links, and any numbers else. Then what was proved for the kept state holds for all of *G*: follow a run from a member
//! of *G* beside the paths. By induction, at each step the run's state is a member of the like set made of the path's
//! state and the numbers that are precise there.
//!
//! - A precise number that the instruction computes comes from numbers that are precise before it, so it is in the bounds
//!   that the transfer function found. Others are in no claim.
//! - Whether the requirements hold depends on pointers and precise numbers alone, and they were checked.
//! - A branch that was decided was so by precise numbers, so the run takes it too. One that was not was followed both
//!   ways, and the run takes one of them. The bounds that a number gets from a branch matter only if it is precise
//!   afterwards; then so are, before, both operands and all numbers that are linked and were narrowed with them.
//! - A path that ended because another complete state covers it makes precise what is precise there, so the run goes on
//!   in that state's *G*.
//!
//! So a run ends where the paths end, having met only requirements that hold. Therefore a state is covered if it lies in
//! *G*, not only if it lies in the kept state itself. That is why `prune::covers` ignores numbers that are not precise.
//!
//! Marks of a complete state do not change any more: they are made by paths through it, and all of those have ended.
//!
//! # Stack slots
//!
//! A slot that holds a number is treated as a register. Zero bytes and pointers always count, like pointers in registers.
//! A slot that no path reads before overwriting it does not count at all (`node::Marks::read`).

use std::rc::Rc;

use hitless_isa::{AluOp, AtomicOp, CallTarget, Instruction, Operand, Reg};

use crate::explore::Watch;
use crate::history::{Effect, Segment, Step};
use crate::node::Node;
use crate::places::{FramePlaces, Places};
use crate::program::Program;

/// `r1` to `r5`.
const ARGUMENTS: u16 = 0b11_1110;

/// The numbers in `wanted`, at the end of `segment` in a frame at `depth`, are precise: marks those that they come from.
pub(crate) fn demand(
    program: &Program<'_>,
    segment: &Segment,
    node: Option<&Rc<Node>>,
    depth: usize,
    mut wanted: Places,
    watch: &mut Watch<'_>,
) {
    let mut depth = depth;
    walk(program, segment, &mut depth, &mut wanted, watch);
    let mut current = node.cloned();
    while let Some(node) = current {
        // What is precise already has been walked back from.
        wanted = node.marks.borrow_mut().precise.extend(&wanted);
        if wanted.is_empty() {
            return;
        }
        walk(program, &node.segment(), &mut depth, &mut wanted, watch);
        current = node.previous();
    }
}

fn walk(program: &Program<'_>, segment: &Segment, depth: &mut usize, wanted: &mut Places, watch: &mut Watch<'_>) {
    for step in segment.steps.iter().rev() {
        if wanted.is_empty() {
            return;
        }
        let pc = step.pc as usize;
        if program.global_callee(pc).is_some() {
            // Nothing is known of the result.
            wanted.frames[*depth].take(Reg::R0);
        } else {
            back(program.insn(pc), segment, step, depth, wanted);
        }
        if let Some(watch) = watch {
            watch.precise(step.at, wanted.frames[*depth].regs);
        }
    }
}

impl FramePlaces {
    fn has(&self, reg: Reg) -> bool {
        self.regs & 1 << reg.index() != 0
    }

    fn take(&mut self, reg: Reg) -> bool {
        let had = self.has(reg);
        self.regs &= !(1 << reg.index());
        had
    }

    fn want(&mut self, operand: Operand) {
        if let Operand::Reg(reg) = operand {
            self.regs |= 1 << reg.index();
        }
    }
}

/// From the numbers wanted behind an instruction to those wanted before it.
fn back(insn: &Instruction, segment: &Segment, step: &Step, depth: &mut usize, wanted: &mut Places) {
    let frame = &mut wanted.frames[*depth];
    match *insn {
        Instruction::Alu {
            op: AluOp::Mov,
            dst,
            src,
            ..
        } => {
            if frame.take(dst) {
                frame.want(src);
            }
        }
        Instruction::Alu { dst, src, .. } => {
            if frame.has(dst) {
                frame.want(src);
            }
        }
        Instruction::MovSx { dst, src, .. } | Instruction::AddrSpaceCast { dst, src, .. } => {
            if frame.take(dst) {
                frame.want(Operand::Reg(src));
            }
        }
        Instruction::Neg { .. } | Instruction::End { .. } => {}
        Instruction::LoadImm64 { dst, .. } => drop(frame.take(dst)),
        Instruction::Load { dst, .. } | Instruction::LoadAcquire { dst, .. } => {
            if let (true, Effect::Spill(from)) = (frame.take(dst), step.effect) {
                wanted.frames[usize::from(from.frame)].slots |= 1 << from.slot;
            }
        }
        Instruction::Store { src, .. } => spilled(step, src, *depth, wanted),
        Instruction::StoreRelease { src, .. } => spilled(step, Operand::Reg(src), *depth, wanted),
        Instruction::Atomic { op, src, .. } => {
            let fetched = match op {
                AtomicOp::CmpXchg => frame.take(Reg::R0),
                op => op.fetches() && frame.take(src),
            };
            if let (true, Effect::Spill(from)) = (fetched, step.effect) {
                wanted.frames[usize::from(from.frame)].slots |= 1 << from.slot;
            }
        }
        Instruction::Jump { dst, src, .. } => {
            if let Some(linked) = segment.linked(step).filter(|linked| wanted.meets(linked)) {
                wanted.add(linked);
            }
            let frame = &mut wanted.frames[*depth];
            let wants_src = matches!(src, Operand::Reg(src) if frame.has(src));
            if frame.has(dst) || wants_src {
                frame.want(Operand::Reg(dst));
                frame.want(src);
            }
        }
        Instruction::Call(CallTarget::Subprog(_)) => {
            let arguments = frame.regs & ARGUMENTS;
            *frame = FramePlaces::default();
            *depth -= 1;
            wanted.frames[*depth].regs |= arguments;
        }
        // The helper takes the result, and the caller finds what it gave to the helper.
        Instruction::Exit if step.effect == Effect::Callback => {
            *depth += 1;
            wanted.frames[*depth] = FramePlaces::default();
        }
        Instruction::Exit => {
            let result = frame.take(Reg::R0);
            *depth += 1;
            wanted.frames[*depth] = FramePlaces {
                regs: u16::from(result),
                slots: 0,
            };
        }
        // Another program returned for the frame.
        Instruction::Call(_) if step.effect == Effect::Replaced => {
            frame.take(Reg::R0);
            *depth += 1;
        }
        // The one number that a callback may get from the caller is the NULL in the place of a pointer to the stack.
        Instruction::Call(_) if step.effect == Effect::Callback => {
            let arguments = frame.regs & ARGUMENTS;
            *frame = FramePlaces::default();
            *depth -= 1;
            if arguments != 0 {
                wanted.frames[*depth].want(Operand::Reg(Reg::R3));
            }
        }
        Instruction::Call(_) => drop(frame.take(Reg::R0)),
        Instruction::LoadPacket { .. } => drop(frame.take(Reg::R0)),
        Instruction::Goto { .. } | Instruction::MayGoto { .. } => {}
    }
}

/// A number wanted in the slot that it was spilled to is wanted in the register that it came from.
fn spilled(step: &Step, src: Operand, depth: usize, wanted: &mut Places) {
    if let Effect::Spill(to) = step.effect {
        let slots = &mut wanted.frames[usize::from(to.frame)].slots;
        let had = *slots & 1 << to.slot != 0;
        *slots &= !(1 << to.slot);
        if had {
            wanted.frames[depth].want(src);
        }
    }
}

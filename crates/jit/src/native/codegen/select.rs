//! Choices without jumps.
//!
//! BPF has no conditional move, so clang makes `x = a ? b : c` a jump over a move. A processor that guesses such a jump wrongly
//! loses more time than both sides take. Where both sides of a jump come to the same place after few cheap operations on
//! registers, both are done, and the registers that differ are selected.

use cranelift_codegen::ir::{InstBuilder, Value};
use hitless_isa::{AluOp, Instruction, Reg};

use super::function::Translator;
use crate::Op;

/// How many operations are done that need not be, and how many registers may differ.
const MAX_OPS: usize = 8;
const MAX_REGS: u32 = 3;

impl Translator<'_> {
    /// Does both sides of the conditional jump at `index`, if that is cheap. Returns the operation to go on with.
    pub(super) fn selected(&mut self, index: usize) -> Result<Option<usize>, String> {
        let Some((taken, next)) = self.ways(index) else {
            return Ok(None);
        };
        for join in [Some(taken), self.end_of(next), self.end_of(taken)]
            .into_iter()
            .flatten()
        {
            let (mut left, mut regs) = (MAX_OPS, 0);
            if join != next && self.is_cheap(index, join, &mut left, &mut regs) && regs.count_ones() <= MAX_REGS {
                self.both(index, join, regs)?;
                return Ok(Some(join));
            }
        }
        Ok(None)
    }

    /// Where a conditional jump goes.
    fn ways(&self, index: usize) -> Option<(usize, usize)> {
        match self.program.image.ops[index] {
            Op::Insn(Instruction::Jump { off, .. }) if self.branch_of(index).is_none() => {
                Some(((index + 1).checked_add_signed(off as isize)?, index + 1))
            }
            _ => None,
        }
    }

    /// Where a goto goes.
    fn goto(&self, index: usize) -> Option<usize> {
        match self.program.image.ops[index] {
            Op::Insn(Instruction::Goto { off, .. }) => (index + 1).checked_add_signed(off as isize),
            _ => None,
        }
    }

    /// Where the operations from `index` on go to after some that are simple.
    fn end_of(&self, index: usize) -> Option<usize> {
        let ops = (index..self.body.ops.end).take(MAX_OPS);
        for index in ops {
            if let Some(target) = self.goto(index) {
                return Some(target);
            }
            if self.ways(index).is_none() && self.cheap(index).is_none() {
                return None;
            }
        }
        None
    }

    /// The register that an operation changes, if it does nothing else and is cheap.
    fn cheap(&self, index: usize) -> Option<Reg> {
        match self.program.image.ops[index] {
            Op::Insn(Instruction::Alu { op, dst, .. }) => match op {
                AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod | AluOp::Mul => None,
                _ => Some(dst),
            },
            Op::Insn(
                Instruction::MovSx { dst, .. } | Instruction::Neg { dst, .. } | Instruction::LoadImm64 { dst, .. },
            ) => Some(dst),
            _ => None,
        }
    }

    /// Whether every way from `index` leads to `join`, over operations that are cheap and not too many. Counts them, and notes
    /// the registers that they change.
    fn is_cheap(&self, mut index: usize, join: usize, left: &mut usize, regs: &mut u16) -> bool {
        let first = index;
        while index != join || index == first {
            if !self.body.ops.contains(&index) || *left == 0 {
                return false;
            }
            if let Some(target) = self.goto(index) {
                // Nothing but the join may be behind.
                if target <= index && target != join {
                    return false;
                }
                index = target;
                continue;
            }
            *left -= 1;
            if let Some((taken, next)) = self.ways(index) {
                return [taken, next]
                    .into_iter()
                    .all(|way| way == join || way > index && self.is_cheap_from(way, join, left, regs));
            }
            let Some(reg) = self.cheap(index) else {
                return false;
            };
            *regs |= 1 << reg.index();
            index += 1;
        }
        true
    }

    fn is_cheap_from(&self, index: usize, join: usize, left: &mut usize, regs: &mut u16) -> bool {
        index == join || self.is_cheap(index, join, left, regs)
    }

    /// Does both sides of a jump, and selects.
    fn both(&mut self, index: usize, join: usize, regs: u16) -> Result<(), String> {
        let Some((taken, next)) = self.ways(index) else {
            return Ok(());
        };
        let holds = self.condition(index);
        let before = self.values(regs);
        self.one(taken, join, regs)?;
        let if_taken = self.values(regs);
        self.put(regs, &before);
        self.one(next, join, regs)?;
        let if_not = self.values(regs);
        for ((reg, a), b) in registers(regs).zip(if_taken).zip(if_not) {
            if a != b {
                let value = self.builder.ins().select(holds, a, b);
                self.set(reg, value);
            }
        }
        Ok(())
    }

    /// Does the operations from `index` to `join`.
    fn one(&mut self, mut index: usize, join: usize, regs: u16) -> Result<(), String> {
        while index != join {
            if let Some(target) = self.goto(index) {
                index = target;
            } else if self.ways(index).is_some() {
                return self.both(index, join, regs);
            } else {
                self.operation(index)?;
                index += 1;
            }
        }
        Ok(())
    }

    fn values(&mut self, regs: u16) -> Vec<Value> {
        registers(regs).map(|reg| self.get(reg)).collect()
    }

    fn put(&mut self, regs: u16, values: &[Value]) {
        for (reg, value) in registers(regs).zip(values) {
            self.set(reg, *value);
        }
    }
}

fn registers(regs: u16) -> impl Iterator<Item = Reg> {
    (0..11u8).filter(move |n| regs & 1 << n != 0).filter_map(Reg::new)
}

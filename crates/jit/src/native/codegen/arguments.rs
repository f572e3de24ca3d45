//! How many arguments each subprogram is passed.

use std::ops::Range;

use hitless_isa::{AluOp, CallTarget, Instruction, Operand, Reg};

use crate::callee::ARGUMENTS;
use crate::{Image, Op};

/// The subprogram, by index, that a call goes to.
pub(super) fn callee(ranges: &[Range<usize>], index: usize, off: i32) -> Result<usize, String> {
    let target = (index + 1).checked_add_signed(off as isize);
    let found = ranges.iter().position(|range| Some(range.start) == target);
    found.ok_or_else(|| format!("operation {index}: a call into a subprogram"))
}

/// How many of `r1` to `r5` each subprogram is passed: up to the last that it may read. What it does not read would be kept
/// for it.
pub(super) fn arguments(image: &Image, ranges: &[Range<usize>]) -> Result<Vec<usize>, String> {
    let mut args = vec![0; ranges.len()];
    // What a subprogram reads for those that it calls is known once theirs is; chains are as long as there are subprograms.
    for _ in 0..ranges.len() {
        let before = args.clone();
        for (subprog, range) in ranges.iter().enumerate() {
            for index in range.clone() {
                let reads = match image.ops[index] {
                    Op::Insn(Instruction::Call(CallTarget::Subprog(off))) => args[callee(ranges, index, off)?],
                    Op::Call { callee, .. } | Op::TailCall { callee } => {
                        let args = image.callees[callee].args.iter();
                        args.filter_map(|arg| arg.reg()).map(Reg::index).max().unwrap_or(0)
                    }
                    Op::Insn(Instruction::Call(_)) => ARGUMENTS.len(),
                    Op::Replaced { args, .. } => args,
                    Op::Probe { base, .. } => argument(base),
                    Op::LoadPacket { index, .. } => index.map_or(0, argument),
                    Op::Insn(insn) => reads(&insn),
                    Op::RegisterPointer { base, .. } => argument(base),
                    _ => 0,
                };
                args[subprog] = args[subprog].max(reads.min(ARGUMENTS.len()));
            }
        }
        if args == before {
            break;
        }
    }
    // What the engine passes, or the program whose function this one takes the place of.
    args[0] = image.arguments.min(ARGUMENTS.len());
    Ok(args)
}

/// The number of a register of arguments, or 0.
fn argument(reg: Reg) -> usize {
    if ARGUMENTS.contains(&reg) { reg.index() } else { 0 }
}

/// The greatest of `r1` to `r5` that an instruction other than a call reads; 0 if it reads none.
fn reads(insn: &Instruction) -> usize {
    let operand = |operand: Operand| match operand {
        Operand::Reg(reg) => argument(reg),
        Operand::Imm(_) => 0,
    };
    match *insn {
        Instruction::Alu {
            op: AluOp::Mov, src, ..
        } => operand(src),
        Instruction::Alu { dst, src, .. } | Instruction::Jump { dst, src, .. } => argument(dst).max(operand(src)),
        Instruction::MovSx { src, .. } | Instruction::AddrSpaceCast { src, .. } => argument(src),
        Instruction::Neg { dst, .. } | Instruction::End { dst, .. } => argument(dst),
        Instruction::Load { base, .. } | Instruction::LoadAcquire { base, .. } => argument(base),
        Instruction::Store { base, src, .. } => argument(base).max(operand(src)),
        Instruction::StoreRelease { base, src, .. } | Instruction::Atomic { base, src, .. } => {
            argument(base).max(argument(src))
        }
        Instruction::LoadImm64 { .. }
        | Instruction::LoadPacket { .. }
        | Instruction::Goto { .. }
        | Instruction::MayGoto { .. }
        | Instruction::Call(_)
        | Instruction::Exit => 0,
    }
}

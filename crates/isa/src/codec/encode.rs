//! Instructions to slots.

use super::pseudo;
use crate::opcode::{self, ADDR_SPACE_CAST, Form, LOAD_ACQUIRE, STORE_RELEASE};
use crate::{AluOp, CallTarget, Imm64, Insn, Instruction, Operand, Reg, Size, Width};

/// Encodes an instruction: one slot, or two for a wide immediate.
///
/// # Panics
/// If the instruction cannot be written down: a jump offset that does not fit its field (16 bits, or 32 for a long
/// [`Instruction::Goto`]), or an access size or a number of bits that the operation does not have.
#[must_use]
pub fn encode(instruction: &Instruction) -> Vec<Insn> {
    let mut slots = vec![Insn::default()];
    let insn = &mut slots[0];
    let form = match *instruction {
        Instruction::Alu { width, op, dst, src } => {
            insn.dst = dst.number();
            let reg = set_operand(insn, src);
            match opcode::SIGNED.iter().find(|(_, signed)| *signed == op) {
                Some(&(op, _)) => {
                    insn.off = 1;
                    Form::Alu { width, op, reg }
                }
                None => Form::Alu { width, op, reg },
            }
        }
        Instruction::MovSx { width, bits, dst, src } => {
            assert!(
                matches!(bits, 8 | 16) || bits == 32 && width == Width::W64,
                "no move extends {bits} bits"
            );
            (insn.dst, insn.src, insn.off) = (dst.number(), src.number(), bits.into());
            Form::Alu {
                width,
                op: AluOp::Mov,
                reg: true,
            }
        }
        Instruction::AddrSpaceCast { dst, src, to_arena } => {
            (insn.dst, insn.src, insn.off) = (dst.number(), src.number(), ADDR_SPACE_CAST);
            insn.imm = if to_arena { 1 << 16 } else { 1 };
            Form::Alu {
                width: Width::W64,
                op: AluOp::Mov,
                reg: true,
            }
        }
        Instruction::Neg { width, dst } => {
            insn.dst = dst.number();
            Form::Neg(width)
        }
        Instruction::End { op, bits, dst } => {
            assert!(matches!(bits, 16 | 32 | 64), "no conversion of {bits} bits");
            (insn.dst, insn.imm) = (dst.number(), bits.into());
            Form::End(op)
        }
        Instruction::LoadImm64 { dst, imm } => {
            let (kind, low, high) = wide_fields(imm);
            (insn.dst, insn.src, insn.imm) = (dst.number(), kind, low);
            slots.push(Insn {
                imm: high,
                ..Insn::default()
            });
            Form::LoadImm64
        }
        Instruction::Load {
            size,
            signed,
            dst,
            base,
            off,
        } => {
            assert!(!(signed && size == Size::Dw), "no load extends 64 bits");
            (insn.dst, insn.src, insn.off) = (dst.number(), base.number(), off);
            Form::Load { size, signed }
        }
        Instruction::Store { size, base, off, src } => {
            (insn.dst, insn.off) = (base.number(), off);
            Form::Store {
                size,
                reg: set_operand(insn, src),
            }
        }
        Instruction::Atomic {
            size,
            op,
            base,
            off,
            src,
        } => {
            assert!(matches!(size, Size::W | Size::Dw), "no atomic operation on {size:?}");
            (insn.dst, insn.src, insn.off) = (base.number(), src.number(), off);
            insn.imm = opcode::find(opcode::ATOMIC, op).bits.into();
            Form::Atomic(size)
        }
        Instruction::LoadAcquire { size, dst, base, off } => {
            (insn.dst, insn.src, insn.off, insn.imm) = (dst.number(), base.number(), off, LOAD_ACQUIRE);
            Form::Atomic(size)
        }
        Instruction::StoreRelease { size, base, off, src } => {
            (insn.dst, insn.src, insn.off, insn.imm) = (base.number(), src.number(), off, STORE_RELEASE);
            Form::Atomic(size)
        }
        Instruction::LoadPacket { size, index, imm } => {
            assert!(size != Size::Dw, "no packet access of 64 bits");
            (insn.src, insn.imm) = (index.map_or(0, Reg::number), imm);
            Form::LoadPacket {
                size,
                indexed: index.is_some(),
            }
        }
        Instruction::Jump {
            width,
            cond,
            dst,
            src,
            off,
        } => {
            (insn.dst, insn.off) = (dst.number(), short(off));
            Form::Jump {
                width,
                cond,
                reg: set_operand(insn, src),
            }
        }
        Instruction::Goto { long, off } => {
            if long {
                insn.imm = off;
            } else {
                insn.off = short(off);
            }
            Form::Goto { long }
        }
        Instruction::MayGoto { off } => {
            insn.off = short(off);
            Form::MayGoto
        }
        Instruction::Call(target) => {
            match target {
                CallTarget::Helper(id) => (insn.src, insn.imm) = (pseudo::CALL_HELPER, id.cast_signed()),
                CallTarget::Subprog(off) => (insn.src, insn.imm) = (pseudo::CALL_SUBPROG, off),
                CallTarget::Kfunc { id, fd_idx } => {
                    (insn.src, insn.off, insn.imm) = (pseudo::CALL_KFUNC, fd_idx, id);
                }
                CallTarget::Register(reg) => insn.dst = reg.number(),
            }
            Form::Call {
                reg: matches!(target, CallTarget::Register(_)),
            }
        }
        Instruction::Exit => Form::Exit,
    };
    slots[0].code = opcode::code(form);
    slots
}

/// Kind and both halves of a wide immediate.
fn wide_fields(imm: Imm64) -> (u8, i32, i32) {
    match imm {
        Imm64::Value(value) => {
            let halves = [value, value >> 32].map(|half| (half & u64::from(u32::MAX)) as u32);
            (pseudo::VALUE, halves[0].cast_signed(), halves[1].cast_signed())
        }
        Imm64::MapFd(fd) => (pseudo::MAP_FD, fd, 0),
        Imm64::MapValueFd { fd, off } => (pseudo::MAP_VALUE, fd, off.cast_signed()),
        Imm64::BtfId { id, fd } => (pseudo::BTF_ID, id, fd),
        Imm64::Func(off) => (pseudo::FUNC, off, 0),
        Imm64::MapIdx(index) => (pseudo::MAP_IDX, index.cast_signed(), 0),
        Imm64::MapValueIdx { index, off } => (pseudo::MAP_IDX_VALUE, index.cast_signed(), off.cast_signed()),
    }
}

fn short(off: i32) -> i16 {
    i16::try_from(off).expect("the jump offset fits 16 bits")
}

fn set_operand(insn: &mut Insn, operand: Operand) -> bool {
    match operand {
        Operand::Reg(reg) => insn.src = reg.number(),
        Operand::Imm(imm) => insn.imm = imm,
    }
    matches!(operand, Operand::Reg(_))
}

//! Slots to instructions.

use super::pseudo;
use crate::opcode::{self, ADDR_SPACE_CAST, Form, LOAD_ACQUIRE, STORE_RELEASE, TABLE};
use crate::{AluOp, CallTarget, DecodeError, Imm64, Insn, Instruction, Operand, Reg, Size, Width};

/// Decodes the instruction at slot `pc`.
///
/// # Errors
/// [`DecodeError`] if the slots there are no instruction.
pub fn decode(insns: &[Insn], pc: usize) -> Result<Instruction, DecodeError> {
    let len = insns.len();
    let insn = *insns.get(pc).ok_or(DecodeError::PastEnd { pc, len })?;
    let form = TABLE[usize::from(insn.code)].ok_or(DecodeError::UnknownOpcode { code: insn.code })?;
    match form {
        Form::Alu { width, op, reg } => decode_alu(insn, width, op, reg),
        Form::Neg(width) => {
            unused(insn, insn.src == 0 && insn.off == 0 && insn.imm == 0)?;
            Ok(Instruction::Neg {
                width,
                dst: reg(insn.dst)?,
            })
        }
        Form::End(op) => {
            unused(insn, insn.src == 0 && insn.off == 0)?;
            let bits = match insn.imm {
                16 => 16,
                32 => 32,
                64 => 64,
                _ => return Err(DecodeError::ReservedField { code: insn.code }),
            };
            Ok(Instruction::End {
                op,
                bits,
                dst: reg(insn.dst)?,
            })
        }
        Form::Jump {
            width,
            cond,
            reg: by_reg,
        } => Ok(Instruction::Jump {
            width,
            cond,
            dst: reg(insn.dst)?,
            src: operand(insn, by_reg)?,
            off: insn.off.into(),
        }),
        Form::Goto { long } => {
            let idle = if long { insn.off == 0 } else { insn.imm == 0 };
            unused(insn, insn.dst == 0 && insn.src == 0 && idle)?;
            Ok(Instruction::Goto {
                long,
                off: if long { insn.imm } else { insn.off.into() },
            })
        }
        Form::MayGoto => {
            if insn.dst != 0 || insn.src != 0 || insn.imm != 0 {
                return Err(DecodeError::InvalidMayGoto { imm: insn.imm });
            }
            Ok(Instruction::MayGoto { off: insn.off.into() })
        }
        Form::Call { reg } => decode_call(insn, reg),
        Form::Exit => {
            unused(insn, insn.dst == 0 && insn.src == 0 && insn.off == 0 && insn.imm == 0)?;
            Ok(Instruction::Exit)
        }
        Form::LoadImm64 => decode_wide(insn, insns.get(pc + 1).copied()),
        Form::LoadPacket { size, indexed } => {
            unused(insn, insn.dst == 0 && insn.off == 0 && (indexed || insn.src == 0))?;
            let index = if indexed { Some(reg(insn.src)?) } else { None };
            Ok(Instruction::LoadPacket {
                size,
                index,
                imm: insn.imm,
            })
        }
        Form::Load { size, signed } => {
            unused(insn, insn.imm == 0)?;
            Ok(Instruction::Load {
                size,
                signed,
                dst: reg(insn.dst)?,
                base: reg(insn.src)?,
                off: insn.off,
            })
        }
        Form::Store { size, reg: by_reg } => Ok(Instruction::Store {
            size,
            base: reg(insn.dst)?,
            off: insn.off,
            src: operand(insn, by_reg)?,
        }),
        Form::Atomic(size) => decode_atomic(insn, size),
    }
}

fn decode_alu(insn: Insn, width: Width, op: AluOp, by_reg: bool) -> Result<Instruction, DecodeError> {
    if let (Width::W64, AluOp::Mov, true, ADDR_SPACE_CAST) = (width, op, by_reg, insn.off) {
        let to_arena = match insn.imm {
            1 => false,
            0x1_0000 => true,
            imm => return Err(DecodeError::InvalidAddrSpaceCast { imm }),
        };
        let (dst, src) = (reg(insn.dst)?, reg(insn.src)?);
        return Ok(Instruction::AddrSpaceCast { dst, src, to_arena });
    }
    let (dst, src) = (reg(insn.dst)?, operand(insn, by_reg)?);
    let signed = || {
        opcode::SIGNED
            .iter()
            .find(|(base, _)| *base == op)
            .map(|(_, signed)| *signed)
    };
    match (insn.off, src) {
        (0, _) => Ok(Instruction::Alu { width, op, dst, src }),
        (bits @ (8 | 16 | 32), Operand::Reg(src)) if op == AluOp::Mov && (bits != 32 || width == Width::W64) => {
            let bits = bits.to_le_bytes()[0];
            Ok(Instruction::MovSx { width, bits, dst, src })
        }
        (1, _) => match signed() {
            Some(op) => Ok(Instruction::Alu { width, op, dst, src }),
            None => Err(DecodeError::ReservedField { code: insn.code }),
        },
        _ => Err(DecodeError::ReservedField { code: insn.code }),
    }
}

fn decode_call(insn: Insn, by_reg: bool) -> Result<Instruction, DecodeError> {
    if by_reg {
        // To the kernel this is no opcode at all.
        if insn.src != 0 || insn.off != 0 || insn.imm != 0 {
            return Err(DecodeError::UnknownOpcode { code: insn.code });
        }
        return Ok(Instruction::Call(CallTarget::Register(reg(insn.dst)?)));
    }
    unused(insn, insn.dst == 0 && (insn.off == 0 || insn.src == pseudo::CALL_KFUNC))?;
    let target = match insn.src {
        pseudo::CALL_HELPER => CallTarget::Helper(insn.imm.cast_unsigned()),
        pseudo::CALL_SUBPROG => CallTarget::Subprog(insn.imm),
        pseudo::CALL_KFUNC => CallTarget::Kfunc {
            id: insn.imm,
            fd_idx: insn.off,
        },
        _ => return Err(DecodeError::ReservedField { code: insn.code }),
    };
    Ok(Instruction::Call(target))
}

fn decode_wide(insn: Insn, second: Option<Insn>) -> Result<Instruction, DecodeError> {
    let high = match second {
        Some(Insn {
            code: 0,
            dst: 0,
            src: 0,
            off: 0,
            imm,
        }) => imm,
        _ => return Err(DecodeError::InvalidWide),
    };
    unused(insn, insn.off == 0)?;
    let dst = reg(insn.dst)?;
    let (low, off) = (insn.imm, high.cast_unsigned());
    let imm = match insn.src {
        pseudo::VALUE => Imm64::Value(u64::from(low.cast_unsigned()) | u64::from(off) << 32),
        pseudo::MAP_VALUE => Imm64::MapValueFd { fd: low, off },
        pseudo::MAP_IDX_VALUE => Imm64::MapValueIdx {
            index: low.cast_unsigned(),
            off,
        },
        pseudo::MAP_FD if high == 0 => Imm64::MapFd(low),
        pseudo::BTF_ID => Imm64::BtfId { id: low, fd: high },
        pseudo::FUNC if high == 0 => Imm64::Func(low),
        pseudo::MAP_IDX if high == 0 => Imm64::MapIdx(low.cast_unsigned()),
        kind => return Err(DecodeError::UnrecognizedWide { kind }),
    };
    Ok(Instruction::LoadImm64 { dst, imm })
}

fn decode_atomic(insn: Insn, size: Size) -> Result<Instruction, DecodeError> {
    let (dst, src, off) = (reg(insn.dst)?, reg(insn.src)?, insn.off);
    match insn.imm {
        LOAD_ACQUIRE => Ok(Instruction::LoadAcquire {
            size,
            dst,
            base: src,
            off,
        }),
        STORE_RELEASE => Ok(Instruction::StoreRelease {
            size,
            base: dst,
            off,
            src,
        }),
        imm => {
            let row = opcode::ATOMIC.iter().find(|row| i32::from(row.bits) == imm);
            let row = row.ok_or(DecodeError::InvalidAtomic { imm })?;
            if !matches!(size, Size::W | Size::Dw) {
                return Err(DecodeError::InvalidAtomicSize { size });
            }
            Ok(Instruction::Atomic {
                size,
                op: row.op,
                base: dst,
                off,
                src,
            })
        }
    }
}

fn reg(number: u8) -> Result<Reg, DecodeError> {
    Reg::new(number).ok_or(DecodeError::InvalidRegister { number })
}

fn unused(insn: Insn, holds: bool) -> Result<(), DecodeError> {
    if holds {
        Ok(())
    } else {
        Err(DecodeError::ReservedField { code: insn.code })
    }
}

/// The second operand; the field of the other kind must be zero.
fn operand(insn: Insn, by_reg: bool) -> Result<Operand, DecodeError> {
    if by_reg {
        unused(insn, insn.imm == 0)?;
        Ok(Operand::Reg(reg(insn.src)?))
    } else {
        unused(insn, insn.src == 0)?;
        Ok(Operand::Imm(insn.imm))
    }
}

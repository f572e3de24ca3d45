//! Assignments to registers: most of the instruction set.

use super::AsmErrorKind as Kind;
use super::cursor::{Cursor, Parsed};
use super::parse::{Statement, Target, atomic};
use crate::opcode::{ALU, ATOMIC, END};
use crate::{AluOp, AtomicOp, Imm64, Instruction, Operand, Reg, Size, Width};

impl<'a> Cursor<'a> {
    /// Everything that starts with a register.
    pub(super) fn assignment(&mut self) -> Parsed<Statement<'a>> {
        let (width, dst) = match self.eat_reg() {
            Some(found) => found,
            None => return self.expected("an instruction"),
        };
        let ops = ALU.iter().map(|row| (row.text, row.op));
        let Some(op) = self.eat_row(ops) else {
            return self.expected("an assignment");
        };
        let (instruction, target) = match op {
            AluOp::Mov => self.value(width, dst)?,
            _ => (
                Instruction::Alu {
                    width,
                    op,
                    dst,
                    src: self.operand(width)?,
                },
                None,
            ),
        };
        Ok(Statement { instruction, target })
    }

    fn operand(&mut self, width: Width) -> Parsed<Operand> {
        if self.rest.starts_with(['r', 'w']) {
            Ok(Operand::Reg(self.reg(width)?))
        } else {
            Ok(Operand::Imm(self.imm()?))
        }
    }

    /// The right-hand side of a plain `=`.
    fn value(&mut self, width: Width, dst: Reg) -> Parsed<(Instruction, Option<Target<'a>>)> {
        if self.rest.starts_with("-r") || self.rest.starts_with("-w") {
            self.need("-")?;
            self.same_reg(width, dst)?;
            return Ok((Instruction::Neg { width, dst }, None));
        }
        if self.eat("(s") {
            let bits: u8 = self.number_in("a number of bits")?;
            self.need(")")?;
            let src = self.reg(width)?;
            if !matches!((width, bits), (_, 8 | 16) | (Width::W64, 32)) {
                return Err(Kind::NoSuchOperation {
                    what: "sign extension of that width",
                });
            }
            return Ok((Instruction::MovSx { width, bits, dst, src }, None));
        }
        if width == Width::W64
            && let Some(found) = self.wide_value(dst)?
        {
            return Ok(found);
        }
        if self.rest.starts_with(['r', 'w']) {
            let src = Operand::Reg(self.reg(width)?);
            return Ok((
                Instruction::Alu {
                    width,
                    op: AluOp::Mov,
                    dst,
                    src,
                },
                None,
            ));
        }
        let before = self.rest;
        let value = self.number()?;
        let hexadecimal = before.trim_start_matches(['+', '-']).starts_with("0x");
        if width == Width::W64 && (self.eat_word("ll") || hexadecimal) {
            let imm = u64::try_from(value).or_else(|_| i64::try_from(value).map(i64::cast_unsigned));
            let imm = imm.map_err(|_| Kind::OutOfRange {
                value,
                field: "an immediate of 64 bits",
            })?;
            return Ok((
                Instruction::LoadImm64 {
                    dst,
                    imm: Imm64::Value(imm),
                },
                None,
            ));
        }
        self.rest = before;
        Ok((
            Instruction::Alu {
                width,
                op: AluOp::Mov,
                dst,
                src: Operand::Imm(self.imm()?),
            },
            None,
        ))
    }

    /// What only a whole register can be set to: memory, maps, subprograms, other byte orders.
    fn wide_value(&mut self, dst: Reg) -> Parsed<Option<(Instruction, Option<Target<'a>>)>> {
        let instruction = if self.eat("*(") {
            let (size, signed) = self.size()?;
            if self.eat_word("skb") {
                self.packet(size, signed, dst)?
            } else {
                let (base, off) = self.address()?;
                Instruction::Load {
                    size,
                    signed,
                    dst,
                    base,
                    off,
                }
            }
        } else if self.eat_word("addr_space_cast") {
            self.addr_space_cast(dst)?
        } else if self.eat_word("load_acquire") {
            let (size, base, off) = self.cell_argument()?;
            self.need(")")?;
            Instruction::LoadAcquire { size, dst, base, off }
        } else if self.eat("atomic64_") {
            self.fetch(Size::Dw, dst)?
        } else if self.eat("atomic_") {
            self.fetch(Size::W, dst)?
        } else if self.eat("map[") {
            Instruction::LoadImm64 { dst, imm: self.map()? }
        } else if self.eat("btf_id[") {
            let mut fd = 0;
            if self.eat("fd:") {
                fd = self.imm()?;
                self.need("]")?;
                self.need("[")?;
            }
            let imm = Imm64::BtfId { id: self.imm()?, fd };
            self.need("]")?;
            Instruction::LoadImm64 { dst, imm }
        } else if self.eat("subprog[") {
            let target = match self.rest.starts_with(['+', '-']) {
                true => Target::Relative(self.number_in("an offset of 32 bits")?),
                false => Target::Label(self.name("an offset or a label")?),
            };
            self.need("]")?;
            return Ok(Some((
                Instruction::LoadImm64 {
                    dst,
                    imm: Imm64::Func(0),
                },
                Some(target),
            )));
        } else if let Some(op) = self.eat_row(END.iter().map(|row| (row.text, row.op))) {
            let bits: u8 = self.number_in("a number of bits")?;
            if !matches!(bits, 16 | 32 | 64) {
                return Err(Kind::NoSuchOperation {
                    what: "byte order of that width",
                });
            }
            self.same_reg(Width::W64, dst)?;
            Instruction::End { op, bits, dst }
        } else {
            return Ok(None);
        };
        Ok(Some((instruction, None)))
    }

    /// `(src, to, from)`.
    fn addr_space_cast(&mut self, dst: Reg) -> Parsed<Instruction> {
        self.need("(")?;
        let src = self.full_reg()?;
        self.need(",")?;
        let to = self.number()?;
        self.need(",")?;
        let from = self.number()?;
        self.need(")")?;
        let to_arena = match (to, from) {
            (0, 1) => false,
            (1, 0) => true,
            _ => {
                return Err(Kind::NoSuchOperation {
                    what: "cast between these address spaces, only from 0 to 1 and from 1 to 0",
                });
            }
        };
        Ok(Instruction::AddrSpaceCast { dst, src, to_arena })
    }

    /// `[imm]` or `[index + imm]`.
    fn packet(&mut self, size: Size, signed: bool, dst: Reg) -> Parsed<Instruction> {
        if signed || size == Size::Dw || dst != Reg::R0 {
            return Err(Kind::NoSuchOperation {
                what: "packet access of that size and destination",
            });
        }
        self.need("[")?;
        let index = self.eat_reg().map(|(_, reg)| reg);
        if index.is_some() {
            self.need("+")?;
        }
        let imm = self.imm()?;
        self.need("]")?;
        Ok(Instruction::LoadPacket { size, index, imm })
    }

    /// An atomic operation that fetches, after `atomic_`.
    fn fetch(&mut self, size: Size, dst: Reg) -> Parsed<Instruction> {
        let ops = ATOMIC
            .iter()
            .filter(|row| row.op.fetches())
            .map(|row| (row.text, row.op));
        let Some(op) = self.eat_row(ops) else {
            return self.expected("an atomic operation");
        };
        let (found, base, off) = self.cell_argument()?;
        self.need(",")?;
        if op == AtomicOp::CmpXchg {
            self.same_reg(Width::W64, Reg::R0)?;
            self.need(",")?;
        }
        let before = self.rest;
        let src = self.full_reg()?;
        if dst != (if op == AtomicOp::CmpXchg { Reg::R0 } else { src }) {
            self.rest = before;
            return self.expected("the register that receives the old value");
        }
        self.need(")")?;
        if found != size {
            return Err(Kind::NoSuchOperation {
                what: "atomic operation of that name and size",
            });
        }
        atomic(size, op, base, off, src)
    }

    /// `fd:N]`, `id:N]` or `idx:N]`; of a value `fd:N][0]+off` or `idx:N]+off`.
    fn map(&mut self) -> Parsed<Imm64> {
        // The kernel shows a map's id where its descriptor was.
        let by_fd = self.eat("fd:") || self.eat("id:");
        if !by_fd {
            self.need("idx:")?;
        }
        let number = self.number()?;
        self.need("]")?;
        // The first and only element; what is given by index does without.
        let value = self.eat("[0]") || !by_fd && self.rest.starts_with('+');
        let off = if value {
            Some(self.number_in("an offset of 32 bits")?)
        } else {
            None
        };
        let out_of_range = |_| Kind::OutOfRange {
            value: number,
            field: "a map number",
        };
        let imm = if by_fd {
            let fd = i32::try_from(number).map_err(out_of_range)?;
            off.map_or(Imm64::MapFd(fd), |off| Imm64::MapValueFd { fd, off })
        } else {
            let index = u32::try_from(number).map_err(out_of_range)?;
            off.map_or(Imm64::MapIdx(index), |off| Imm64::MapValueIdx { index, off })
        };
        Ok(imm)
    }
}

//! From a line of text to a statement.

use super::AsmErrorKind as Kind;
use super::cursor::{Cursor, Parsed, is_name};
use crate::disasm::KFUNC;
use crate::opcode::{ATOMIC, COND};
use crate::{AtomicOp, CallTarget, Instruction, Operand, Reg, Size, Width};

/// A line, taken apart.
pub(super) struct Line<'a> {
    pub(super) labels: Vec<&'a str>,
    pub(super) statement: Option<Statement<'a>>,
}

/// An instruction, and where it leads if that is still open.
pub(super) struct Statement<'a> {
    pub(super) instruction: Instruction,
    pub(super) target: Option<Target<'a>>,
}

/// Where a jump or a call leads.
pub(super) enum Target<'a> {
    /// `pc+N`.
    Relative(i32),
    /// A label.
    Label(&'a str),
}

pub(super) fn line(source: &str) -> Parsed<Line<'_>> {
    let code = source
        .split(';')
        .next()
        .unwrap_or_default()
        .split("//")
        .next()
        .unwrap_or_default();
    let mut c = Cursor { rest: code.trim() };
    c.skip_listing_prefix();
    let mut labels = Vec::new();
    while let Some((name, rest)) = c.rest.split_once(':') {
        let name = name.trim();
        if !is_name(name) {
            break;
        }
        labels.push(name);
        c.rest = rest.trim_start();
    }
    if c.rest.is_empty() {
        return Ok(Line {
            labels,
            statement: None,
        });
    }
    let statement = c.statement()?;
    if !c.rest.is_empty() {
        return c.expected("the end of the line");
    }
    Ok(Line {
        labels,
        statement: Some(statement),
    })
}

impl<'a> Cursor<'a> {
    /// `pc+N` or a label.
    pub(super) fn target(&mut self) -> Parsed<Target<'a>> {
        match self.rest.strip_prefix("pc") {
            Some(rest) if rest.starts_with(['+', '-']) => {
                self.rest = rest;
                Ok(Target::Relative(self.number_in("an offset of 32 bits")?))
            }
            _ => Ok(Target::Label(self.name("pc+N or a label")?)),
        }
    }

    fn statement(&mut self) -> Parsed<Statement<'a>> {
        let plain = |instruction| Statement {
            instruction,
            target: None,
        };
        let open = |instruction, target| Statement {
            instruction,
            target: Some(target),
        };
        if self.eat_word("exit") {
            Ok(plain(Instruction::Exit))
        } else if self.eat_word("goto") {
            Ok(open(Instruction::Goto { long: false, off: 0 }, self.target()?))
        } else if self.eat_word("gotol") {
            Ok(open(Instruction::Goto { long: true, off: 0 }, self.target()?))
        } else if self.eat_word("may_goto") {
            Ok(open(Instruction::MayGoto { off: 0 }, self.target()?))
        } else if self.eat_word("if") {
            let instruction = self.condition()?;
            Ok(open(instruction, self.target()?))
        } else if self.eat_word("callx") {
            Ok(plain(Instruction::Call(CallTarget::Register(self.full_reg()?))))
        } else if self.eat_word("call") {
            self.call()
        } else if self.eat_word("lock") {
            Ok(plain(self.lock()?))
        } else if self.eat_word("store_release") {
            let (size, base, off) = self.cell_argument()?;
            self.need(",")?;
            let src = self.full_reg()?;
            self.need(")")?;
            Ok(plain(Instruction::StoreRelease { size, base, off, src }))
        } else if self.eat("*(") {
            let size = self.unsigned_size()?;
            let (base, off) = self.address()?;
            self.need("=")?;
            let src = match self.eat_reg() {
                Some((Width::W64, reg)) => Operand::Reg(reg),
                _ => Operand::Imm(self.imm()?),
            };
            Ok(plain(Instruction::Store { size, base, off, src }))
        } else {
            self.assignment()
        }
    }

    fn condition(&mut self) -> Parsed<Instruction> {
        let (width, dst) = self.any_reg()?;
        let conds = COND.iter().map(|row| (row.text, row.op));
        let Some(cond) = self.eat_row(conds) else {
            return self.expected("a comparison");
        };
        let src = if self.rest.starts_with(['r', 'w']) {
            Operand::Reg(self.reg(width)?)
        } else {
            // The disassembler writes immediates of jumps as unsigned 32-bit numbers.
            let value = self.number()?;
            let signed = i32::try_from(value).or_else(|_| u32::try_from(value).map(u32::cast_signed));
            Operand::Imm(signed.map_err(|_| Kind::OutOfRange {
                value,
                field: "an immediate of 32 bits",
            })?)
        };
        self.need("goto")?;
        Ok(Instruction::Jump {
            width,
            cond,
            dst,
            src,
            off: 0,
        })
    }

    fn call(&mut self) -> Parsed<Statement<'a>> {
        let before = self.rest;
        let plain = |target| Statement {
            instruction: Instruction::Call(target),
            target: None,
        };
        if self.eat(KFUNC) {
            self.need("#")?;
            let id = self.imm()?;
            let mut fd_idx = 0;
            if self.eat("fd_array[") {
                fd_idx = self.number_in("an index of 16 bits")?;
                self.need("]")?;
            }
            return Ok(plain(CallTarget::Kfunc { id, fd_idx }));
        }
        self.name("a helper with its number, pc+N or a label")?;
        if self.eat("#") {
            return Ok(plain(CallTarget::Helper(self.imm()?.cast_unsigned())));
        }
        self.rest = before;
        let target = self.target()?;
        Ok(Statement {
            instruction: Instruction::Call(CallTarget::Subprog(0)),
            target: Some(target),
        })
    }

    /// An atomic operation that fetches nothing.
    fn lock(&mut self) -> Parsed<Instruction> {
        self.need("*")?;
        self.need("(")?;
        let size = self.unsigned_size()?;
        let (base, off) = self.address()?;
        let ops = ATOMIC
            .iter()
            .filter(|row| !row.op.fetches())
            .map(|row| (row.text, row.op));
        let Some(op) = self.eat_row(ops) else {
            return self.expected("+=, |=, &= or ^=");
        };
        atomic(size, op, base, off, self.full_reg()?)
    }
}

pub(super) fn atomic(size: Size, op: AtomicOp, base: Reg, off: i16, src: Reg) -> Parsed<Instruction> {
    match size {
        Size::W | Size::Dw => Ok(Instruction::Atomic {
            size,
            op,
            base,
            off,
            src,
        }),
        Size::B | Size::H => Err(Kind::NoSuchOperation {
            what: "atomic operation of that size",
        }),
    }
}

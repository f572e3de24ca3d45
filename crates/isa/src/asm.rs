//! An assembler for the syntax that [`crate::disasm`] writes.
//!
//! One statement a line; `;` and `//` start comments; a line may begin with `name:`, and a jump, a call or `subprog[]` may
//! name a label instead of `pc+N`. The `pc: (opcode)` in front of the lines of a listing is skipped. Labels count slots,
//! like everything else, so a wide immediate moves what follows by two.
//!
//! What is assigned to a register in hexadecimal is a wide immediate, as the kernel writes it; `ll` behind a number makes
//! it one in any case, as LLVM writes it.
//!
//! ```
//! let insns = hitless_isa::asm::assemble(
//!     "       r0 = 0
//!      again: r0 += 2
//!             if r0 != 0xa goto again
//!             exit",
//! )?;
//! assert_eq!(insns.len(), 4);
//! assert_eq!(insns[2].off, -2);
//! # Ok::<(), hitless_isa::asm::AsmError>(())
//! ```

mod cursor;
mod parse;
mod value;

use std::collections::HashMap;

use crate::{CallTarget, Imm64, Insn, Instruction, encode};
use parse::{Statement, Target};

/// Why a text is no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct AsmError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub kind: AsmErrorKind,
}

/// What is wrong with a line of assembler text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AsmErrorKind {
    /// Something else was expected here.
    #[error("expected {expected}, found \"{found}\"")]
    Expected {
        /// What could have followed.
        expected: &'static str,
        /// The rest of the line.
        found: String,
    },
    /// A number that does not fit its field.
    #[error("{value} does not fit {field}")]
    OutOfRange {
        /// The number.
        value: i128,
        /// The field.
        field: &'static str,
    },
    /// An operation that the instruction set does not have in this size or width.
    #[error("there is no {what}")]
    NoSuchOperation {
        /// What was asked for.
        what: &'static str,
    },
    /// A jump to a label that no line defines.
    #[error("unknown label \"{name}\"")]
    UnknownLabel {
        /// The label.
        name: String,
    },
    /// A label that an earlier line defines.
    #[error("label \"{name}\" is defined twice")]
    DuplicateLabel {
        /// The label.
        name: String,
    },
}

/// Assembles a program.
///
/// # Errors
/// [`AsmError`] for the first line that is wrong.
pub fn assemble(text: &str) -> Result<Vec<Insn>, AsmError> {
    let mut labels = HashMap::new();
    let mut statements = Vec::new();
    let mut pc = 0;
    for (index, source) in text.lines().enumerate() {
        let at = |kind| AsmError { line: index + 1, kind };
        let line = parse::line(source).map_err(at)?;
        for name in line.labels {
            if labels.insert(name, pc).is_some() {
                return Err(at(AsmErrorKind::DuplicateLabel { name: name.to_owned() }));
            }
        }
        if let Some(statement) = line.statement {
            let start = pc;
            pc += statement.instruction.slots();
            statements.push((index + 1, start, statement));
        }
    }
    let mut insns = Vec::with_capacity(pc);
    for (line, pc, statement) in statements {
        let instruction = resolve(statement, pc, &labels).map_err(|kind| AsmError { line, kind })?;
        insns.extend(encode(&instruction));
    }
    Ok(insns)
}

/// Puts the offset of the target into an instruction that has one.
fn resolve(
    Statement {
        mut instruction,
        target,
    }: Statement<'_>,
    pc: usize,
    labels: &HashMap<&str, usize>,
) -> Result<Instruction, AsmErrorKind> {
    let relative = match target {
        None => return Ok(instruction),
        Some(Target::Relative(off)) => i128::from(off),
        Some(Target::Label(name)) => match labels.get(name) {
            // `usize` always fits. A wide immediate counts from its first slot, as the kernel does.
            Some(&to) => to as i128 - pc as i128 - 1,
            None => return Err(AsmErrorKind::UnknownLabel { name: name.to_owned() }),
        },
    };
    let out_of_range = |field| AsmErrorKind::OutOfRange { value: relative, field };
    match &mut instruction {
        Instruction::Jump { off, .. } | Instruction::MayGoto { off } | Instruction::Goto { long: false, off } => {
            *off = i16::try_from(relative)
                .map_err(|_| out_of_range("a jump offset of 16 bits"))?
                .into();
        }
        Instruction::Goto { long: true, off }
        | Instruction::Call(CallTarget::Subprog(off))
        | Instruction::LoadImm64 {
            imm: Imm64::Func(off), ..
        } => {
            *off = i32::try_from(relative).map_err(|_| out_of_range("an offset of 32 bits"))?;
        }
        _ => {}
    }
    Ok(instruction)
}

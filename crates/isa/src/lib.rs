//! The eBPF instruction set (RFC 9669), once, as a table: decode, encode, disassemble, assemble.
#![forbid(unsafe_code)]

pub mod asm;
mod codec;
pub mod disasm;
mod insn;
mod opcode;

pub use codec::{decode, encode};
pub use insn::{AluOp, AtomicOp, CallTarget, Cond, EndOp, Imm64, Insn, Instruction, Operand, Reg, Size, Width};

/// Why a slot is no instruction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The opcode byte is not assigned.
    #[error("unknown opcode {code:02x}")]
    UnknownOpcode {
        /// The opcode byte.
        code: u8,
    },
    /// A register field is above 10.
    #[error("R{number} is invalid")]
    InvalidRegister {
        /// The field's value.
        number: u8,
    },
    /// A field that the opcode does not use is not zero, or has no meaning there.
    #[error("opcode {code:02x} uses reserved fields")]
    ReservedField {
        /// The opcode byte.
        code: u8,
    },
    /// A wide immediate whose second slot is missing or malformed.
    #[error("invalid bpf_ld_imm64 insn")]
    InvalidWide,
}

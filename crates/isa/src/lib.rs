//! The eBPF instruction set (RFC 9669), once, as a table: decode, encode, disassemble, assemble.
#![forbid(unsafe_code)]

pub mod asm;
mod codec;
pub mod disasm;
mod helpers;
mod insn;
mod opcode;

pub use codec::{decode, encode};
pub use insn::{AluOp, AtomicOp, CallTarget, Cond, EndOp, Imm64, Insn, Instruction, Operand, Reg, Size, Width};

/// Why a slot is no instruction. The texts are those of the kernel's verifier.
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
    #[error("{} uses reserved fields", opcode::kernel_name(*code))]
    ReservedField {
        /// The opcode byte.
        code: u8,
    },
    /// A `may_goto` of a kind that does not exist, or with fields that it does not use.
    #[error("invalid may_goto imm {imm}")]
    InvalidMayGoto {
        /// The immediate.
        imm: i32,
    },
    /// A cast of a pointer between address spaces other than 0 and 1.
    #[error("addr_space_cast insn can only convert between address space 1 and 0")]
    InvalidAddrSpaceCast {
        /// The immediate: destination space in the upper half, source space in the lower one.
        imm: i32,
    },
    /// The immediate of an atomic operation names none.
    #[error("BPF_ATOMIC uses invalid atomic opcode {imm:02x}")]
    InvalidAtomic {
        /// The immediate.
        imm: i32,
    },
    /// An atomic read-modify-write of 1 or 2 bytes.
    #[error("invalid atomic operand size")]
    InvalidAtomicSize {
        /// Its size.
        size: Size,
    },
    /// A wide immediate whose second slot is missing or malformed.
    #[error("invalid bpf_ld_imm64 insn")]
    InvalidWide,
    /// A wide immediate of a kind that does not exist, or whose upper half has no meaning for its kind.
    #[error("unrecognized bpf_ld_imm64 insn")]
    UnrecognizedWide {
        /// The kind: the `src` field.
        kind: u8,
    },
    /// There is no slot there.
    #[error("no instruction at {pc}, the program has {len}")]
    PastEnd {
        /// The slot that was asked for.
        pc: usize,
        /// How many there are.
        len: usize,
    },
}

impl DecodeError {
    /// The kernel's errno for a program with such a slot: always `EINVAL`.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        const EINVAL: i32 = 22;
        EINVAL
    }
}

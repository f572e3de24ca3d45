//! The instruction set as a table.
//!
//! Each operation stands here once, in a row with its code and its symbol; [`TABLE`] combines the rows with classes,
//! widths and operand sources into the 256 opcodes. Decoder, encoder, disassembler and assembler all look things up
//! here and name no code of their own.

use crate::{AluOp, AtomicOp, Cond, EndOp, Size, Width};

/// What an opcode byte means, before the other fields of the slot are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// Arithmetic; for some operations `off` selects a relative (see [`SIGNED`], [`Instruction::MovSx`],
    /// [`Instruction::AddrSpaceCast`]).
    ///
    /// [`Instruction::MovSx`]: crate::Instruction::MovSx
    /// [`Instruction::AddrSpaceCast`]: crate::Instruction::AddrSpaceCast
    Alu { width: Width, op: AluOp, reg: bool },
    /// Negation.
    Neg(Width),
    /// Byte order; the width is in `imm`.
    End(EndOp),
    /// Conditional jump.
    Jump { width: Width, cond: Cond, reg: bool },
    /// Unconditional jump; `long` if the offset is in `imm`.
    Goto { long: bool },
    /// `may_goto`.
    MayGoto,
    /// Call; what is called depends on `src`, or is in the register `dst`.
    Call { reg: bool },
    /// Return.
    Exit,
    /// Wide immediate, the only form of two slots.
    LoadImm64,
    /// Legacy packet access.
    LoadPacket { size: Size, indexed: bool },
    /// Load.
    Load { size: Size, signed: bool },
    /// Store.
    Store { size: Size, reg: bool },
    /// Atomic operation, acquire or release; which one is in `imm`.
    Atomic(Size),
}

impl Form {
    /// What the kernel calls instructions of this form when it complains about them.
    pub(crate) const fn kernel_name(self) -> &'static str {
        match self {
            Form::Alu { op: AluOp::Mov, .. } => "BPF_MOV",
            Form::Alu { .. } => "BPF_ALU",
            Form::Neg(_) => "BPF_NEG",
            Form::End(_) => "BPF_END",
            Form::Jump { .. } => "BPF_JMP/JMP32",
            Form::Goto { .. } => "BPF_JA",
            Form::MayGoto => "BPF_JCOND",
            Form::Call { .. } => "BPF_CALL",
            Form::Exit => "BPF_EXIT",
            Form::LoadImm64 => "BPF_LD_IMM64",
            Form::LoadPacket { .. } => "BPF_LD_[ABS|IND]",
            Form::Load { .. } => "BPF_LDX",
            Form::Store { reg: false, .. } => "BPF_ST",
            Form::Store { reg: true, .. } => "BPF_STX",
            Form::Atomic(_) => "BPF_ATOMIC",
        }
    }
}

/// A row: an operation, the bits that stand for it in its field, and its text.
#[derive(Clone, Copy)]
pub(crate) struct Row<T> {
    /// The bits, in place.
    pub(crate) bits: u8,
    /// The operation.
    pub(crate) op: T,
    /// As assembler text.
    pub(crate) text: &'static str,
}

const fn row<T>(bits: u8, op: T, text: &'static str) -> Row<T> {
    Row { bits, op, text }
}

/// Arithmetic. The signed divisions share their bits with the unsigned ones.
pub(crate) const ALU: &[Row<AluOp>] = &[
    row(0x00, AluOp::Add, "+="),
    row(0x10, AluOp::Sub, "-="),
    row(0x20, AluOp::Mul, "*="),
    row(0x30, AluOp::Div, "/="),
    row(0x30, AluOp::SDiv, "s/="),
    row(0x40, AluOp::Or, "|="),
    row(0x50, AluOp::And, "&="),
    row(0x60, AluOp::Lsh, "<<="),
    row(0x70, AluOp::Rsh, ">>="),
    row(0x90, AluOp::Mod, "%="),
    row(0x90, AluOp::SMod, "s%="),
    row(0xa0, AluOp::Xor, "^="),
    row(0xb0, AluOp::Mov, "="),
    row(0xc0, AluOp::Arsh, "s>>="),
];

/// Operations that `off` 1 turns into their signed relatives.
pub(crate) const SIGNED: &[(AluOp, AluOp)] = &[(AluOp::Div, AluOp::SDiv), (AluOp::Mod, AluOp::SMod)];

/// `off` of a move that casts a pointer between address spaces.
pub(crate) const ADDR_SPACE_CAST: i16 = 1;

/// Byte-order conversions; the bits include class and source.
pub(crate) const END: &[Row<EndOp>] = &[
    row(0xd4, EndOp::ToLe, "le"),
    row(0xdc, EndOp::ToBe, "be"),
    row(0xd7, EndOp::Swap, "bswap"),
];

/// Jump conditions.
pub(crate) const COND: &[Row<Cond>] = &[
    row(0x10, Cond::Eq, "=="),
    row(0x20, Cond::Gt, ">"),
    row(0x30, Cond::Ge, ">="),
    row(0x40, Cond::Set, "&"),
    row(0x50, Cond::Ne, "!="),
    row(0x60, Cond::Sgt, "s>"),
    row(0x70, Cond::Sge, "s>="),
    row(0xa0, Cond::Lt, "<"),
    row(0xb0, Cond::Le, "<="),
    row(0xc0, Cond::Slt, "s<"),
    row(0xd0, Cond::Sle, "s<="),
];

/// Access sizes. The text is that of an unsigned access.
pub(crate) const SIZE: &[Row<Size>] = &[
    row(0x10, Size::B, "u8"),
    row(0x08, Size::H, "u16"),
    row(0x00, Size::W, "u32"),
    row(0x18, Size::Dw, "u64"),
];

/// Atomic operations; the bits stand in `imm`. Those that fetch have the name that follows `atomic_`.
pub(crate) const ATOMIC: &[Row<AtomicOp>] = &[
    row(0x00, AtomicOp::Add { fetch: false }, "+="),
    row(0x40, AtomicOp::Or { fetch: false }, "|="),
    row(0x50, AtomicOp::And { fetch: false }, "&="),
    row(0xa0, AtomicOp::Xor { fetch: false }, "^="),
    row(0x01, AtomicOp::Add { fetch: true }, "fetch_add"),
    row(0x41, AtomicOp::Or { fetch: true }, "fetch_or"),
    row(0x51, AtomicOp::And { fetch: true }, "fetch_and"),
    row(0xa1, AtomicOp::Xor { fetch: true }, "fetch_xor"),
    row(0xe1, AtomicOp::Xchg, "xchg"),
    row(0xf1, AtomicOp::CmpXchg, "cmpxchg"),
];

/// `imm` of a load-acquire.
pub(crate) const LOAD_ACQUIRE: i32 = 0x100;
/// `imm` of a store-release.
pub(crate) const STORE_RELEASE: i32 = 0x110;

/// The row of an operation. Every operation has one.
pub(crate) fn find<T: Copy + PartialEq>(rows: &'static [Row<T>], op: T) -> Row<T> {
    *rows.iter().find(|row| row.op == op).expect("each operation has a row")
}

// Classes, the low three bits.
const LD: u8 = 0;
const LDX: u8 = 1;
const ST: u8 = 2;
const STX: u8 = 3;
const ALU32: u8 = 4;
const JMP: u8 = 5;
const JMP32: u8 = 6;
const ALU64: u8 = 7;
/// The source bit: the second operand is a register.
const X: u8 = 0x08;
// Modes of the load and store classes.
const ABS: u8 = 0x20;
const IND: u8 = 0x40;
const MEM: u8 = 0x60;
const MEMSX: u8 = 0x80;
const ATOMIC_MODE: u8 = 0xc0;

/// All opcodes by their byte.
pub(crate) static TABLE: [Option<Form>; 256] = build();

/// What the kernel calls instructions with this opcode.
pub(crate) fn kernel_name(code: u8) -> &'static str {
    TABLE[usize::from(code)].map_or("unknown", Form::kernel_name)
}

/// The opcode byte of a form. Every form that the decoder yields has one.
pub(crate) fn code(form: Form) -> u8 {
    let found = TABLE
        .iter()
        .position(|entry| *entry == Some(form))
        .expect("each form has an opcode");
    u8::try_from(found).expect("256 entries")
}

const fn put(table: &mut [Option<Form>; 256], code: u8, form: Form) {
    assert!(table[code as usize].is_none(), "two forms with one opcode");
    table[code as usize] = Some(form);
}

const fn build() -> [Option<Form>; 256] {
    let mut table = [None; 256];
    let t = &mut table;
    let mut i = 0;
    while i < ALU.len() {
        let Row { bits, op, .. } = ALU[i];
        if !matches!(op, AluOp::SDiv | AluOp::SMod) {
            put(
                t,
                ALU32 | bits,
                Form::Alu {
                    width: Width::W32,
                    op,
                    reg: false,
                },
            );
            put(
                t,
                ALU32 | bits | X,
                Form::Alu {
                    width: Width::W32,
                    op,
                    reg: true,
                },
            );
            put(
                t,
                ALU64 | bits,
                Form::Alu {
                    width: Width::W64,
                    op,
                    reg: false,
                },
            );
            put(
                t,
                ALU64 | bits | X,
                Form::Alu {
                    width: Width::W64,
                    op,
                    reg: true,
                },
            );
        }
        i += 1;
    }
    put(t, ALU32 | 0x80, Form::Neg(Width::W32));
    put(t, ALU64 | 0x80, Form::Neg(Width::W64));
    i = 0;
    while i < END.len() {
        put(t, END[i].bits, Form::End(END[i].op));
        i += 1;
    }
    i = 0;
    while i < COND.len() {
        let Row { bits, op: cond, .. } = COND[i];
        put(
            t,
            JMP | bits,
            Form::Jump {
                width: Width::W64,
                cond,
                reg: false,
            },
        );
        put(
            t,
            JMP | bits | X,
            Form::Jump {
                width: Width::W64,
                cond,
                reg: true,
            },
        );
        put(
            t,
            JMP32 | bits,
            Form::Jump {
                width: Width::W32,
                cond,
                reg: false,
            },
        );
        put(
            t,
            JMP32 | bits | X,
            Form::Jump {
                width: Width::W32,
                cond,
                reg: true,
            },
        );
        i += 1;
    }
    put(t, JMP, Form::Goto { long: false });
    put(t, JMP32, Form::Goto { long: true });
    put(t, JMP | 0x80, Form::Call { reg: false });
    put(t, JMP | 0x80 | X, Form::Call { reg: true });
    put(t, JMP | 0x90, Form::Exit);
    put(t, JMP | 0xe0, Form::MayGoto);
    put(t, LD | find_size(Size::Dw), Form::LoadImm64);
    i = 0;
    while i < SIZE.len() {
        let Row { bits, op: size, .. } = SIZE[i];
        if !matches!(size, Size::Dw) {
            put(t, LD | ABS | bits, Form::LoadPacket { size, indexed: false });
            put(t, LD | IND | bits, Form::LoadPacket { size, indexed: true });
            put(t, LDX | MEMSX | bits, Form::Load { size, signed: true });
        }
        put(t, LDX | MEM | bits, Form::Load { size, signed: false });
        put(t, ST | MEM | bits, Form::Store { size, reg: false });
        put(t, STX | MEM | bits, Form::Store { size, reg: true });
        put(t, STX | ATOMIC_MODE | bits, Form::Atomic(size));
        i += 1;
    }
    table
}

const fn find_size(size: Size) -> u8 {
    let mut i = 0;
    while i < SIZE.len() {
        if SIZE[i].op as u8 == size as u8 {
            return SIZE[i].bits;
        }
        i += 1;
    }
    panic!("each size has a row")
}

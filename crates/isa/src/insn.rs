//! The two forms of an instruction: the 8-byte slot as it stands in an object file, and the decoded form that the
//! verifier, the engines and the disassembler match on.
//!
//! Terms are those of RFC 9669: `dst`, `src`, `off`, `imm`. A `pc` counts 8-byte slots; a wide instruction
//! (`lddw`) takes two of them. Jump offsets in both forms are relative to the slot after the instruction.

use std::fmt;

/// A register, `r0` to `r10`. `r10` is the read-only frame pointer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reg(u8);

impl Reg {
    /// How many registers there are.
    pub const COUNT: usize = 11;
    /// Return value of calls and of the program.
    pub const R0: Reg = Reg(0);
    /// First argument; the context on entry.
    pub const R1: Reg = Reg(1);
    /// Second argument.
    pub const R2: Reg = Reg(2);
    /// Third argument.
    pub const R3: Reg = Reg(3);
    /// Fourth argument.
    pub const R4: Reg = Reg(4);
    /// Fifth argument.
    pub const R5: Reg = Reg(5);
    /// First callee-saved register.
    pub const R6: Reg = Reg(6);
    /// Callee-saved.
    pub const R7: Reg = Reg(7);
    /// Callee-saved.
    pub const R8: Reg = Reg(8);
    /// Callee-saved.
    pub const R9: Reg = Reg(9);
    /// The frame pointer, read-only.
    pub const R10: Reg = Reg(10);

    /// The register with this number, or `None` above 10.
    #[must_use]
    pub const fn new(number: u8) -> Option<Reg> {
        if number < 11 { Some(Reg(number)) } else { None }
    }

    /// The register's number, 0 to 10, as the fields of a slot have it.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The register's number, 0 to 10.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl fmt::Debug for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One 8-byte instruction slot, `struct bpf_insn`, with nothing interpreted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Insn {
    /// The opcode byte.
    pub code: u8,
    /// Destination register field, 4 bits.
    pub dst: u8,
    /// Source register field, 4 bits; for some opcodes a kind instead of a register.
    pub src: u8,
    /// Signed 16-bit offset.
    pub off: i16,
    /// Signed 32-bit immediate.
    pub imm: i32,
}

impl Insn {
    /// Bytes in a slot.
    pub const SIZE: usize = 8;

    /// Reads a little-endian slot.
    #[must_use]
    pub const fn from_bytes(b: [u8; 8]) -> Insn {
        Insn {
            code: b[0],
            dst: b[1] & 0x0f,
            src: b[1] >> 4,
            off: i16::from_le_bytes([b[2], b[3]]),
            imm: i32::from_le_bytes([b[4], b[5], b[6], b[7]]),
        }
    }

    /// Writes a little-endian slot. Only the low four bits of `dst` and `src` are kept.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        let o = self.off.to_le_bytes();
        let i = self.imm.to_le_bytes();
        [
            self.code,
            (self.dst & 0x0f) | (self.src << 4),
            o[0],
            o[1],
            i[0],
            i[1],
            i[2],
            i[3],
        ]
    }
}

/// Operand width of an arithmetic or jump instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Width {
    /// The low 32 bits; arithmetic clears the upper half of `dst`.
    W32,
    /// All 64 bits.
    W64,
}

/// Size of a memory access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Size {
    /// One byte, `BPF_B`.
    B,
    /// Two bytes, `BPF_H`.
    H,
    /// Four bytes, `BPF_W`.
    W,
    /// Eight bytes, `BPF_DW`.
    Dw,
}

impl Size {
    /// The access size in bytes: 1, 2, 4 or 8.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Size::B => 1,
            Size::H => 2,
            Size::W => 4,
            Size::Dw => 8,
        }
    }
}

/// The second operand of an arithmetic, store or jump instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operand {
    /// A register (`BPF_X`).
    Reg(Reg),
    /// A 32-bit immediate (`BPF_K`), sign-extended where the operation is 64 bits wide.
    Imm(i32),
}

/// Binary arithmetic operations (`dst = dst op src`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AluOp {
    /// Addition.
    Add,
    /// Subtraction.
    Sub,
    /// Multiplication.
    Mul,
    /// Unsigned division; division by zero yields 0.
    Div,
    /// Signed division (`off` 1); division by zero yields 0, the minimum by -1 yields the minimum.
    SDiv,
    /// Bitwise or.
    Or,
    /// Bitwise and.
    And,
    /// Logical shift left; the count is masked to the width.
    Lsh,
    /// Logical shift right; the count is masked to the width.
    Rsh,
    /// Unsigned remainder; by zero leaves `dst` (32-bit: its low half).
    Mod,
    /// Signed remainder (`off` 1); by zero leaves `dst`, the minimum by -1 yields 0.
    SMod,
    /// Bitwise exclusive or.
    Xor,
    /// Move.
    Mov,
    /// Arithmetic shift right; the count is masked to the width.
    Arsh,
}

/// Byte-order instructions (`BPF_END`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EndOp {
    /// `htole`: truncates to the width on a little-endian host.
    ToLe,
    /// `htobe`: swaps and truncates on a little-endian host.
    ToBe,
    /// `bswap`: swaps unconditionally.
    Swap,
}

/// Jump conditions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cond {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Unsigned greater.
    Gt,
    /// Unsigned greater or equal.
    Ge,
    /// Unsigned less.
    Lt,
    /// Unsigned less or equal.
    Le,
    /// Signed greater.
    Sgt,
    /// Signed greater or equal.
    Sge,
    /// Signed less.
    Slt,
    /// Signed less or equal.
    Sle,
    /// `dst & src` is not zero.
    Set,
}

/// Atomic operations on memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AtomicOp {
    /// Add; with `fetch` the old value goes to `src`.
    Add {
        /// Whether `src` receives the old value.
        fetch: bool,
    },
    /// Bitwise or.
    Or {
        /// Whether `src` receives the old value.
        fetch: bool,
    },
    /// Bitwise and.
    And {
        /// Whether `src` receives the old value.
        fetch: bool,
    },
    /// Bitwise exclusive or.
    Xor {
        /// Whether `src` receives the old value.
        fetch: bool,
    },
    /// Exchange: `src` receives the old value.
    Xchg,
    /// Compare with `r0` and exchange with `src`; `r0` receives the old value.
    CmpXchg,
}

impl AtomicOp {
    /// Whether the old value goes to a register: to `r0` for [`AtomicOp::CmpXchg`], else to `src`.
    #[must_use]
    pub const fn fetches(self) -> bool {
        match self {
            AtomicOp::Add { fetch } | AtomicOp::Or { fetch } | AtomicOp::And { fetch } | AtomicOp::Xor { fetch } => {
                fetch
            }
            AtomicOp::Xchg | AtomicOp::CmpXchg => true,
        }
    }
}

/// What a wide immediate (`lddw`) stands for; the kind is the `src` field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Imm64 {
    /// A plain 64-bit number.
    Value(u64),
    /// `BPF_PSEUDO_MAP_FD`: a map by descriptor.
    MapFd(i32),
    /// `BPF_PSEUDO_MAP_VALUE`: an address inside the value of a single-element map, by descriptor.
    MapValueFd {
        /// The map's descriptor.
        fd: i32,
        /// Offset into its value, in bytes.
        off: u32,
    },
    /// `BPF_PSEUDO_BTF_ID`: a kernel variable by BTF id.
    BtfId {
        /// The variable's id.
        id: i32,
        /// Descriptor of the BTF of the module that has it; 0 for the kernel's own.
        fd: i32,
    },
    /// `BPF_PSEUDO_FUNC`: the address of a subprogram, as a slot offset relative to the next slot.
    Func(i32),
    /// `BPF_PSEUDO_MAP_IDX`: a map by index into the load request's table.
    MapIdx(u32),
    /// `BPF_PSEUDO_MAP_IDX_VALUE`: an address inside the value of a map given by index.
    MapValueIdx {
        /// Index of the map.
        index: u32,
        /// Offset into its value, in bytes.
        off: u32,
    },
}

/// What a call instruction calls; the kind is the `src` field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CallTarget {
    /// A BPF helper by its number (`enum bpf_func_id`).
    Helper(u32),
    /// `BPF_PSEUDO_CALL`: a subprogram, as a slot offset relative to the next slot.
    Subprog(i32),
    /// `BPF_PSEUDO_KFUNC_CALL`: a kfunc by BTF id.
    Kfunc {
        /// The function's id.
        id: i32,
        /// Which element of the load request's table of descriptors (`fd_array`) is the BTF of the module that has it; 0
        /// for the kernel's own.
        fd_idx: i16,
    },
    /// A call through a register (clang's `callx`); never accepted by the kernel.
    Register(Reg),
}

/// A decoded instruction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Instruction {
    /// `dst = dst op src`.
    Alu {
        /// Operand width.
        width: Width,
        /// The operation.
        op: AluOp,
        /// Destination and first operand.
        dst: Reg,
        /// Second operand.
        src: Operand,
    },
    /// `dst = (s8|s16|s32) src`: a sign-extending move from `bits` (8, 16 or 32).
    MovSx {
        /// Width of the result.
        width: Width,
        /// How many low bits of `src` are extended.
        bits: u8,
        /// Destination.
        dst: Reg,
        /// Source.
        src: Reg,
    },
    /// `dst = addr_space_cast(src, to, from)`: a pointer into an arena becomes one for user space, or the other way round.
    AddrSpaceCast {
        /// Destination.
        dst: Reg,
        /// Source.
        src: Reg,
        /// Whether the result is in address space 1, that of arenas, and the source in address space 0; else the reverse.
        to_arena: bool,
    },
    /// `dst = -dst`.
    Neg {
        /// Operand width.
        width: Width,
        /// Destination.
        dst: Reg,
    },
    /// Byte-order conversion of the low `bits` (16, 32 or 64) of `dst`.
    End {
        /// Which conversion.
        op: EndOp,
        /// Width of the conversion.
        bits: u8,
        /// Destination.
        dst: Reg,
    },
    /// `dst = imm64`: takes two slots.
    LoadImm64 {
        /// Destination.
        dst: Reg,
        /// What the immediate stands for.
        imm: Imm64,
    },
    /// `dst = *(size *)(base + off)`, sign-extended if `signed`.
    Load {
        /// Access size.
        size: Size,
        /// Whether the value is sign-extended to 64 bits (`BPF_MEMSX`).
        signed: bool,
        /// Destination.
        dst: Reg,
        /// Address register.
        base: Reg,
        /// Offset in bytes.
        off: i16,
    },
    /// `*(size *)(base + off) = src`.
    Store {
        /// Access size.
        size: Size,
        /// Address register.
        base: Reg,
        /// Offset in bytes.
        off: i16,
        /// What is stored.
        src: Operand,
    },
    /// An atomic read-modify-write of 4 or 8 bytes at `base + off`.
    Atomic {
        /// `Size::W` or `Size::Dw`.
        size: Size,
        /// The operation.
        op: AtomicOp,
        /// Address register (the `dst` field).
        base: Reg,
        /// Offset in bytes.
        off: i16,
        /// Operand, and where a fetched value goes.
        src: Reg,
    },
    /// `dst = load_acquire((size *)(src + off))`.
    LoadAcquire {
        /// Access size.
        size: Size,
        /// Destination.
        dst: Reg,
        /// Address register.
        base: Reg,
        /// Offset in bytes.
        off: i16,
    },
    /// `store_release((size *)(base + off), src)`.
    StoreRelease {
        /// Access size.
        size: Size,
        /// Address register.
        base: Reg,
        /// Offset in bytes.
        off: i16,
        /// What is stored.
        src: Reg,
    },
    /// Legacy packet access (`LD_ABS`, `LD_IND`): `r0 = ntoh(*(size *)(skb + index + imm))`.
    LoadPacket {
        /// Access size.
        size: Size,
        /// The register added to the offset (`LD_IND`), if any.
        index: Option<Reg>,
        /// Constant offset.
        imm: i32,
    },
    /// Conditional jump.
    Jump {
        /// Comparison width.
        width: Width,
        /// The condition.
        cond: Cond,
        /// First operand.
        dst: Reg,
        /// Second operand.
        src: Operand,
        /// Target relative to the next slot.
        off: i32,
    },
    /// Unconditional jump (`ja`, `gotol`).
    Goto {
        /// Whether the offset has 32 bits (`gotol`) rather than 16.
        long: bool,
        /// Target relative to the next slot.
        off: i32,
    },
    /// `may_goto`: jumps once the loop budget is spent.
    MayGoto {
        /// Target relative to the next slot.
        off: i32,
    },
    /// Call.
    Call(CallTarget),
    /// Return from the subprogram or the program with `r0`.
    Exit,
}

impl Instruction {
    /// How many slots the instruction takes: 2 for a wide immediate, else 1.
    #[must_use]
    pub const fn slots(&self) -> usize {
        match self {
            Instruction::LoadImm64 { .. } => 2,
            _ => 1,
        }
    }

    /// Whether it is of a jump class: jumps, calls and exits.
    #[must_use]
    pub const fn is_jump(&self) -> bool {
        matches!(
            self,
            Instruction::Jump { .. }
                | Instruction::Goto { .. }
                | Instruction::MayGoto { .. }
                | Instruction::Call(_)
                | Instruction::Exit
        )
    }
}

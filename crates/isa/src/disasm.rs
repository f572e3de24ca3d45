//! Instructions as text, in the syntax of the kernel's verifier log and of `bpftool prog dump xlated`.
//!
//! Sizes, signs and widths all show: `w1` is the 32-bit half of `r1`, and what is assigned to a register in hexadecimal
//! (`r1 = 0x10`) is a wide immediate of two slots, in decimal (`r1 = 16`) a short one. [`crate::asm`] reads the same syntax.
//!
//! Where the kernel's text hides what an instruction holds, ours shows more: `map[fd:N]`, `map[idx:N]` and `btf_id[N]` are
//! mere numbers there, and the BTF of a kfunc in a module (`fd_array[N]`) does not show.

use std::fmt;

pub use crate::helpers::helper_name;
use crate::opcode::{self, ALU, ATOMIC, COND, END, SIZE};
use crate::{AluOp, AtomicOp, CallTarget, EndOp, Imm64, Insn, Instruction, Operand, Reg, Size, Width, decode};

/// What stands for the name of a kfunc.
pub(crate) const KFUNC: &str = "kernel-function";

/// Names of BPF helpers by their number.
pub type HelperNames<'a> = &'a dyn Fn(u32) -> Option<&'a str>;

/// For callers that know no helper: they show as `unknown`.
#[must_use]
pub fn no_names(_: u32) -> Option<&'static str> {
    None
}

/// An instruction that displays as text; made by [`text`].
#[derive(Clone, Copy)]
pub struct Text<'a> {
    instruction: Instruction,
    helper_name: HelperNames<'a>,
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The instruction as text.
///
/// ```
/// use hitless_isa::{Insn, decode, disasm};
///
/// let load = Insn { code: 0x61, dst: 1, src: 6, off: 4, imm: 0 };
/// let instruction = decode(&[load], 0)?;
/// assert_eq!(disasm::text(&instruction, &disasm::no_names).to_string(), "r1 = *(u32 *)(r6 +4)");
/// # Ok::<(), hitless_isa::DecodeError>(())
/// ```
#[must_use]
pub fn text<'a>(instruction: &Instruction, helper_name: HelperNames<'a>) -> Text<'a> {
    Text {
        instruction: *instruction,
        helper_name,
    }
}

/// A program as text: a line for each instruction, `pc: (opcode) text`. What does not decode shows as its error in angle
/// brackets.
#[must_use]
pub fn listing(insns: &[Insn], helper_name: HelperNames<'_>) -> String {
    let mut out = String::new();
    let mut pc = 0;
    while let Some(insn) = insns.get(pc) {
        let (text, slots) = match decode(insns, pc) {
            Ok(instruction) => (text(&instruction, helper_name).to_string(), instruction.slots()),
            Err(error) => (format!("<{error}>"), 1),
        };
        out += &format!("{pc}: ({:02x}) {text}\n", insn.code);
        pc += slots;
    }
    out
}

/// A register as an operation of this width names it.
struct Named(Width, Reg);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = if self.0 == Width::W32 { 'w' } else { 'r' };
        write!(f, "{letter}{}", self.1.number())
    }
}

/// `(size *)(base +off)`.
struct Cell(&'static str, Reg, i16);

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} *)({} {:+})", self.0, self.1, self.2)
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Reg(reg) => reg.fmt(f),
            Operand::Imm(imm) => imm.fmt(f),
        }
    }
}

impl fmt::Display for Imm64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Imm64::Value(value) => write!(f, "{value:#x}"),
            Imm64::MapFd(fd) => write!(f, "map[fd:{fd}]"),
            Imm64::MapValueFd { fd, off } => write!(f, "map[fd:{fd}][0]+{off}"),
            Imm64::BtfId { id, fd: 0 } => write!(f, "btf_id[{id}]"),
            Imm64::BtfId { id, fd } => write!(f, "btf_id[fd:{fd}][{id}]"),
            Imm64::Func(off) => write!(f, "subprog[{off:+}]"),
            Imm64::MapIdx(index) => write!(f, "map[idx:{index}]"),
            Imm64::MapValueIdx { index, off } => write!(f, "map[idx:{index}]+{off}"),
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instruction {
            Instruction::Alu { width, op, dst, src } => {
                let (dst, symbol) = (Named(width, dst), opcode::find(ALU, op).text);
                match src {
                    Operand::Reg(src) => write!(f, "{dst} {symbol} {}", Named(width, src)),
                    Operand::Imm(imm) => write!(f, "{dst} {symbol} {imm}"),
                }
            }
            Instruction::MovSx { width, bits, dst, src } => {
                let mov = opcode::find(ALU, AluOp::Mov).text;
                write!(f, "{} {mov} (s{bits}){}", Named(width, dst), Named(width, src))
            }
            Instruction::AddrSpaceCast { dst, src, to_arena } => {
                let (to, from) = (u8::from(to_arena), u8::from(!to_arena));
                write!(f, "{dst} = addr_space_cast({src}, {to}, {from})")
            }
            Instruction::Neg { width, dst } => {
                let dst = Named(width, dst);
                write!(f, "{dst} = -{dst}")
            }
            Instruction::End { op, bits, dst } => write_end(f, op, bits, dst),
            Instruction::LoadImm64 { dst, imm } => write!(f, "{dst} = {imm}"),
            Instruction::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                write!(f, "{dst} = *{}", Cell(size_text(size, signed), base, off))
            }
            Instruction::Store { size, base, off, src } => {
                write!(f, "*{} = {src}", Cell(size_text(size, false), base, off))
            }
            Instruction::Atomic {
                size,
                op,
                base,
                off,
                src,
            } => write_atomic(f, size, op, (base, off), src),
            Instruction::LoadAcquire { size, dst, base, off } => {
                write!(f, "{dst} = load_acquire({})", Cell(size_text(size, false), base, off))
            }
            Instruction::StoreRelease { size, base, off, src } => {
                write!(f, "store_release({}, {src})", Cell(size_text(size, false), base, off))
            }
            Instruction::LoadPacket { size, index, imm } => {
                write!(f, "r0 = *({} *)skb[", size_text(size, false))?;
                match index {
                    Some(index) => write!(f, "{index} + {imm}]"),
                    None => write!(f, "{imm}]"),
                }
            }
            Instruction::Jump {
                width,
                cond,
                dst,
                src,
                off,
            } => {
                let symbol = opcode::find(COND, cond).text;
                write!(f, "if {} {symbol} ", Named(width, dst))?;
                match src {
                    Operand::Reg(src) => write!(f, "{}", Named(width, src))?,
                    Operand::Imm(imm) => write!(f, "{imm:#x}")?,
                }
                write!(f, " goto pc{off:+}")
            }
            Instruction::Goto { long, off } => {
                let long = if long { "l" } else { "" };
                write!(f, "goto{long} pc{off:+}")
            }
            Instruction::MayGoto { off } => write!(f, "may_goto pc{off:+}"),
            Instruction::Call(CallTarget::Helper(id)) => {
                let name = (self.helper_name)(id).unwrap_or("unknown");
                write!(f, "call {name}#{}", id.cast_signed())
            }
            Instruction::Call(CallTarget::Subprog(off)) => write!(f, "call pc{off:+}"),
            Instruction::Call(CallTarget::Kfunc { id, fd_idx }) => {
                write!(f, "call {KFUNC}#{id}")?;
                if fd_idx != 0 {
                    write!(f, " fd_array[{fd_idx}]")?;
                }
                Ok(())
            }
            Instruction::Call(CallTarget::Register(reg)) => write!(f, "callx {reg}"),
            Instruction::Exit => f.write_str("exit"),
        }
    }
}

pub(crate) fn size_text(size: Size, signed: bool) -> &'static str {
    match (signed, size) {
        (true, Size::B) => "s8",
        (true, Size::H) => "s16",
        (true, Size::W) => "s32",
        _ => opcode::find(SIZE, size).text,
    }
}

fn write_end(f: &mut fmt::Formatter<'_>, op: EndOp, bits: u8, dst: Reg) -> fmt::Result {
    write!(f, "{dst} = {}{bits} {dst}", opcode::find(END, op).text)
}

fn write_atomic(
    f: &mut fmt::Formatter<'_>,
    size: Size,
    op: AtomicOp,
    (base, off): (Reg, i16),
    src: Reg,
) -> fmt::Result {
    let (text, cell) = (opcode::find(ATOMIC, op).text, Cell(size_text(size, false), base, off));
    let prefix = if size == Size::Dw { "atomic64" } else { "atomic" };
    match op {
        AtomicOp::CmpXchg => write!(f, "r0 = {prefix}_{text}({cell}, r0, {src})"),
        _ if op.fetches() => write!(f, "{src} = {prefix}_{text}({cell}, {src})"),
        _ => write!(f, "lock *{cell} {text} {src}"),
    }
}

//! What engines translate: a lowered program and its text.

use std::fmt::Write as _;

use hitless_isa::disasm::{self, HelperNames};
use hitless_isa::{CallTarget, Instruction, Reg, Size};
use hitless_verifier::{ContextFacts, Facts, Verified};

use crate::{Callee, DispatchFn, Resolve, Services};

/// Which of a program's two forms.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Variant {
    /// The program as it is: no trace of tracing in it.
    Plain,
    /// With the calls of map tracing inserted.
    Traced,
}

/// One operation of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// An instruction of the program. Jump and call offsets count operations of the image, relative to the next one;
    /// wide immediates take one operation and hold final addresses ([`hitless_isa::Imm64::Value`]).
    Insn(Instruction),
    /// A call of a BPF helper or of a kernel function.
    Call {
        /// Which.
        target: CallTarget,
        /// What it became: an index into [`Image::callees`].
        callee: usize,
    },
    /// `bpf_tail_call()`.
    TailCall {
        /// The function that finds the program, an index into [`Image::callees`].
        callee: usize,
    },
    /// A load from an object, of which nothing proves that it is there: yields 0 if it cannot be read.
    Probe {
        /// How much is loaded.
        size: Size,
        /// Whether it is sign-extended.
        signed: bool,
        /// The register that it is loaded into.
        dst: Reg,
        /// Address register.
        base: Reg,
        /// Offset in bytes.
        off: i16,
    },
    /// Legacy packet access, into `r0`: ends the subprogram, with 0, if the packet is not that long.
    LoadPacket {
        /// How much is loaded.
        size: Size,
        /// The register that is added to the offset, if any.
        index: Option<Reg>,
        /// Offset in bytes.
        off: i32,
        /// Whether what was written through pointers is to be traced before it ends.
        flush: bool,
    },
    /// The address of a subprogram, for a helper to call back.
    Function {
        /// The register that it is loaded into.
        dst: Reg,
        /// Which: an index into [`Image::frames`].
        frame: usize,
    },
    /// All of a subprogram whose place another program takes: runs that with the same arguments, and returns what it does.
    Replaced {
        /// The function that makes the other program the one that runs, an index into [`Image::callees`].
        callee: usize,
        /// How many arguments there are.
        args: usize,
    },
    /// `call bpf_map_trace_update_elem`; keeps every register.
    TraceUpdate,
    /// `call bpf_map_trace_delete_elem`; keeps every register.
    TraceDelete,
    /// `call bpf_map_trace_register_pointer` for `base + off`; keeps every register.
    RegisterPointer {
        /// Address register.
        base: Reg,
        /// Offset in bytes.
        off: i16,
    },
    /// `call bpf_map_trace_pointer_update`; keeps every register.
    FlushPointers,
    /// Stands for an instruction that the verifier found unreachable: a trap.
    Unreachable,
}

/// Where a map lies in this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapAddresses {
    /// What a reference to the map (`BPF_PSEUDO_MAP_IDX`) loads: the address of what the runtime keeps of it, given back to
    /// helpers.
    pub map: u64,
    /// Address of the first element's value, for `BPF_PSEUDO_MAP_IDX_VALUE`; 0 if the map has no fixed one.
    pub value: u64,
}

/// What [`lower`](crate::lower) is told.
#[derive(Clone, Copy, Debug)]
pub struct LowerInput<'a> {
    /// What the program is called where its code is made known (perf, debuggers).
    pub name: &'a str,
    /// The program.
    pub verified: &'a Verified,
    /// The context it was verified for.
    pub context: &'a ContextFacts,
    /// Addresses of the maps, in the order of the verifier's table.
    pub maps: &'a [MapAddresses],
    /// How many arguments the main program is passed: 1, the context, unless it takes the place of a function.
    pub arguments: usize,
    /// The subprograms whose place other programs take.
    pub replaced: &'a [Replaced],
    /// Which variant to make.
    pub variant: Variant,
    /// Finds the functions that helpers are.
    pub resolve: &'a dyn Resolve,
    /// What code calls besides.
    pub services: Services,
}

/// A subprogram whose place another program takes: callers get there as before, and go on with the other program.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// Which: an index into [`Verified::subprogs`].
    pub subprog: usize,
    /// How many arguments it takes.
    pub args: usize,
    /// Makes the other program the one that runs, and returns what [`Vm::replace`](crate::Vm::replace) does.
    pub callee: Callee,
}

/// A lowered program.
#[derive(Clone, Debug)]
pub struct Image {
    /// The program's name.
    pub name: String,
    /// The operations; entry at 0.
    pub ops: Vec<Op>,
    /// For each operation, the slot in the verified program that it comes from.
    pub pcs: Vec<usize>,
    /// The verifier's facts, by slot.
    pub facts: Facts,
    /// The subprograms, the main program first, in the order of their operations.
    pub frames: Vec<Frame>,
    /// How many arguments the main program is passed.
    pub arguments: usize,
    /// Where the runtime keeps each context field.
    pub fields: Vec<HostField>,
    /// What is called.
    pub callees: Vec<Callee>,
    /// The functions of the environment.
    pub services: Services,
    /// What calls a helper whose number is in a register.
    pub dispatch: Option<DispatchFn>,
}

/// A subprogram, and the stack that it needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Its first operation.
    pub first: usize,
    /// How many bytes of stack it uses.
    pub stack_depth: u32,
    /// Whether its stack has to be zero when it is entered.
    pub clear: bool,
}

/// Where the runtime keeps a context field, in its own context struct.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostField {
    /// Offset of the first byte.
    pub off: u32,
    /// How many bytes it has.
    pub len: u32,
}

impl Image {
    /// The xlated dump: a line for each operation, `index: text ; insn pc`, where `pc` is the slot of the verified
    /// program that it comes from. Offsets of jumps and calls count operations.
    #[must_use]
    pub fn disassemble(&self, helper_name: HelperNames<'_>) -> String {
        let mut out = String::new();
        for (index, (op, pc)) in self.ops.iter().zip(&self.pcs).enumerate() {
            let text = match op {
                Op::Insn(instruction) => disasm::text(instruction, helper_name).to_string(),
                Op::Call { target, .. } => disasm::text(&Instruction::Call(*target), helper_name).to_string(),
                Op::TailCall { .. } => {
                    let target = CallTarget::Helper(hitless_verifier::tables::helpers::TAIL_CALL);
                    disasm::text(&Instruction::Call(target), helper_name).to_string()
                }
                &Op::Probe {
                    size,
                    signed,
                    dst,
                    base,
                    off,
                } => {
                    let load = Instruction::Load {
                        size,
                        signed,
                        dst,
                        base,
                        off,
                    };
                    format!("{} or 0", disasm::text(&load, helper_name))
                }
                &Op::LoadPacket { size, index, off, .. } => {
                    let imm = off;
                    disasm::text(&Instruction::LoadPacket { size, index, imm }, helper_name).to_string()
                }
                Op::Function { dst, frame } => format!("{dst} = function {frame}"),
                Op::Replaced { .. } => "replaced by another program".to_owned(),
                Op::TraceUpdate => "call bpf_map_trace_update_elem".to_owned(),
                Op::TraceDelete => "call bpf_map_trace_delete_elem".to_owned(),
                Op::RegisterPointer { base, off } => format!("call bpf_map_trace_register_pointer({base} {off:+})"),
                Op::FlushPointers => "call bpf_map_trace_pointer_update".to_owned(),
                Op::Unreachable => "unreachable".to_owned(),
            };
            // Writing to a `String` cannot fail.
            let _ = writeln!(out, "{index}: {text} ; insn {pc}");
        }
        out
    }
}

/// Why a program could not be lowered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// A map index without an address.
    #[error("insn {pc}: the program names map {index}, but only {count} were given")]
    NoSuchMap {
        /// Slot of the reference.
        pc: usize,
        /// The index.
        index: u32,
        /// How many maps there are.
        count: usize,
    },
    /// A call of a helper or kernel function that the runtime does not have.
    #[error("insn {pc}: there is no {what} {id}")]
    NoSuchFunction {
        /// Slot of the call.
        pc: usize,
        /// What it would be.
        what: &'static str,
        /// Its number.
        id: u32,
    },
    /// An instruction that has no lowered form.
    #[error("insn {pc}: {what} cannot be lowered")]
    Unsupported {
        /// Slot of the instruction.
        pc: usize,
        /// What it is.
        what: &'static str,
    },
}

//! What each instruction requires of the state in which it runs.
//!
//! [`requirements`] maps an instruction to a list; it looks at the program's surroundings (prototypes of helpers) but
//! at no state, so it is asked once for each instruction. Whether a requirement holds in a state is the business of
//! `check`.

use std::fmt;

use hitless_isa::{AluOp, AtomicOp, CallTarget, Imm64, Instruction, Operand, Reg, Size, Width};

use crate::facts::{ArgType, HelperProto, KfuncProto, MemSize, MemUse};
use crate::tables::helpers;
use crate::tables::kfuncs::IteratorStep;

/// What an instruction does to the memory it names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It reads it.
    Load {
        /// Whether the value read is sign-extended.
        signed: bool,
    },
    /// It writes it.
    Store,
    /// It reads and writes it in one step, or with acquire or release ordering.
    Atomic {
        /// Whether it reads.
        read: bool,
        /// Whether it writes.
        write: bool,
    },
}

impl Access {
    /// Whether it reads the memory.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(self, Access::Load { .. } | Access::Atomic { read: true, .. })
    }

    /// Whether it writes the memory.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Access::Store | Access::Atomic { write: true, .. })
    }
}

/// A condition for accepting an instruction, or the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Requirement {
    /// There is a program, and not more of it than can be verified.
    ProgramSize,
    /// The slot holds an instruction.
    Decodable,
    /// The verifier knows how to treat the instruction.
    Supported,
    /// What the instruction refers to exists where the program is loaded.
    Exists,
    /// A jump goes to an instruction of the same subprogram.
    JumpTarget,
    /// A call goes to an instruction.
    CallTarget,
    /// A subprogram ends with an exit or a jump.
    SubprogEnd,
    /// Some path of jumps leads to the instruction.
    StaticallyReachable,
    /// No subprogram calls itself, directly or through others.
    NoRecursion,
    /// At most eight frames are active at once.
    CallDepth,
    /// The frames active at once have at most 512 bytes of stack together.
    CombinedStack,
    /// Every path ends.
    Termination,
    /// The number of instructions interpreted over all paths stays below the limit.
    Complexity,
    /// The number of branches waiting to be followed stays below the limit.
    PendingBranches,
    /// The arguments are of the types that a global function takes.
    GlobalArguments {
        /// Index of the subprogram.
        subprog: usize,
    },
    /// The register has a value.
    Initialized {
        /// The register.
        reg: Reg,
    },
    /// The register may be written: the frame pointer may not.
    WritableReg {
        /// The register.
        reg: Reg,
    },
    /// Arithmetic on the operands is defined: on numbers, and within limits on pointers.
    Arithmetic {
        /// Operand width.
        width: Width,
        /// The operation.
        op: AluOp,
        /// First operand.
        dst: Reg,
        /// Second operand.
        src: Operand,
    },
    /// A constant divisor is not zero.
    Divisor {
        /// The constant.
        divisor: i32,
    },
    /// A shift by a constant moves by less than the width.
    ShiftCount {
        /// Width in bits.
        bits: u32,
        /// The constant.
        count: i32,
    },
    /// A map is named by an index that exists and, for an address in its value, has a single element.
    MapReference {
        /// Index of the map.
        map: u32,
        /// Offset into its value, if that is what is meant.
        value_off: Option<u32>,
    },
    /// A function or variable of the host's whose address is loaded is of a type that the verifier knows.
    HostSymbol {
        /// Its id in the host's types.
        id: i32,
    },
    /// A function whose address is loaded is part of its caller: neither the main program nor verified by itself.
    StaticFunction {
        /// Where it begins, in slots from the next one on.
        off: i32,
    },
    /// The memory is accessible in that way.
    Accessible {
        /// How it is accessed.
        access: Access,
        /// Access size.
        size: Size,
        /// Address register.
        base: Reg,
        /// Offset in bytes.
        off: i16,
    },
    /// The register may be stored there: a pointer to the stack only whole, and not to a frame that outlives what it points
    /// to. Elsewhere it becomes a number.
    Storable {
        /// What is stored.
        src: Reg,
        /// Access size.
        size: Size,
        /// Address register.
        base: Reg,
    },
    /// The program type may call the helper.
    KnownHelper {
        /// The helper's number.
        id: u32,
    },
    /// The program's license allows the helper.
    GplCompatible {
        /// The helper's number.
        id: u32,
    },
    /// User space can offer the helper.
    HostedHelper {
        /// The helper's number.
        id: u32,
    },
    /// The program may sleep.
    MaySleep {
        /// The helper's number.
        id: u32,
    },
    /// No lock is held, or the call releases it.
    NoLockAtCall {
        /// The helper, or `None` for a subprogram.
        helper: Option<u32>,
    },
    /// At most 256 references are held at once.
    ReferenceCount,
    /// No reference is held where the program ends: at its exit and at tail calls.
    NoReferenceAtEnd,
    /// The program is in no region that a kfunc began where it ends, at tail calls and at legacy loads from the packet.
    NoRegionAtEnd,
    /// A tail call is not made by a function that a helper calls.
    NotCalledBack,
    /// No lock is held at the end of the program or of a subprogram.
    NoLockAtExit,
    /// The program may use the legacy instructions that load from the packet, and this is its main program, which they
    /// leave if the packet is shorter.
    LegacyPacketAccess,
    /// No lock is held at such an instruction.
    NoLockAtPacketAccess,
    /// The context is in `r6`, where such an instruction takes the packet from.
    ContextInR6,
    /// An argument is of the type that the helper's prototype names.
    Argument {
        /// The helper's number.
        helper: u32,
        /// Index of the argument, from 0.
        index: u8,
        /// Its type.
        ty: ArgType,
    },
    /// User space can offer the kernel function.
    HostedKfunc,
    /// The kernel function is one that such programs may call here.
    CallableKfunc,
    /// An argument is of the type that the kernel function takes.
    KfuncArgument {
        /// Index of the argument, from 0.
        index: u8,
    },
    /// The map argument is of a type that the helper works on, may be written if the helper does that, and is the same on
    /// every path.
    SuitableMap {
        /// The helper's number.
        helper: u32,
    },
    /// A string says how to print numbers, of which there are enough.
    Format {
        /// The string.
        text: Reg,
        /// How many bytes the numbers have.
        size: Reg,
    },
    /// The program returns what its hook allows; a subprogram does not return a pointer to its own stack.
    ReturnValue,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Requirement::ProgramSize => f.write_str("at least one instruction and at most a million"),
            Requirement::Decodable => f.write_str("a valid instruction"),
            Requirement::Supported => f.write_str("an instruction that can be verified"),
            Requirement::Exists => f.write_str("something that exists where the program is loaded"),
            Requirement::JumpTarget => f.write_str("a jump to an instruction of the same subprogram"),
            Requirement::CallTarget => f.write_str("a call to an instruction"),
            Requirement::SubprogEnd => f.write_str("an exit or a jump at the end of each subprogram"),
            Requirement::StaticallyReachable => f.write_str("a path to every instruction"),
            Requirement::NoRecursion => f.write_str("no recursion"),
            Requirement::CallDepth => f.write_str("at most 8 frames"),
            Requirement::CombinedStack => f.write_str("at most 512 bytes of stack in all frames together"),
            Requirement::Termination => f.write_str("every path to end"),
            Requirement::Complexity => f.write_str("a program that can be verified in a million steps"),
            Requirement::PendingBranches => f.write_str("at most 8192 branches that wait to be followed"),
            Requirement::GlobalArguments { .. } => f.write_str("arguments of the types that the function takes"),
            Requirement::Initialized { reg } => write!(f, "{reg} to have a value"),
            Requirement::WritableReg { .. } => f.write_str("a destination other than the frame pointer"),
            Requirement::Arithmetic { .. } => f.write_str("numbers, or a pointer and a bounded number to add"),
            Requirement::Divisor { .. } => f.write_str("a divisor other than zero"),
            Requirement::ShiftCount { bits, .. } => write!(f, "a shift by less than {bits}"),
            Requirement::MapReference { value_off: None, .. } => f.write_str("a map of the program"),
            Requirement::HostSymbol { .. } => f.write_str("a function or variable of the host's"),
            Requirement::StaticFunction { .. } => f.write_str("a static function"),
            Requirement::MapReference { .. } => f.write_str("an offset into the value of a map with one element"),
            Requirement::Accessible {
                access,
                size,
                base,
                off,
            } => {
                let kind = match (access, access.writes()) {
                    (Access::Atomic { .. }, true) => "atomically writable",
                    (Access::Atomic { .. }, false) => "atomically readable",
                    (_, true) => "writable",
                    (_, false) => "readable",
                };
                write!(f, "{} {kind} bytes at {base}{off:+}", size.bytes())
            }
            Requirement::Storable { src, .. } => {
                write!(f, "a number in {src}, or a whole pointer that the frame may hold")
            }
            Requirement::KnownHelper { .. } => f.write_str("a helper that this program type may call"),
            Requirement::GplCompatible { .. } => f.write_str("a license compatible with the GPL"),
            Requirement::HostedHelper { .. } => f.write_str("a helper that there is in user space"),
            Requirement::MaySleep { .. } => f.write_str("a program that may sleep"),
            Requirement::LegacyPacketAccess => f.write_str("a program of packets, and not a subprogram"),
            Requirement::ContextInR6 => f.write_str("the context in r6"),
            Requirement::NoLockAtCall { .. } | Requirement::NoLockAtExit | Requirement::NoLockAtPacketAccess => {
                f.write_str("no lock held")
            }
            Requirement::ReferenceCount => f.write_str("at most 256 references held at once"),
            Requirement::NotCalledBack => f.write_str("a function that no helper calls"),
            Requirement::NoRegionAtEnd => f.write_str("no region that was begun and not ended"),
            Requirement::NoReferenceAtEnd => f.write_str("no reference held"),
            Requirement::Argument { index, ty, .. } => write!(f, "r{} to be {}", index + 1, argument(*ty)),
            Requirement::Format { .. } => f.write_str("a format for the numbers that are given"),
            Requirement::HostedKfunc => f.write_str("a kernel function that there is in user space"),
            Requirement::CallableKfunc => f.write_str("a kernel function that the program may call"),
            Requirement::KfuncArgument { index } => write!(f, "r{} to be what the function takes", index + 1),
            Requirement::SuitableMap { .. } => f.write_str("one map that the helper works on"),
            Requirement::ReturnValue => f.write_str("a return value that the caller can take"),
        }
    }
}

fn argument(ty: ArgType) -> &'static str {
    if let Some(memory) = ty.memory() {
        return match (memory.usage, memory.size) {
            (MemUse::Read, MemSize::MapKey) => "readable memory of the map's key size",
            (MemUse::Read, MemSize::MapValue) => "readable memory of the map's value size",
            (MemUse::Read, MemSize::NextArgument) => "readable memory of the size in the next argument",
            (MemUse::Read, MemSize::Fixed(_)) => "readable memory of the helper's size",
            (_, MemSize::MapKey) => "writable memory of the map's key size",
            (_, MemSize::MapValue) => "writable memory of the map's value size",
            (_, MemSize::NextArgument) => "writable memory of the size in the next argument",
            (_, MemSize::Fixed(_)) => "writable, aligned memory of the helper's size",
        };
    }
    match ty {
        ArgType::Context => "the context",
        ArgType::ContextOrNull => "the context, or NULL",
        ArgType::ConstMap => "a map",
        ArgType::Size => "a bounded size that is not zero",
        ArgType::SizeOrZero => "a bounded size",
        ArgType::SpinLock => "a lock in a map value",
        ArgType::Timer => "a timer in a map value",
        ArgType::Callback => "a function of the program",
        ArgType::StackOrNull => "a pointer to the stack, or NULL",
        ArgType::AllocSize => "a constant",
        ArgType::Dynptr => "a dynptr on the stack",
        ArgType::UninitDynptr => "room for a dynptr on the stack",
        ArgType::ConstString => "a string in a frozen map",
        ArgType::RingbufRecord => "a record reserved in a ring buffer",
        ArgType::Kptr => "a field of a map value that holds a reference",
        ArgType::OwnedObjectOrNull => "a reference to an object of the field's type, or NULL",
        ArgType::Socket | ArgType::AnySocket => "a socket",
        ArgType::Btf(_) => "an object of the helper's type",
        ArgType::BtfOrNull(_) => "an object of the helper's type, or NULL",
        _ => "initialised",
    }
}

/// Adds to `list` what `instruction` requires, in the order in which to check it: later requirements may rely on earlier
/// ones. It is asked at each step of the search: a list for each of a million instructions would take more memory than
/// everything else.
pub(crate) fn requirements(instruction: &Instruction, helpers: &[HelperProto], list: &mut Vec<Requirement>) {
    match *instruction {
        Instruction::Alu { width, op, dst, src } => {
            list.extend(initialized(src));
            if op != AluOp::Mov {
                list.push(Requirement::Initialized { reg: dst });
            }
            list.push(Requirement::WritableReg { reg: dst });
            if let (AluOp::Div | AluOp::SDiv | AluOp::Mod | AluOp::SMod, Operand::Imm(divisor)) = (op, src) {
                list.push(Requirement::Divisor { divisor });
            }
            if let (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, Operand::Imm(count)) = (op, src) {
                let bits = if width == Width::W32 { 32 } else { 64 };
                list.push(Requirement::ShiftCount { bits, count });
            }
            list.push(Requirement::Arithmetic { width, op, dst, src });
        }
        Instruction::MovSx { dst, src, .. } => {
            list.push(Requirement::Initialized { reg: src });
            list.push(Requirement::WritableReg { reg: dst });
        }
        Instruction::Neg { dst, .. } | Instruction::End { dst, .. } => {
            list.push(Requirement::Initialized { reg: dst });
            list.push(Requirement::WritableReg { reg: dst });
        }
        Instruction::LoadImm64 { dst, imm } => {
            list.push(Requirement::WritableReg { reg: dst });
            list.push(match imm {
                Imm64::Value(_) => return,
                Imm64::MapIdx(map) => Requirement::MapReference { map, value_off: None },
                Imm64::MapValueIdx { index, off } => Requirement::MapReference {
                    map: index,
                    value_off: Some(off),
                },
                Imm64::Func(off) => Requirement::StaticFunction { off },
                Imm64::BtfId { id, fd: 0 } => Requirement::HostSymbol { id },
                Imm64::MapFd(_) | Imm64::MapValueFd { .. } | Imm64::BtfId { .. } => Requirement::Supported,
            });
        }
        Instruction::Load {
            size,
            signed,
            dst,
            base,
            off,
        } => {
            list.push(Requirement::Initialized { reg: base });
            list.push(Requirement::WritableReg { reg: dst });
            list.push(Requirement::Accessible {
                access: Access::Load { signed },
                size,
                base,
                off,
            });
        }
        Instruction::Store { size, base, off, src } => {
            list.extend(initialized(src));
            list.push(Requirement::Initialized { reg: base });
            list.push(Requirement::Accessible {
                access: Access::Store,
                size,
                base,
                off,
            });
            if let Operand::Reg(src) = src {
                list.push(Requirement::Storable { src, size, base });
            }
        }
        Instruction::Atomic {
            size,
            op,
            base,
            off,
            src,
        } => {
            list.push(Requirement::Initialized { reg: src });
            list.push(Requirement::Initialized { reg: base });
            if op == AtomicOp::CmpXchg {
                list.push(Requirement::Initialized { reg: Reg::R0 });
            } else if op.fetches() {
                list.push(Requirement::WritableReg { reg: src });
            }
            list.push(Requirement::Accessible {
                access: Access::Atomic {
                    read: true,
                    write: true,
                },
                size,
                base,
                off,
            });
        }
        Instruction::LoadAcquire { size, dst, base, off } => {
            list.push(Requirement::Initialized { reg: base });
            list.push(Requirement::WritableReg { reg: dst });
            list.push(Requirement::Accessible {
                access: Access::Atomic {
                    read: true,
                    write: false,
                },
                size,
                base,
                off,
            });
        }
        Instruction::StoreRelease { size, base, off, src } => {
            list.push(Requirement::Initialized { reg: src });
            list.push(Requirement::Initialized { reg: base });
            list.push(Requirement::Accessible {
                access: Access::Atomic {
                    read: false,
                    write: true,
                },
                size,
                base,
                off,
            });
            list.push(Requirement::Storable { src, size, base });
        }
        Instruction::Jump { dst, src, .. } => {
            list.extend(initialized(src));
            list.push(Requirement::Initialized { reg: dst });
        }
        Instruction::Goto { .. } | Instruction::MayGoto { .. } => {}
        Instruction::Call(CallTarget::Subprog(_)) => {
            list.push(Requirement::NoLockAtCall { helper: None });
            list.push(Requirement::CallDepth);
        }
        Instruction::Call(CallTarget::Helper(id)) => call(list, id, helpers),
        Instruction::Exit => {
            list.push(Requirement::NoReferenceAtEnd);
            list.push(Requirement::NoLockAtExit);
            list.push(Requirement::NoRegionAtEnd);
            list.push(Requirement::ReturnValue);
        }
        Instruction::LoadPacket { index, .. } => {
            list.push(Requirement::LegacyPacketAccess);
            list.push(Requirement::Initialized { reg: Reg::R6 });
            list.push(Requirement::NoReferenceAtEnd);
            list.push(Requirement::NoLockAtPacketAccess);
            list.push(Requirement::NoRegionAtEnd);
            list.push(Requirement::ContextInR6);
            list.extend(index.map(|reg| Requirement::Initialized { reg }));
        }
        // See `kfunc_requirements`.
        Instruction::Call(CallTarget::Kfunc { .. }) => {
            list.push(Requirement::HostedKfunc);
            list.push(Requirement::CallableKfunc);
        }
        Instruction::Call(CallTarget::Register(_)) | Instruction::AddrSpaceCast { .. } => {
            list.push(Requirement::Supported)
        }
    }
}

/// What a call of a kfunc requires besides that it may be called.
pub(crate) fn kfunc_requirements(proto: &KfuncProto, list: &mut Vec<Requirement>) {
    if !proto.is_for_locked() {
        list.push(Requirement::NoLockAtCall { helper: None });
    }
    let count = proto.args().count() as u8;
    list.extend((0..count).map(|index| Requirement::KfuncArgument { index }));
    if proto.calls_back() {
        list.push(Requirement::CallDepth);
    }
    let acquires = proto.known.is_some_and(|kfunc| kfunc.flags.acquires);
    if acquires || matches!(proto.iterator(), Some((_, IteratorStep::New))) {
        list.push(Requirement::ReferenceCount);
    }
}

fn call(list: &mut Vec<Requirement>, id: u32, prototypes: &[HelperProto]) {
    list.push(Requirement::KnownHelper { id });
    let Some(proto) = prototypes.iter().find(|proto| proto.id == id) else {
        return;
    };
    if proto.gpl_only {
        list.push(Requirement::GplCompatible { id });
    }
    if proto.might_sleep {
        list.push(Requirement::MaySleep { id });
    }
    if proto.excluded.is_some() {
        list.push(Requirement::HostedHelper { id });
    }
    if proto.unsupported().is_some() {
        list.push(Requirement::Supported);
    }
    // A lock is an argument of exactly the helpers that take or release one; their own rule is that of the argument.
    if !proto.args.contains(&ArgType::SpinLock) {
        list.push(Requirement::NoLockAtCall { helper: Some(id) });
    }
    for (index, &ty) in (0..).zip(&proto.args) {
        if ty == ArgType::None {
            continue;
        }
        list.push(Requirement::Argument { helper: id, index, ty });
    }
    if proto.args.contains(&ArgType::ConstMap) {
        list.push(Requirement::SuitableMap { helper: id });
    }
    if id == helpers::SNPRINTF {
        list.push(Requirement::Format {
            text: Reg::R3,
            size: Reg::R5,
        });
    }
    if proto.calls_back_at_once() {
        list.push(Requirement::CallDepth);
    }
    if proto.acquires {
        list.push(Requirement::ReferenceCount);
    }
    if id == helpers::TAIL_CALL {
        list.push(Requirement::NotCalledBack);
        list.push(Requirement::NoReferenceAtEnd);
        list.push(Requirement::NoRegionAtEnd);
    }
}

fn initialized(operand: Operand) -> Option<Requirement> {
    match operand {
        Operand::Reg(reg) => Some(Requirement::Initialized { reg }),
        Operand::Imm(_) => None,
    }
}

//! What the verifier is told and what it answers, as plain data.
//!
//! A program comes with facts about its surroundings: the context of its hook ([`ContextFacts`]), the BPF helpers it may
//! call ([`HelperProto`]) and the maps it names ([`MapFacts`]). The answer, [`Verified`], carries what was proved about
//! each instruction, for the engines (which memory an access touches) and for map tracing (which stores write
//! through a map value).

use std::collections::BTreeSet;

use hitless_isa::{Insn, Size};

/// Everything the verifier is told about one program.
#[derive(Clone, Copy, Debug)]
pub struct ProgramInput<'a> {
    /// The program's name, for messages.
    pub name: &'a str,
    /// The main program followed by its subprograms. Maps are named by index (`BPF_PSEUDO_MAP_IDX`,
    /// `BPF_PSEUDO_MAP_IDX_VALUE`) into `maps`.
    pub insns: &'a [Insn],
    /// The maps that `insns` may name.
    pub maps: &'a [MapFacts],
    /// The context that the hook passes in `r1`.
    pub context: &'a ContextFacts,
    /// The helpers that this program type may call.
    pub helpers: &'a [HelperProto],
    /// Whether the program's license allows helpers that are GPL-only.
    pub gpl_compatible: bool,
    /// Source lines, sorted by `pc`; may be empty.
    pub lines: &'a [SourceLine],
    /// Instructions that must never run, sorted by `pc`; each a call of a helper that does not exist.
    pub poisoned: &'a [Poisoned],
}

/// An instruction that needs something that does not exist where the program is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poisoned {
    /// Its slot.
    pub pc: usize,
    /// What is missing ("struct task_struct.no_such_field").
    pub missing: String,
}

/// The source line that instructions from `pc` on come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// First slot of the line.
    pub pc: usize,
    /// File name as the compiler recorded it.
    pub file: String,
    /// Line number, from 1.
    pub line: u32,
    /// The text of the line, trimmed.
    pub text: String,
}

/// Map types as the verifier tells them apart: which helpers suit them and how their values are reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_HASH`.
    Hash,
    /// `BPF_MAP_TYPE_ARRAY`, global data included.
    Array,
}

/// What the verifier knows of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFacts {
    /// The map's name, for messages.
    pub name: String,
    /// Its type.
    pub kind: MapKind,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes.
    pub value_size: u32,
    /// `max_entries`.
    pub max_entries: u32,
    /// Programs may not write it (`BPF_F_RDONLY_PROG`).
    pub readonly_prog: bool,
    /// The bytes of a frozen, read-only array of one element (`.rodata`): loads from it are constants.
    pub frozen: Option<Vec<u8>>,
    /// Offset of a `struct bpf_spin_lock` (4 bytes) in the value, in bytes. Programs may reach it only through
    /// `bpf_spin_lock` and `bpf_spin_unlock`.
    pub spin_lock: Option<u32>,
}

/// The context of a hook: what `r1` points to on entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextFacts {
    /// The C name of the context struct, for messages ("xdp_md").
    pub name: String,
    /// Size of that struct in bytes, as programs see it.
    pub size: u32,
    /// Its fields, sorted by offset. Nothing between them is accessible.
    pub fields: Vec<ContextField>,
    /// Values that the program may return in `r0` (inclusive, as signed 32-bit numbers), or `None` for any.
    pub return_range: Option<(i32, i32)>,
    /// Whether packet memory may be written.
    pub packet_writable: bool,
}

/// A field of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextField {
    /// Its C name.
    pub name: String,
    /// Offset as programs see it, in bytes.
    pub off: u32,
    /// Size as programs see it, in bytes.
    pub size: u32,
    /// What a load of it yields.
    pub kind: ContextFieldKind,
    /// Whether programs may store to it (scalars only).
    pub writable: bool,
    /// Where the runtime keeps the field in its own context struct, in bytes.
    pub host_off: u32,
    /// How wide it is there. Scalars have the same width on both sides; pointers are 8 bytes wide there.
    pub host_size: Size,
}

/// What a load of a context field yields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContextFieldKind {
    /// A number. Narrower loads at any aligned offset inside the field are allowed.
    Scalar,
    /// Start of the packet (`xdp_md.data`); only loads of the whole field.
    Packet,
    /// End of the packet (`xdp_md.data_end`).
    PacketEnd,
    /// Start of the metadata before the packet (`xdp_md.data_meta`).
    PacketMeta,
    /// Read-only memory of a size known only at attach: the greatest extent accessed is reported in
    /// [`Verified::extents`].
    Memory,
}

/// Prototype of a BPF helper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HelperProto {
    /// Its number (`enum bpf_func_id`).
    pub id: u32,
    /// Its name, with the `bpf_` prefix.
    pub name: &'static str,
    /// What it returns.
    pub ret: RetType,
    /// What it takes; trailing `None`s are unused.
    pub args: [ArgType; 5],
    /// Refused to programs whose license is not GPL-compatible.
    pub gpl_only: bool,
    /// Map types that its map argument may have; empty if it takes no map.
    pub maps: &'static [MapKind],
    /// Whether it changes the map that it is given (its elements, not a value through a pointer).
    pub writes_map: bool,
}

/// What a helper returns in `r0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetType {
    /// A number (`RET_INTEGER`).
    Integer,
    /// Nothing; `r0` is unusable afterwards (`RET_VOID`).
    Void,
    /// A pointer to a value of the map argument, or NULL (`RET_PTR_TO_MAP_VALUE_OR_NULL`).
    MapValueOrNull,
}

/// What a helper takes in one argument register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArgType {
    /// No argument.
    None,
    /// Any initialised number or pointer (`ARG_ANYTHING`).
    Anything,
    /// The context pointer, unmodified (`ARG_PTR_TO_CTX`).
    Context,
    /// A map named by the program itself (`ARG_CONST_MAP_PTR`).
    ConstMap,
    /// Readable memory of the map argument's key size (`ARG_PTR_TO_MAP_KEY`).
    MapKey,
    /// Readable memory of the map argument's value size (`ARG_PTR_TO_MAP_VALUE`).
    MapValue,
    /// Readable memory whose size is in the next argument (`ARG_PTR_TO_MEM`).
    Mem,
    /// Writable memory, initialised by the helper, whose size is in the next argument (`ARG_PTR_TO_UNINIT_MEM`).
    UninitMem,
    /// Size of the preceding memory argument, not zero (`ARG_CONST_SIZE`).
    Size,
    /// Size of the preceding memory argument, zero allowed; then the pointer may be NULL (`ARG_CONST_SIZE_OR_ZERO`).
    SizeOrZero,
    /// A `struct bpf_spin_lock` in a map value (`ARG_PTR_TO_SPIN_LOCK`).
    SpinLock,
}

/// Which memory an access touches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Region {
    /// The stack of this frame or of a calling one.
    Stack,
    /// A field of the context, by index into [`ContextFacts::fields`].
    Context {
        /// Index of the field.
        field: u16,
    },
    /// Packet memory, metadata included.
    Packet,
    /// A value of a map, by index into [`ProgramInput::maps`].
    MapValue {
        /// Index of the map.
        map: u32,
    },
    /// Memory behind a context field of kind [`ContextFieldKind::Memory`].
    ContextMemory {
        /// Index of the field.
        field: u16,
    },
}

/// What was proved of one instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InsnFacts {
    /// Whether any path reaches it. Unreachable instructions may not be executed.
    pub reachable: bool,
    /// For loads, stores and atomics: every region that some path accesses here. One instruction may reach values of
    /// several maps, but not regions of different sorts, except the stack and others where the kernel allows it.
    pub access: BTreeSet<Region>,
    /// For helper calls: the map in the map argument (the same on every path).
    pub map: Option<u32>,
    /// For helper calls: memory given in each argument register r1 to r5.
    pub memory: [Option<ArgMemory>; 5],
}

/// Memory given to a helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgMemory {
    /// Regions that it lies in, over all paths. Empty if the pointer was NULL on every path.
    pub regions: BTreeSet<Region>,
    /// Whether the helper writes it.
    pub write: bool,
}

/// A verified program: what engines compile, with what was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The instructions as given.
    pub insns: Vec<Insn>,
    /// What was proved of each slot. The second slot of a wide immediate has default facts.
    pub facts: Vec<InsnFacts>,
    /// The main program first, then its subprograms, in slot order.
    pub subprogs: Vec<Subprog>,
    /// Maps whose elements some helper call may change.
    pub maps_updated: BTreeSet<u32>,
    /// Maps that stores, atomics or helpers may write through a value pointer.
    pub maps_stored: BTreeSet<u32>,
    /// For each context field of kind [`ContextFieldKind::Memory`] (by index): how many bytes from its start the program may
    /// read, at the most.
    pub extents: Vec<(u16, u32)>,
    /// What the proof cost.
    pub stats: Stats,
}

/// A subprogram (`bpf_func_info`'s extent).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subprog {
    /// First slot.
    pub start: usize,
    /// One past the last slot.
    pub end: usize,
    /// Bytes of stack that it uses in its own frame, at the most 512.
    pub stack_depth: u32,
}

/// What a verification cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instructions interpreted, over all paths ("processed N insns").
    pub processed: usize,
    /// The limit on that.
    pub limit: usize,
    /// States kept for pruning, in total.
    pub total_states: usize,
    /// The most states alive at once.
    pub peak_states: usize,
}

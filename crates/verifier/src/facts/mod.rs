//! What the verifier is told and what it answers, as plain data.
//!
//! A program comes with facts about its surroundings: the context of its hook ([`ContextFacts`]), the BPF helpers it may
//! call ([`HelperProto`]) and the maps it names ([`MapFacts`]). The answer, [`Verified`], carries what was proved about
//! each instruction, for the engines (which memory an access touches) and for map tracing (which stores write
//! through a map value).

mod context;
mod fields;
mod func;
mod graph;
mod helper;
mod insn;
mod kfunc;
mod kptr;
mod live;
mod map;
mod object;
mod own;
mod program;

use std::collections::BTreeSet;

use hitless_btf::Btf;
use hitless_isa::Insn;

pub use context::{ContextFacts, ContextField, ContextFieldKind, Widths, WritableMember};
pub use fields::{ManagedField, ValueFields};
pub use func::{FuncArg, GlobalFunc};
pub use graph::{Contained, GraphField, GraphFieldKind};
pub use helper::{ArgType, CallsBack, HelperProto, MemArg, MemSize, MemUse, RetType};
pub use insn::{ArgMemory, Branch, Facts, InsnFacts};
pub use kfunc::{IteratorType, KfuncArg, KfuncProto, KfuncRet};
pub use kptr::{Kptr, KptrKind};
pub use live::LiveProgram;
pub use map::{MapFacts, MapKind};
pub use object::{ObjectPointer, ObjectType, Trust};
pub use own::OwnTypes;
pub use program::{ProgramKind, ProgramSet};

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
    /// The helpers that this program type may call, sorted by number.
    pub helpers: &'a [HelperProto],
    /// The kernel functions that `insns` may name, in any order.
    pub kfuncs: &'a [KfuncProto],
    /// Whether the program's license allows helpers that are GPL-only.
    pub gpl_compatible: bool,
    /// Source lines, sorted by `pc`; may be empty.
    pub lines: &'a [SourceLine],
    /// Instructions that must never run, sorted by `pc`; each a call of a helper that does not exist.
    pub poisoned: &'a [Poisoned],
    /// The functions in `insns` that are verified by themselves, sorted by `start`. The main program is among them only if it
    /// takes the place of a function of another program: what `r1` and so on hold on entry are then its arguments.
    pub global_funcs: &'a [GlobalFunc],
    /// The types of the host's objects, if there are any.
    pub types: Option<&'a Btf>,
    /// The program's own types, for objects that it allocates.
    pub own: Option<&'a OwnTypes<'a>>,
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
    /// A value of a map that was looked up in a map of maps.
    InnerMapValue {
        /// Index of the map of maps.
        outer: u32,
    },
    /// A key of a map, given to a callback.
    MapKey {
        /// Index of the map.
        map: u32,
    },
    /// A key of a map that was looked up in a map of maps.
    InnerMapKey {
        /// Index of the map of maps.
        outer: u32,
    },
    /// Memory behind a context field of kind [`ContextFieldKind::Memory`].
    ContextMemory {
        /// Index of the field.
        field: u16,
    },
    /// A record reserved in a ring buffer that was looked up in a map of maps.
    InnerRecord {
        /// Index of the map of maps.
        outer: u32,
    },
    /// A record reserved in a ring buffer, by index into [`ProgramInput::maps`].
    Record {
        /// Index of the map.
        map: u32,
    },
    /// An object of one of the host's types, or bytes behind a pointer that was read out of one. Nothing says that the memory
    /// is there: engines guard such loads, and one that fails gives zero. Only members that the context says may be written are.
    Object,
    /// An object that the program allocated, which is there.
    Allocated,
}

/// A verified program: what engines compile, with what was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The instructions as given.
    pub insns: Vec<Insn>,
    /// What was proved of each slot.
    pub facts: Facts,
    /// The main program first, then its subprograms, in slot order.
    pub subprogs: Vec<Subprog>,
    /// How many frames are active at once at the most, the main program's included.
    pub call_depth: u32,
    /// How many bytes of stack these chains of calls use at the most, as Linux counts them: each frame rounded up to 32.
    pub combined_stack: u32,
    /// Maps whose elements some helper call may change.
    pub maps_updated: BTreeSet<u32>,
    /// Maps that stores, atomics or helpers may write through a value pointer.
    pub maps_stored: BTreeSet<u32>,
    /// Maps of maps such that some helper call may change elements of the maps in them.
    pub inner_maps_updated: BTreeSet<u32>,
    /// Maps of maps such that stores, atomics or helpers may write through a value pointer to the maps in them.
    pub inner_maps_stored: BTreeSet<u32>,
    /// Context fields of kind [`ContextFieldKind::Buffer`] (by index) such that stores, atomics or helpers may write what they
    /// point to.
    pub context_stored: BTreeSet<u16>,
    /// For each context field of kind [`ContextFieldKind::Memory`], [`ContextFieldKind::Buffer`] or
    /// [`ContextFieldKind::Record`] (by index): how many bytes from its start the program may access, at the most.
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
    /// Whether it may read stack that it has not written. Engines then clear its frame on entry, so that what it reads is
    /// defined.
    pub clear_stack: bool,
    /// Whether pointers to the packet may be invalid after a call of it.
    pub changes_packet: bool,
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
    /// The most states kept at once.
    pub peak_states: usize,
    /// The most states kept at once for one instruction.
    pub max_states_per_insn: usize,
}

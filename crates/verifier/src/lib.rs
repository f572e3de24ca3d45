//! Abstract interpretation of eBPF programs: accepts only what it can prove.
//!
//! [`verify`] takes a program and facts about its surroundings as data ([`ProgramInput`]) and follows every path through
//! it with sets of values instead of values. The answer is what was proved about each instruction ([`Verified`]), or the
//! instruction that cannot be accepted with what it requires and what was found ([`Rejection`]). Engines run accepted
//! programs without checks, so the rule is: what is not proved is refused.
//!
//! Five questions have five places:
//!
//! | question | place |
//! |---|---|
//! | what is an instruction? | `hitless_isa` |
//! | what does it *require*? | `requirements` |
//! | does that hold in a state? | `check` |
//! | what does it *do* to a state? | `transfer` |
//! | in which order are states visited? | `explore`, with `prune` and `precision` |
//!
//! Beneath them lie the abstract domains (`domain`), one file each. What is known of hooks and helpers is data too:
//! [`tables`].
//!
//! # What it relies on
//!
//! The runtime keeps these promises; nothing here can check them.
//!
//! - Objects (the packet with its metadata, map values, memory behind context fields) do not lie at the ends of the
//!   address space, and pointers in the context are not NULL.
//! - `data_meta <= data <= data_end`, and the bytes between are one object.
//! - Map values and records of ring buffers are aligned to 8 bytes.
//! - A frame of a subprogram with [`Subprog::clear_stack`] is zero on entry.
//! - Helpers do as their prototypes say: they read and write only the memory they are given, and fill all of what they are
//!   to initialise ([`MemUse::Initialize`]), if its size is known, whether or not they succeed.
//! - The bytes in [`MapFacts::frozen`] never change.
//! - An array has [`MapFacts::max_entries`] elements, and a lookup finds each of them. So have those in maps of maps.
//! - What may be NULL for a helper is looked at only if it is not.
//! - A dynptr on the stack, which only helpers write, describes memory as the call that made it was given, or none. Slices
//!   of it lie in that memory.
//! - An object that the program allocates has the size of its struct, is aligned to 8 bytes, and is there as long as a
//!   reference to it, the lock of a list or tree that holds it, or RCU says. A slice of a packet lies in the packet or in the
//!   buffer that it was given.
//! - What a context or a helper hands out as trusted ([`Trust::Trusted`]) or as a socket is there while the program runs,
//!   and not NULL unless it says so. Loads of [`Region::Object`] are guarded: one that fails gives zero.
//!
//! # Where it is stricter than Linux
//!
//! - Loops that never end are refused also around loops whose turns are counted, which Linux overlooks.
//! - The stack of a function that a helper calls back counts wherever the helper is called, not only where the function's
//!   address is taken.
//! - Memory that a global function is given is not for its atomic operations, since nothing says how it is aligned.
//! - The bytes before a tracepoint's record cannot be loaded.
//! - Programs write no objects of the host's but the members of sockets that congestion control may write.
//! - What may lie on the stack because it is a slice of a packet ends with the frame, and a write through it is one to the stack.
//! - Functions that order a tree touch no lock, also in functions that they call.
//! - A global function takes as trusted only what is.
//! - Helpers that user space cannot offer are refused by name, with the reason; so are sorts of arguments that are not
//!   supported yet ([`HelperProto::unsupported`]).
#![forbid(unsafe_code)]

mod check;
#[doc(hidden)]
pub mod claims;
mod domain;
mod error;
mod explore;
mod facts;
pub mod format;
mod hint;
mod history;
mod liveness;
mod log;
mod loops;
mod members;
mod node;
mod path;
mod places;
mod precision;
mod program;
mod prune;
mod record;
mod requirements;
mod state;
pub mod tables;
mod transfer;
mod uses;
mod visited;
mod widen;

pub use error::{Rejection, VerifierError};
pub use facts::{
    ArgMemory, ArgType, Branch, CallsBack, Contained, ContextFacts, ContextField, ContextFieldKind, Facts, FuncArg,
    GlobalFunc, GraphField, GraphFieldKind, HelperProto, InsnFacts, IteratorType, KfuncArg, KfuncProto, KfuncRet, Kptr,
    KptrKind, LiveProgram, ManagedField, MapFacts, MapKind, MemArg, MemSize, MemUse, ObjectPointer, ObjectType,
    OwnTypes, Poisoned, ProgramInput, ProgramKind, ProgramSet, Region, RetType, SourceLine, Stats, Subprog, Trust,
    ValueFields, Verified, Widths, WritableMember,
};
pub use log::{Log, LogLevel};
pub use path::{Decision, Trail};
pub use requirements::{Access, Requirement};

/// Verifies a program.
///
/// # Errors
/// [`Rejection`] if the program is malformed, or if some path leads to an instruction whose requirements are not proved
/// to hold, or if the search takes more than its limits allow.
///
/// # Examples
/// ```
/// use hitless_verifier::{ProgramInput, tables, verify};
///
/// let insns = hitless_isa::asm::assemble(
///     "r0 = *(u32 *)(r1 +0)
///      r0 = *(u8 *)(r0 +0)
///      exit",
/// )?;
/// let context = tables::program_types::xdp();
/// let input = ProgramInput {
///     name: "first_byte",
///     insns: &insns,
///     maps: &[],
///     context: &context,
///     helpers: tables::helpers::xdp(),
///     kfuncs: &[],
///     gpl_compatible: true,
///     lines: &[],
///     poisoned: &[],
///     global_funcs: &[],
///     types: None,
///     own: None,
/// };
/// let refused = verify(&input).unwrap_err();
/// assert_eq!(refused.errors[0].pc, 1);
/// assert_eq!(refused.errors[0].message, "invalid access to packet, off=0 size=1, R0(id=0,off=0,r=0)");
/// # Ok::<(), hitless_isa::asm::AsmError>(())
/// ```
pub fn verify(input: &ProgramInput<'_>) -> Result<Verified, Rejection> {
    explore::explore(input, None, None)
}

/// As [`verify`], writing a log.
///
/// # Errors
/// As those of [`verify`].
///
/// # Examples
/// ```
/// use hitless_verifier::{Log, LogLevel, ProgramInput, tables, verify_logged};
///
/// let insns = hitless_isa::asm::assemble("r0 = 2\nexit")?;
/// let context = tables::program_types::xdp();
/// let input = ProgramInput {
///     name: "pass",
///     insns: &insns,
///     maps: &[],
///     context: &context,
///     helpers: tables::helpers::xdp(),
///     kfuncs: &[],
///     gpl_compatible: true,
///     lines: &[],
///     poisoned: &[],
///     global_funcs: &[],
///     types: None,
///     own: None,
/// };
/// let mut log = Log::new(LogLevel::ALL, 1 << 20);
/// assert!(verify_logged(&input, &mut log).is_ok());
/// assert!(log.text().contains("0: (b7) r0 = 2                        ; R0=2\n1: (95) exit\nprocessed 2 insns "));
/// # Ok::<(), hitless_isa::asm::AsmError>(())
/// ```
pub fn verify_logged(input: &ProgramInput<'_>, log: &mut Log) -> Result<Verified, Rejection> {
    explore::explore(input, None, Some(log))
}

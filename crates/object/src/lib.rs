//! From a `.bpf.o` file, as clang makes it, to a description of its programs and maps.
//!
//! [`ObjectSpec::parse`] takes the bytes of the file and does what a loader does before it asks for anything: it finds the
//! programs and the subprograms that each of them reaches, joins them into one instruction stream, resolves calls and
//! references to maps and global data, and describes the maps. The answer is plain data and the same for the same bytes;
//! nothing is created or loaded.
//!
//! Map references in instructions are indices into [`ObjectSpec::maps`] (`BPF_PSEUDO_MAP_IDX`, and
//! `BPF_PSEUDO_MAP_IDX_VALUE` for global data), so a program makes sense together with its object only.
//!
//! What depends on where the object is loaded is left open: CO-RE relocations and externs (kfuncs, `.ksyms`, and the values
//! of `.kconfig`) are listed, and done by [`ObjectSpec::relocate`].
//!
//! Files are not trusted. What a file can make this crate allocate is bounded by a multiple of its size; only copies of
//! subprograms may take more, as each program gets its own: up to 16 MiB, and [`MAX_INSNS`] instructions, for all programs
//! together.
//!
//! Deliberately absent: pointers in global data that programs read, other than to programs, which stay zero.
#![forbid(unsafe_code)]

mod arena;
mod btf;
mod code;
mod data;
mod debug;
mod elf;
mod error;
mod externs;
mod functions;
mod kind;
mod map_type;
mod maps;
mod pointer;
mod program_type;
mod reloc;
mod relocate;
mod sections;
mod spec;
mod struct_ops;

pub use code::MAX_INSNS;
pub use data::MAX_DATA_SIZE;
pub use error::ObjectError;
pub use kind::{MapEvent, ProgramKind, SectionKind};
pub use map_type::map_type_name;
pub use program_type::{AttachType, ProgramType};
pub use relocate::{InsnError, OptionError, POISON, POISON_KFUNC, RelocateError, Target};
pub use spec::{
    CalledKfunc, CoreRelocation, Element, Extern, ExternKind, ExternRef, InitialValue, Line, MapSpec, ObjectSpec,
    Pinning, Poisoned, ProgramSpec, StructOpsFunction, StructOpsSpec, Subprogram,
};

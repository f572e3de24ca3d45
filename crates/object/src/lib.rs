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
//! Files are not trusted. What a file can make this crate allocate is bounded by the size of the file, but for
//! subprograms: each program gets its own copy, up to [`MAX_INSNS`] instructions for all programs together.
//!
//! Deliberately absent: CO-RE relocations (programs that need them are refused by name), extern symbols (kfuncs, `.ksyms`,
//! `.kconfig`), maps of maps with initial elements, legacy `maps` sections.
#![forbid(unsafe_code)]

mod btf;
mod code;
mod data;
mod elf;
mod error;
mod kind;
mod maps;
mod reloc;
mod spec;

pub use code::MAX_INSNS;
pub use data::MAX_DATA_SIZE;
pub use error::ObjectError;
pub use kind::{MapEvent, SectionKind};
pub use spec::{Line, MapSpec, ObjectSpec, Pinning, ProgramSpec, Subprogram};

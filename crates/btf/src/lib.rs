//! BTF, the type information of BPF objects: parse it, make it, write it, dump it as text or as C, print values with it, compare two
//! layouts with it.
//!
//! Everything here is pure: bytes in, values out. BTF comes from object files and from clients and is not trusted:
//! [`Btf::parse`] checks bounds before it reads, and [`Btf::new`] checks every reference, so that whatever holds a
//! [`Btf`] may follow it without checking again:
//!
//! - every type id that a type names exists and is of a kind that may stand there;
//! - following typedefs, modifiers, pointers and array elements ends after at most [`MAX_DEPTH`] steps, and so does
//!   by-value nesting;
//! - every member lies inside its struct, and sizes fit in 32 bits.
//!
//! What a small input can still ask for is a large answer (structs of structs of zero size, unions of unions). Printing,
//! dumping and comparing therefore count what they produce and give up with an error.
#![forbid(unsafe_code)]

mod btf;
mod builder;
mod check;
pub mod core;
pub mod dump;
mod error;
mod ext;
pub mod layout;
mod name;
mod parse;
mod types;
pub mod value;
mod write;

pub use btf::Btf;
pub use builder::Builder;
pub use check::MAX_DEPTH;
pub use error::{BtfError, DatasecError};
pub use ext::{BtfExt, CoreRelo, FuncInfo, LineInfo, SectionRecords};
pub use name::Name;
pub use types::{
    Array, Composite, Datasec, DatasecVar, DeclTag, Enum, Enumerator, Float, Func, FuncProto, Fwd, Int, IntEncoding,
    Kind, Linkage, Member, Param, Type, TypeId, TypeTag, Typedef, Var,
};
pub use write::Encoder;

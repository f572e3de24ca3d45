//! CO-RE relocation: what an access compiled against one BTF comes to in another.
//!
//! A compiler leaves with each relocated instruction the *root type* of an access, an *access string* ("0:1:2": an array
//! index into the root, then members and array elements by index) and a question ([`Relo`]): where is that field, how
//! large is it, does it exist? The question is answered in three steps:
//!
//! 1. the access string is resolved in the program's own types, to the names of members (`access`);
//! 2. types of the target with the root's kind and *essential name* (without a flavour: `task_struct___old` is
//!    `task_struct`) are candidates, and the names are looked up in each of them (`find`); whether types may stand for
//!    one another is decided by `compat` and, more strictly, by `matches`;
//! 3. the value is computed from what was found, here and there (`value`).
//!
//! A candidate that has no such field is passed over. Those that have it must agree on the value. They then stay the only
//! candidates for later relocations of the same root type, so that the accesses to one struct mean one struct: that is why
//! a [`Resolver`] is asked about all relocations of an object, in order.
//!
//! Neither types nor access strings are trusted. Nesting is bounded as [`Btf`] bounds it, comparisons of types nest at most
//! [`MAX_LEVELS`] deep, and a resolver gives up after [`MAX_WORK`] steps.
//!
//! The answers are libbpf's, those of release 1.1 and, where later releases have changed, theirs: accesses to arrays have
//! the size of the innermost element. But for one: an enumerator of an unsigned enum of 32 bits is not extended by its
//! highest bit, as C does not do so either, and libbpf refuses what clang makes of it.

mod access;
mod compat;
mod error;
mod find;
mod matches;
mod name;
mod resolver;
mod target;
mod value;

pub use error::CoreError;
pub use name::essential;
pub use resolver::{Resolver, describe, resolve};
pub use target::Target;

use crate::btf::Btf;
use crate::types::TypeId;

/// How deep function prototypes and structs may nest in a comparison of types.
pub const MAX_LEVELS: usize = 32;

/// How many steps a [`Resolver`] takes at the most for all its relocations: names looked at, types compared.
pub const MAX_WORK: u64 = 1 << 25;

/// How many bytes of names are looked at in a step.
const NAME_STEP: usize = 8;

/// What a relocation asks (`enum bpf_core_relo_kind`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Relo {
    /// `BPF_CORE_FIELD_BYTE_OFFSET`: offset of a field in bytes.
    FieldByteOffset,
    /// `BPF_CORE_FIELD_BYTE_SIZE`: size of a field in bytes.
    FieldByteSize,
    /// `BPF_CORE_FIELD_EXISTS`: 1 if there is such a field, else 0.
    FieldExists,
    /// `BPF_CORE_FIELD_SIGNED`: 1 if the field is signed, else 0.
    FieldSigned,
    /// `BPF_CORE_FIELD_LSHIFT_U64`: how far a 64-bit word that holds a bitfield is to be shifted left, to drop what is
    /// above it.
    FieldLshiftU64,
    /// `BPF_CORE_FIELD_RSHIFT_U64`: how far it is to be shifted right then.
    FieldRshiftU64,
    /// `BPF_CORE_TYPE_ID_LOCAL`: id of a type of the program.
    TypeIdLocal,
    /// `BPF_CORE_TYPE_ID_TARGET`: id of a type of the target, 0 if it has none.
    TypeIdTarget,
    /// `BPF_CORE_TYPE_EXISTS`: 1 if there is such a type, else 0.
    TypeExists,
    /// `BPF_CORE_TYPE_SIZE`: size of a type in bytes, 0 if there is none.
    TypeSize,
    /// `BPF_CORE_ENUMVAL_EXISTS`: 1 if there is such an enumerator, else 0.
    EnumvalExists,
    /// `BPF_CORE_ENUMVAL_VALUE`: value of an enumerator.
    EnumvalValue,
    /// `BPF_CORE_TYPE_MATCHES`: 1 if there is a type with at least the same content, else 0.
    TypeMatches,
}

impl Relo {
    /// The kind with this number.
    #[must_use]
    pub fn new(number: u32) -> Option<Relo> {
        Some(match number {
            0 => Relo::FieldByteOffset,
            1 => Relo::FieldByteSize,
            2 => Relo::FieldExists,
            3 => Relo::FieldSigned,
            4 => Relo::FieldLshiftU64,
            5 => Relo::FieldRshiftU64,
            6 => Relo::TypeIdLocal,
            7 => Relo::TypeIdTarget,
            8 => Relo::TypeExists,
            9 => Relo::TypeSize,
            10 => Relo::EnumvalExists,
            11 => Relo::EnumvalValue,
            12 => Relo::TypeMatches,
            _ => return None,
        })
    }

    /// What libbpf calls it ("byte_off").
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Relo::FieldByteOffset => "byte_off",
            Relo::FieldByteSize => "byte_sz",
            Relo::FieldExists => "field_exists",
            Relo::FieldSigned => "signed",
            Relo::FieldLshiftU64 => "lshift_u64",
            Relo::FieldRshiftU64 => "rshift_u64",
            Relo::TypeIdLocal => "local_type_id",
            Relo::TypeIdTarget => "target_type_id",
            Relo::TypeExists => "type_exists",
            Relo::TypeSize => "type_size",
            Relo::EnumvalExists => "enumval_exists",
            Relo::EnumvalValue => "enumval_value",
            Relo::TypeMatches => "type_matches",
        }
    }

    fn asks_about(self) -> Subject {
        match self {
            Relo::FieldByteOffset
            | Relo::FieldByteSize
            | Relo::FieldExists
            | Relo::FieldSigned
            | Relo::FieldLshiftU64
            | Relo::FieldRshiftU64 => Subject::Field,
            Relo::TypeIdLocal | Relo::TypeIdTarget | Relo::TypeExists | Relo::TypeSize | Relo::TypeMatches => {
                Subject::Type
            }
            Relo::EnumvalExists | Relo::EnumvalValue => Subject::Enumerator,
        }
    }
}

/// What a relocation is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Subject {
    Field,
    Type,
    Enumerator,
}

/// What a relocation comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The value that the compiler has put into the instruction, where it is certain enough to be checked; `None` for
    /// relocations of bitfields and type ids, whose instruction may hold something else.
    pub local: Option<u64>,
    /// The value for the target; `None` if the target has no such thing, and the instruction must never run.
    pub target: Option<u64>,
    /// Size in bytes of the accessed field here and in the target, for an instruction that loads or stores it; `None`
    /// unless the relocation is a byte offset whose field may be accessed with another size there.
    pub access: Option<AccessSize>,
    /// What was asked for, in words: "struct task_struct.pid", "enum bpf_func_id::BPF_FUNC_trace".
    pub what: String,
}

/// Sizes of a relocated access. That of a bitfield is 0: how it is loaded, and where its bits are then, is up to other
/// relocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessSize {
    /// In the program's own BTF, in bytes.
    pub local: u32,
    /// In the target's BTF, in bytes.
    pub target: u32,
    /// Whether an instruction may be rewritten to the target's size: both are unsigned integers or pointers, and neither is
    /// a bitfield.
    pub resizable: bool,
}

/// Whether a value of type `local` of the program's types may stand for one of type `target`: the same sort of thing, with
/// the same parameters if it is a function, behind the same pointers and arrays. Names do not count, nor what a
/// struct contains. This is how `bpf_core_type_exists` compares types, and how externs are checked.
///
/// # Errors
/// [`CoreError::TooDeep`] and [`CoreError::TooMuchWork`] for types made to be hard to compare.
pub fn compatible(local: &Btf, id: TypeId, target: &Btf, target_id: TypeId) -> Result<bool, CoreError> {
    compat::types(&mut Both::new(local, target, &mut Work::default()), id, target_id)
}

/// The two sides of a comparison.
struct Both<'a> {
    local: &'a Btf,
    target: &'a Btf,
    work: &'a mut Work,
}

impl<'a> Both<'a> {
    fn new(local: &'a Btf, target: &'a Btf, work: &'a mut Work) -> Both<'a> {
        Both { local, target, work }
    }

    /// Whether both names have the same essential name. Looking for flavours takes steps, as names may be long and many.
    fn same_name(&mut self, local: &str, target: &str) -> Result<bool, CoreError> {
        if local == target {
            return Ok(true);
        }
        self.work.spend((local.len() + target.len()) / NAME_STEP)?;
        Ok(essential(local) == essential(target))
    }
}

/// How many steps are left.
#[derive(Debug)]
struct Work(u64);

impl Default for Work {
    fn default() -> Work {
        Work(MAX_WORK)
    }
}

impl Work {
    fn spend(&mut self, steps: usize) -> Result<(), CoreError> {
        self.0 = self.0.checked_sub(steps as u64).ok_or(CoreError::TooMuchWork)?;
        Ok(())
    }
}

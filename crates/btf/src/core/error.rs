//! Why a relocation cannot be resolved.

use crate::types::{Kind, TypeId};

use super::{MAX_LEVELS, MAX_WORK};

/// Why a relocation cannot be made sense of. A field or type that the target lacks is no error: see
/// [`Resolution::target`](super::Resolution::target).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// The kind of the relocation is not known.
    #[error("unknown CO-RE relocation kind {kind}, expected 0 to 12")]
    UnknownKind {
        /// Its number (`enum bpf_core_relo_kind`).
        kind: u32,
    },
    /// The root type does not exist.
    #[error("root type {id} does not exist")]
    UnknownType {
        /// Its id.
        id: TypeId,
    },
    /// The root type has no name that could be looked up.
    #[error("root type {id} is an anonymous {kind}, expected a type with a name")]
    Anonymous {
        /// Its id.
        id: TypeId,
        /// Its kind.
        kind: Kind,
    },
    /// The access string is not one.
    #[error("access string {access:?}, expected {expected}")]
    Access {
        /// The string.
        access: String,
        /// What it should look like.
        expected: &'static str,
    },
    /// The access string names a member, element or enumerator that the program's type does not have.
    #[error("access string {access:?}: index {index} into {ty}, which has {count}")]
    Index {
        /// The string.
        access: String,
        /// The index.
        index: u32,
        /// The type.
        ty: String,
        /// How many members, elements or enumerators it has.
        count: u32,
    },
    /// The access string goes into a type that has no parts, or a relocation of enumerators names no enum.
    #[error("access string {access:?}: index {index} into {ty}, expected {expected}")]
    NotIndexable {
        /// The string.
        access: String,
        /// The index.
        index: u32,
        /// The type.
        ty: String,
        /// What sort of type it should be.
        expected: &'static str,
    },
    /// A type without a size, where one is needed.
    #[error("{ty} has no size")]
    Unsized {
        /// The type.
        ty: String,
    },
    /// An offset that is out of all proportion.
    #[error("offset of {what} does not fit in 32 bits")]
    Offset {
        /// What was accessed.
        what: String,
    },
    /// A question that has no answer for an element of an array.
    #[error("{what} is no member of a struct; only offset, size and existence of an element can be relocated")]
    Element {
        /// What was accessed.
        what: String,
    },
    /// A bitfield that no load of 8 bytes covers.
    #[error("{what} spans more than 8 bytes")]
    WideBitfield {
        /// The bitfield.
        what: String,
    },
    /// Types of the target that bear the same name disagree.
    #[error("{what} is ambiguous: {first} in type {first_id} of the target, {second} in type {second_id}")]
    Ambiguous {
        /// What was asked for.
        what: String,
        /// One candidate.
        first_id: TypeId,
        /// What it says.
        first: String,
        /// Another candidate.
        second_id: TypeId,
        /// What that says.
        second: String,
    },
    /// Types nested too deeply to be compared.
    #[error("types nest deeper than {max} levels, which is more than can be compared", max = MAX_LEVELS)]
    TooDeep,
    /// Types that take too long to be compared, or too many relocations.
    #[error("relocations take more than {max} steps", max = MAX_WORK)]
    TooMuchWork,
}

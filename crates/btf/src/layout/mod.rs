//! From an old layout to a new one: which field of a value goes where, what is lost on the way, and the copy operations
//! that carry it out.
//!
//! Fields are matched by name; a new field tagged `btf_decl_tag("was:OLD")` takes over the old field `OLD` of the same
//! struct if there is one. Names and tags of the types themselves do not matter, only what they contain.
//!
//! - Structs are compared field by field, at any depth; the path of a field reads `a.b`, of a field inside array elements
//!   `a[].b`. Members of anonymous structs count as members of the struct around them.
//! - Integers and enums are widened (by the sign of the *old* type) or narrowed; a change of signedness is incompatible
//!   unless the new type holds every old value. So are enumerators that keep their name and change their value.
//! - Arrays of the same length are carried over element by element; longer ones are filled up with zeroes, shorter
//!   ones lose their tail.
//! - Unions are carried over as bytes if every old member is still there unchanged, and are incompatible otherwise:
//!   nobody knows which member a value uses.
//! - Locks and timers belong to the map they are in and start anew.
//!
//! Padding is not carried over, unless the two layouts are the same: then the whole value is copied. Two old values that
//! differ in padding only therefore become equal; for keys, see [`Transform::unread`].

mod compare;
mod fields;
mod scalar;
mod transform;

use std::fmt;

pub use compare::compare;
pub use transform::{CopyOp, Transform};

use crate::types::TypeId;

/// How many fields are compared before the comparison is given up.
const MAX_FIELDS: usize = 1 << 18;

/// Structs that the kernel initialises, and that have no meaning outside of their map value.
pub const REINITIALISED: [&str; 4] = ["bpf_spin_lock", "bpf_res_spin_lock", "bpf_timer", "bpf_wq"];

/// How two layouts differ, and the way from the one to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutDiff {
    /// Every field of the new layout in its order, then the old fields that are dropped.
    pub fields: Vec<FieldChange>,
    /// What carries values over. Fields whose fate is [`Fate::Incompatible`] become zero.
    pub transform: Transform,
    identity: bool,
}

impl LayoutDiff {
    /// The fields that lose information: dropped, narrowed, shrunk or incompatible.
    pub fn lossy(&self) -> impl Iterator<Item = &FieldChange> {
        self.fields.iter().filter(|field| field.fate.is_lossy())
    }

    /// Whether both layouts have every field at the same place with the same meaning, so that the same bytes serve both.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// Whether different old values always become different new ones, as keys must. True if every named field of the old
    /// layout is kept without loss. Padding does not count: see [`Transform::unread`].
    #[must_use]
    pub fn injective(&self) -> bool {
        !self
            .fields
            .iter()
            .any(|field| field.fate.is_lossy() || (field.fate == Fate::Reinitialised && field.old.is_some()))
    }
}

/// What becomes of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Where the field is in the new layout ("a.b"); in the old one if it is dropped. Empty for a value that is no struct.
    pub path: String,
    /// Its path in the old layout, if that is another one.
    pub renamed_from: Option<String>,
    /// Its place in the old layout, if it was there.
    pub old: Option<FieldPlace>,
    /// Its place in the new layout, if it is there.
    pub new: Option<FieldPlace>,
    /// What becomes of it.
    pub fate: Fate,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "value" } else { &self.path };
        match &self.renamed_from {
            Some(old) => write!(f, "{path} (was {old}): {}", self.fate),
            None => write!(f, "{path}: {}", self.fate),
        }
    }
}

/// Where a field lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPlace {
    /// Offset in bytes; inside array elements, that in the first element.
    pub offset: u32,
    /// Size in bytes; of a bitfield, the size of its type.
    pub size: u32,
    /// For a bitfield: its first bit, counted from `offset`, and its width.
    pub bits: Option<(u8, u8)>,
    /// Its type.
    pub ty: TypeId,
    /// Its type as C writes it.
    pub type_name: String,
}

/// What becomes of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Same place, same meaning.
    Same,
    /// Same meaning at another place.
    Moved,
    /// An integer gets more bits. The place may change, too.
    Widened {
        /// Bits before.
        from: u32,
        /// Bits after.
        to: u32,
        /// Whether it is extended by its sign.
        signed: bool,
    },
    /// An integer gets fewer bits; the high ones are cut off.
    Narrowed {
        /// Bits before.
        from: u32,
        /// Bits after.
        to: u32,
    },
    /// An array gets longer; the new elements are zero.
    Grown {
        /// Elements before.
        from: u32,
        /// Elements after.
        to: u32,
    },
    /// An array gets shorter; its last elements are cut off.
    Shrunk {
        /// Elements before.
        from: u32,
        /// Elements after.
        to: u32,
    },
    /// A new field, which starts as zero.
    ZeroFilled,
    /// An old field that the new layout does not have.
    Dropped,
    /// A lock or timer, which starts anew.
    Reinitialised,
    /// There is no way from the old field to the new one; it would start as zero.
    Incompatible {
        /// Why.
        reason: String,
    },
}

impl Fate {
    /// Whether information is lost.
    #[must_use]
    pub fn is_lossy(&self) -> bool {
        matches!(
            self,
            Fate::Narrowed { .. } | Fate::Shrunk { .. } | Fate::Dropped | Fate::Incompatible { .. }
        )
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Same => f.write_str("same"),
            Fate::Moved => f.write_str("moved"),
            Fate::Widened { from, to, signed: true } => write!(f, "widened from {from} to {to} bits, signed"),
            Fate::Widened {
                from,
                to,
                signed: false,
            } => write!(f, "widened from {from} to {to} bits"),
            Fate::Narrowed { from, to } => write!(f, "narrowed from {from} to {to} bits"),
            Fate::Grown { from, to } => write!(f, "grown from {from} to {to} elements"),
            Fate::Shrunk { from, to } => write!(f, "shrunk from {from} to {to} elements"),
            Fate::ZeroFilled => f.write_str("new, zero"),
            Fate::Dropped => f.write_str("dropped"),
            Fate::Reinitialised => f.write_str("starts anew"),
            Fate::Incompatible { reason } => write!(f, "incompatible: {reason}"),
        }
    }
}

/// Why two types cannot be compared at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A type without values.
    #[error("type {id} has no size")]
    NoSize {
        /// The type.
        id: TypeId,
    },
    /// A variable reaches over the end of its data section; the section's size is not known yet if it is 0.
    #[error("variable {name:?} ends at byte {end} of a data section of {size}")]
    OutOfBounds {
        /// The variable.
        name: String,
        /// Where it ends.
        end: u64,
        /// The section's size.
        size: u32,
    },
    /// More fields than are compared.
    #[error("types with more than {max} fields")]
    TooLarge {
        /// The limit.
        max: usize,
    },
}

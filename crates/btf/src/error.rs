//! Why BTF is refused.

use crate::types::{Kind, TypeId};

/// Why bytes are no BTF, or types do not make sense together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BtfError {
    /// Something does not lie inside what holds it.
    #[error("{what} at bytes {start} to {end}, but there are only {len}")]
    OutOfBounds {
        /// What was to be read.
        what: &'static str,
        /// Where it starts.
        start: u64,
        /// Where it ends.
        end: u64,
        /// How many bytes there are.
        len: u64,
    },
    /// The first two bytes are something else.
    #[error("magic {found:#06x}, expected 0xeb9f (little-endian)")]
    Magic {
        /// The number found.
        found: u16,
    },
    /// The other byte order.
    #[error("big-endian BTF, expected little-endian; compile with -target bpfel")]
    BigEndian,
    /// A version that does not exist yet.
    #[error("version {found}, expected 1")]
    Version {
        /// The number found.
        found: u8,
    },
    /// Flags in the header or in a type that have no meaning.
    #[error("unknown flags {flags:#x} in {what}")]
    Flags {
        /// Where.
        what: &'static str,
        /// The flags.
        flags: u32,
    },
    /// A header too short for its version, or longer with something in it.
    #[error("header length {found}, expected {expected}")]
    HeaderLength {
        /// The length found.
        found: u32,
        /// The length of the header this version has.
        expected: u32,
    },
    /// More bytes than BTF may have.
    #[error("{what} has {len} bytes, at most {max} are allowed")]
    TooLarge {
        /// Which section.
        what: &'static str,
        /// Its size.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// More types than a type id can name.
    #[error("more than {max} types")]
    TooManyTypes {
        /// The limit.
        max: u32,
    },
    /// Types and strings share bytes.
    #[error("type section at {types} and string section at {strings} overlap")]
    Overlap {
        /// Where types start, behind the header.
        types: u32,
        /// Where strings start, behind the header.
        strings: u32,
    },
    /// More members, values, parameters or variables than a type can list.
    #[error("type {id}: a {kind} of {count} items, at most {max} are allowed")]
    TooManyItems {
        /// The type.
        id: TypeId,
        /// Its kind.
        kind: Kind,
        /// How many it lists.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A value that an enum of this size and sign cannot have.
    #[error("type {id}: enumerator {name:?} has the value {value}, which a {kind} cannot hold")]
    BadEnumerator {
        /// The enum.
        id: TypeId,
        /// Its kind.
        kind: Kind,
        /// The enumerator.
        name: String,
        /// Its value.
        value: i64,
    },
    /// The string section does not start and end with a NUL.
    #[error("string section does not start and end with a nul")]
    Strings,
    /// A string offset outside of the string section.
    #[error("type {id}: string offset {offset} is not in the string section")]
    BadString {
        /// The type that names it.
        id: TypeId,
        /// The offset.
        offset: u32,
    },
    /// A string offset in `.BTF.ext` outside of the string section.
    #[error("string offset {offset} in .BTF.ext is not in the string section")]
    BadExtString {
        /// The offset.
        offset: u32,
    },
    /// A name longer than names may be.
    #[error("type {id}: name of {len} bytes, at most {max} are allowed")]
    LongName {
        /// The type that bears it.
        id: TypeId,
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A kind number that is not assigned.
    #[error("type {id}: unknown kind {kind}")]
    UnknownKind {
        /// The type.
        id: TypeId,
        /// The number.
        kind: u8,
    },
    /// A type that refers to a type that does not exist.
    #[error("type {id}: refers to type {target}, but there are only {count}")]
    BadTypeId {
        /// The type.
        id: TypeId,
        /// What it refers to.
        target: TypeId,
        /// How many types there are, `void` included.
        count: u32,
    },
    /// A type that refers to one of a kind that cannot stand there.
    #[error("type {id}: {what} is type {target}, a {found}")]
    BadReference {
        /// The type.
        id: TypeId,
        /// What refers.
        what: &'static str,
        /// What it refers to.
        target: TypeId,
        /// The kind of that.
        found: Kind,
    },
    /// An array that is contained by value and has a size of 4 GiB or more.
    #[error("type {id}: {what} is type {target}, an array of 4 GiB or more")]
    HugeArray {
        /// The type that contains it.
        id: TypeId,
        /// What it is there.
        what: &'static str,
        /// The array.
        target: TypeId,
    },
    /// A type that refers back to itself without a struct behind a pointer in between.
    #[error("type {id}: refers to itself")]
    Cycle {
        /// A type on the cycle.
        id: TypeId,
    },
    /// Types nested too deeply.
    #[error("type {id}: nested deeper than {max} types")]
    TooDeep {
        /// The outermost type, or one near it.
        id: TypeId,
        /// The limit.
        max: usize,
    },
    /// A size that has no meaning for the kind, or exceeds 32 bits.
    #[error("type {id}: {kind} with a size of {size} bytes")]
    BadSize {
        /// The type.
        id: TypeId,
        /// Its kind.
        kind: Kind,
        /// Its size.
        size: u64,
    },
    /// An integer whose bits do not fit in its bytes, or whose encoding is unknown.
    #[error("type {id}: int of {size} bytes with encoding {encoding:#x}, {bits} bits from bit {bit_offset}")]
    BadInt {
        /// The type.
        id: TypeId,
        /// Its size in bytes.
        size: u32,
        /// The encoding's flags.
        encoding: u8,
        /// The value's bits.
        bits: u8,
        /// The first of them.
        bit_offset: u8,
    },
    /// A member outside of its struct, or at a place that its type cannot have.
    #[error("type {id}: member {member} takes bits {start} to {end} of {bits}")]
    BadMember {
        /// The struct or union.
        id: TypeId,
        /// Index of the member.
        member: u32,
        /// First bit.
        start: u64,
        /// One past the last bit.
        end: u64,
        /// Bits of the struct.
        bits: u64,
    },
    /// A declaration tag on a member or parameter that does not exist.
    #[error("type {id}: declaration tag on component {component} of type {target}")]
    BadComponent {
        /// The tag.
        id: TypeId,
        /// The type it is attached to.
        target: TypeId,
        /// The component.
        component: i32,
    },
    /// A linkage number that has no meaning.
    #[error("type {id}: unknown linkage {linkage}")]
    BadLinkage {
        /// The function or variable.
        id: TypeId,
        /// The number.
        linkage: u32,
    },
    /// A record size in `.BTF.ext` that cannot be.
    #[error("{what} records of {size} bytes, expected at least {min}")]
    BadRecordSize {
        /// Which records.
        what: &'static str,
        /// The size found.
        size: u32,
        /// The size that this version has.
        min: u32,
    },
}

/// Why a data section does not fit what the object file says about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatasecError {
    /// The id is not that of a data section.
    #[error("type {id} is not a data section")]
    NotDatasec {
        /// The id.
        id: TypeId,
    },
    /// A variable reaches over the end of the section.
    #[error("variable {name:?} takes bytes {offset} to {end} of a section of {size}")]
    OutOfBounds {
        /// The variable.
        name: String,
        /// Its offset.
        offset: u32,
        /// Where it ends.
        end: u64,
        /// The section's size.
        size: u32,
    },
}

//! Fields of map values that hold pointers to the host's objects.

use hitless_btf::TypeId;

/// A field of a map value that holds a pointer to an object of the host, or NULL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kptr {
    /// Where it is in the value, in bytes; it takes 8.
    pub off: u32,
    /// Who keeps the object.
    pub kind: KptrKind,
    /// The object's type among the host's ([`ProgramInput::types`](super::ProgramInput::types)).
    pub ty: TypeId,
}

/// Who keeps the object that a field points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KptrKind {
    /// Nobody: it may be gone (`__kptr_untrusted`).
    Untrusted,
    /// The map: the pointer is a reference, which only `bpf_kptr_xchg` takes and gives (`__kptr`).
    Referenced,
}

//! Fields of map values that hold pointers to objects.

use super::ObjectType;

/// A field of a map value that holds a pointer to an object, or NULL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kptr {
    /// Where it is in the value, in bytes; it takes 8.
    pub off: u32,
    /// Who keeps the object.
    pub kind: KptrKind,
    /// The object's type: a struct of the host's, or one that programs allocate.
    pub ty: ObjectType,
}

impl Kptr {
    /// Whether some of the bytes from `start` to `end` are part of it.
    #[must_use]
    pub fn is_touched(&self, start: i64, end: i64) -> bool {
        let off = i64::from(self.off);
        start < off + 8 && off < end
    }
}

/// Who keeps the object that a field points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KptrKind {
    /// Nobody: it may be gone (`__kptr_untrusted`).
    Untrusted,
    /// The map: the pointer is a reference, which only `bpf_kptr_xchg` takes and gives (`__kptr`).
    Referenced,
}

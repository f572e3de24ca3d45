//! Open-coded iterators on the stack. Only their functions look into them.

use super::pointer::Id;
use super::value::IdMap;
use crate::facts::IteratorType;

/// An iterator: a reference, until it is destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OpenIterator {
    /// Where it starts, a multiple of 8.
    pub(crate) off: i64,
    pub(crate) ty: IteratorType,
    /// Names it and the reference.
    pub(crate) id: Id,
    /// Whether it has come to its end.
    pub(crate) drained: bool,
    /// How many elements were taken from it on the way here (see `loops`). No part of the set.
    pub(crate) turns: u32,
}

impl OpenIterator {
    pub(crate) fn meets(&self, off: i64, len: i64) -> bool {
        off < self.off + i64::from(self.ty.size) && self.off < off + len
    }

    /// Whether it is in the same state, under another name perhaps.
    pub(crate) fn is(&self, old: &OpenIterator, ids: &mut IdMap) -> bool {
        (self.off, self.ty, self.drained) == (old.off, old.ty, old.drained) && ids.rename_object(old.id, self.id)
    }
}

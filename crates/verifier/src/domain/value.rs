//! What a register or a spilled slot holds.

use std::fmt;

use super::object::Object;
use super::pointer::{Id, Pointer, PointerKind};
use super::scalar::Scalar;

/// How a number is linked to others: it is the unknown named `id` plus `off`, modulo 2^64. So of two numbers with the same
/// id the difference is known. An id of 0 links nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    pub(crate) id: Id,
    pub(crate) off: i32,
}

impl Link {
    /// Linked to nothing.
    pub(crate) const NONE: Link = Link { id: 0, off: 0 };

    /// The link of a number that is greater by `by`.
    pub(crate) fn plus(self, by: i64) -> Link {
        let off = i32::try_from(by).ok().and_then(|by| self.off.checked_add(by));
        match off {
            Some(off) if self.id != 0 => Link { off, ..self },
            _ => Link::NONE,
        }
    }
}

/// A register's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    /// Nothing that may be read.
    Uninit,
    /// A number, and how it is linked to others.
    Scalar(Scalar, Link),
    /// A pointer.
    Pointer(Pointer),
}

impl Value {
    /// Any number.
    pub(crate) const UNKNOWN: Value = Value::Scalar(Scalar::TOP, Link::NONE);

    /// One number.
    pub(crate) const fn constant(x: u64) -> Value {
        Value::Scalar(Scalar::constant(x), Link::NONE)
    }

    /// The number, if it is one.
    pub(crate) fn as_scalar(&self) -> Option<&Scalar> {
        match self {
            Value::Scalar(scalar, _) => Some(scalar),
            _ => None,
        }
    }

    /// The pointer, if it is one.
    pub(crate) fn as_pointer(&self) -> Option<&Pointer> {
        match self {
            Value::Pointer(pointer) => Some(pointer),
            _ => None,
        }
    }

    /// The object that it points to, if it does to one that has a type.
    pub(crate) fn as_object(&self) -> Option<Object> {
        match self.as_pointer()?.kind {
            PointerKind::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The value, if it is not NULL.
    pub(crate) fn not_null(&self) -> Value {
        let Value::Pointer(pointer) = self else { return *self };
        Value::Pointer(Pointer {
            kind: pointer.kind.not_null(),
            ..*pointer
        })
    }

    /// Whether it is the number zero.
    pub(crate) fn is_zero(&self) -> bool {
        self.as_scalar().and_then(Scalar::as_constant) == Some(0)
    }

    /// The kernel's name of the register type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::Uninit => "not_init",
            Value::Scalar(..) => "scalar",
            Value::Pointer(pointer) => pointer.kind.name(),
        }
    }

    /// The link, if it is a number that is linked.
    pub(crate) fn link(&self) -> Option<Link> {
        match self {
            Value::Scalar(_, link) if link.id != 0 => Some(*link),
            _ => None,
        }
    }

    /// Whether `self` stands for no more states than `old`, where ids of `old` are renamed to ids of `self` by `ids`.
    ///
    /// What nothing could read in `old` may be anything in `self`; if `old` is a number that is not `precise`, `self` may
    /// be any number.
    pub(crate) fn leq(&self, old: &Value, precise: bool, ids: &mut IdMap) -> bool {
        match (self, old) {
            (_, Value::Uninit) => true,
            (Value::Scalar(..), Value::Scalar(..)) if !precise => true,
            (Value::Scalar(new, new_link), Value::Scalar(old, old_link)) => {
                new.leq(old) && (old_link.id == 0 || old.as_constant().is_some() || ids.rename(*old_link, *new_link))
            }
            (Value::Pointer(new), Value::Pointer(old)) => {
                new.fixed == old.fixed && new.var.leq(&old.var) && kind_leq(new.kind, old.kind, ids)
            }
            _ => false,
        }
    }
}

fn kind_leq(new: PointerKind, old: PointerKind, ids: &mut IdMap) -> bool {
    use PointerKind::{ContextMemory, Dynptr, Element, InnerMapOrNull, MapValue, Packet, PacketMeta, Record, Slice};
    match (new, old) {
        (Packet { id: new_id, range: new }, Packet { id: old_id, range: old })
        | (PacketMeta { id: new_id, range: new }, PacketMeta { id: old_id, range: old }) => {
            new >= old && ids.rename_object(old_id, new_id)
        }
        (
            MapValue {
                map: new,
                id: new_id,
                nullable: new_nullable,
            },
            MapValue {
                map: old,
                id: old_id,
                nullable: old_nullable,
            },
        ) => new == old && new_nullable == old_nullable && ids.rename_object(old_id, new_id),
        (
            Element {
                iterator: new_id,
                size: new,
            },
            Element {
                iterator: old_id,
                size: old,
            },
        ) => new == old && ids.rename_object(old_id, new_id),
        (InnerMapOrNull { map: new, id: new_id }, InnerMapOrNull { map: old, id: old_id }) => {
            new == old && ids.rename_object(old_id, new_id)
        }
        (
            Dynptr {
                id: new_id,
                memory: new,
            },
            Dynptr { id, memory },
        ) => new == memory && ids.rename_object(id, new_id),
        (
            Slice {
                dynptr: new_dynptr,
                memory: new_memory,
                id: new_id,
                size: new_size,
                nullable: new_nullable,
                readonly: new_readonly,
                buffer: new_buffer,
            },
            Slice {
                dynptr,
                memory,
                id,
                size,
                nullable,
                readonly,
                buffer,
            },
        ) => {
            (new_memory, new_size, new_nullable) == (memory, size, nullable)
                && (new_readonly, new_buffer) == (readonly, buffer)
                && ids.rename_object(dynptr, new_dynptr)
                && ids.rename_object(id, new_id)
        }
        (Record { id: new_id, .. }, Record { id: old_id, .. }) => {
            let renamed = match new {
                Record {
                    map, size, nullable, ..
                } => Record {
                    map,
                    id: old_id,
                    size,
                    nullable,
                },
                other => other,
            };
            renamed == old && ids.rename_object(old_id, new_id)
        }
        (ContextMemory { id: new_id, .. }, ContextMemory { id: old_id, .. }) => {
            let renamed = match new {
                ContextMemory {
                    field,
                    nullable,
                    writable,
                    ..
                } => ContextMemory {
                    field,
                    id: old_id,
                    nullable,
                    writable,
                },
                other => other,
            };
            renamed == old && ids.rename_object(old_id, new_id)
        }
        (PointerKind::Object(new), PointerKind::Object(old)) => {
            let renamed = Object {
                id: old.id,
                reference: old.reference,
                ..new
            };
            renamed == old && ids.rename_object(old.id, new.id) && ids.rename_object(old.reference, new.reference)
        }
        _ => new == old,
    }
}

/// A renaming of the ids of one state to those of another.
///
/// An id says that all its bearers share one unknown, and nothing about bearers of other ids. So the renaming has to be
/// a function of the old id, and need not be injective. The unknowns need not be the same: a linked number's may be
/// greater by a constant in the other state.
#[derive(Debug, Default)]
pub(crate) struct IdMap {
    pairs: Vec<(Id, Id, i64)>,
    /// Names given to numbers that are linked to nothing, counted downwards.
    unlinked: Id,
}

impl IdMap {
    /// Forgets all pairs.
    pub(crate) fn clear(&mut self) {
        self.pairs.clear();
        self.unlinked = 0;
    }

    /// Renames the id of a linked number. A number that is linked to nothing counts as linked to itself alone.
    fn rename(&mut self, old: Link, new: Link) -> bool {
        let id = if new.id == 0 {
            self.unlinked = self.unlinked.wrapping_sub(1);
            self.unlinked
        } else {
            new.id
        };
        self.pair(old.id, id, i64::from(new.off) - i64::from(old.off))
    }

    /// Renames the id of an object or of the unknown part of an offset; 0 names itself only.
    pub(crate) fn rename_object(&mut self, old: Id, new: Id) -> bool {
        if old == 0 || new == 0 {
            old == new
        } else {
            self.pair(old, new, 0)
        }
    }

    fn pair(&mut self, old: Id, new: Id, greater: i64) -> bool {
        match self.pairs.iter().find(|pair| pair.0 == old) {
            Some(pair) => (pair.1, pair.2) == (new, greater),
            None => {
                self.pairs.push((old, new, greater));
                true
            }
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Uninit => f.write_str("nothing"),
            Value::Scalar(scalar, _) => write!(f, "{scalar}"),
            Value::Pointer(pointer) => write!(f, "{pointer}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(id: Id, range: u32) -> Value {
        Value::Pointer(Pointer::to(PointerKind::Packet { id, range }))
    }

    fn leq(new: Value, old: Value) -> bool {
        new.leq(&old, true, &mut IdMap::default())
    }

    #[test]
    fn more_known_is_less_or_equal() {
        assert!(leq(Value::constant(3), Value::UNKNOWN));
        assert!(!leq(Value::UNKNOWN, Value::constant(3)));
        assert!(leq(packet(0, 14), packet(0, 10)));
        assert!(!leq(packet(0, 10), packet(0, 14)));
        assert!(leq(packet(0, 10), Value::Uninit));
        assert!(!leq(Value::Uninit, Value::UNKNOWN));
        assert!(!leq(packet(0, 10), Value::UNKNOWN));
    }

    #[test]
    fn a_number_that_does_not_matter_may_be_any() {
        let imprecise = |new: Value, old: Value| new.leq(&old, false, &mut IdMap::default());
        assert!(imprecise(Value::UNKNOWN, Value::constant(3)));
        assert!(!imprecise(packet(0, 10), Value::constant(3)));
        assert!(!imprecise(Value::Uninit, Value::constant(3)));
        assert!(!imprecise(packet(0, 10), packet(0, 14)), "pointers always matter");
    }

    #[test]
    fn ids_are_renamed_consistently() {
        let linked = |id, off| Value::Scalar(Scalar::loaded(1, false), Link { id, off });
        let mut ids = IdMap::default();
        assert!(linked(8, 0).leq(&linked(5, 0), true, &mut ids));
        assert!(linked(8, 0).leq(&linked(5, 0), true, &mut ids));
        assert!(!linked(9, 0).leq(&linked(5, 0), true, &mut ids));
        // The same difference between two numbers is the same link.
        ids.clear();
        assert!(linked(8, 4).leq(&linked(5, 0), true, &mut ids));
        assert!(linked(8, 7).leq(&linked(5, 3), true, &mut ids));
        assert!(!linked(8, 7).leq(&linked(5, 2), true, &mut ids));
        // Two unlinked numbers are not the same number.
        ids.clear();
        assert!(linked(0, 0).leq(&linked(5, 0), true, &mut ids));
        assert!(!linked(0, 0).leq(&linked(5, 0), true, &mut ids));
        // The start of the packet is not a pointer at an unknown offset.
        ids.clear();
        assert!(!packet(3, 0).leq(&packet(0, 0), true, &mut ids));
        assert!(packet(3, 0).leq(&packet(4, 0), true, &mut ids));
    }

    #[test]
    fn sums_stay_linked() {
        assert_eq!(Link { id: 1, off: 5 }.plus(-7), Link { id: 1, off: -2 });
        assert_eq!(Link { id: 1, off: 5 }.plus(i64::MAX), Link::NONE);
        assert_eq!(Link { id: 1, off: i32::MAX }.plus(1), Link::NONE);
        assert_eq!(Link::NONE.plus(1), Link::NONE);
    }
}

//! Pointers: what they point into, and how far.
//!
//! A pointer's address is the start of its object, plus `fixed`, plus some member of `var`, modulo 2^64. The split is
//! not canonical: `fixed` collects the constants added since `var` last changed, so that packet pointers with the same
//! `id` have the same unknown part and can be compared by `fixed` alone.

use std::fmt;

use super::object::Object;
use super::scalar::Scalar;
use super::stack::{DynptrMemory, SliceBuffer};
use crate::facts::ObjectType;

/// Links copies of one unknown; 0 links nothing.
pub(crate) type Id = u32;

/// Constants and ranges beyond this distance are not tracked (the kernel's `BPF_MAX_VAR_OFF`).
pub(crate) const MAX_OFFSET: i64 = 1 << 29;

/// The greatest offset into a packet (the kernel's `MAX_PACKET_OFF`).
pub(crate) const MAX_PACKET_OFFSET: i64 = 0xffff;

/// What a pointer points into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PointerKind {
    /// The context of the hook.
    Context,
    /// The stack of a frame; offsets count from its top, so they are negative.
    Stack {
        /// Index of the frame, 0 for the main program's.
        frame: u8,
    },
    /// The packet.
    Packet {
        /// Names the unknown part of the offset; 0 if there is none.
        id: Id,
        /// That many bytes from `start + var` on are known to lie before the packet's end.
        range: u32,
    },
    /// The metadata that ends where the packet starts.
    PacketMeta {
        /// As for the packet.
        id: Id,
        /// That many bytes from `start + var` on are known to lie before the packet's start.
        range: u32,
    },
    /// The end of the packet.
    PacketEnd,
    /// A map itself.
    Map {
        /// Its index.
        map: u32,
    },
    /// A map that was looked up in a map of maps, or NULL.
    InnerMapOrNull {
        /// The number that stands for the maps in that map.
        map: u32,
        /// The lookup that it comes from.
        id: Id,
    },
    /// What an open-coded iterator has come to: it lies in the iterator, and is to be read only.
    Element {
        /// The iterator.
        iterator: Id,
        /// Bytes in it.
        size: u32,
    },
    /// A subprogram.
    Func {
        /// Its index.
        subprog: u32,
    },
    /// A key of a map, given to a callback: to be read only.
    MapKey {
        /// Index of the map.
        map: u32,
    },
    /// A value of a map.
    MapValue {
        /// Index of the map.
        map: u32,
        /// The lookup that it comes from; 0 for the only value of a map, addressed directly.
        id: Id,
        /// Whether it may be NULL instead.
        nullable: bool,
    },
    /// Memory that a context field points to.
    ContextMemory {
        /// Index of the field.
        field: u16,
        /// Names the pointer if it may be NULL; else 0.
        id: Id,
        /// Whether it may be NULL instead.
        nullable: bool,
        /// Whether it may be written.
        writable: bool,
    },
    /// A function or a number of the host's, of so many bytes, to be read only.
    Symbol {
        /// How many bytes.
        size: u32,
    },
    /// A dynptr that a callback is given, which does not lie on its stack.
    Dynptr {
        /// Names the dynptr.
        id: Id,
        /// What its bytes lie in.
        memory: DynptrMemory,
    },
    /// Some of the bytes of a dynptr.
    Slice {
        /// The dynptr.
        dynptr: Id,
        /// What they lie in.
        memory: DynptrMemory,
        /// Names the slice.
        id: Id,
        /// How many there are.
        size: u32,
        /// Whether it may be NULL instead.
        nullable: bool,
        /// Whether they may be read only.
        readonly: bool,
        /// Where they may be instead.
        buffer: Option<SliceBuffer>,
    },
    /// A record reserved in a ring buffer: a reference.
    Record {
        /// Index of the map.
        map: u32,
        /// Names the reference, and so the record.
        id: Id,
        /// Bytes in it.
        size: u32,
        /// Whether it may be NULL instead.
        nullable: bool,
    },
    /// Memory that a global function was given.
    Argument(Argument),
    /// An object that has a type.
    Object(Object),
}

/// Memory that a global function was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Argument {
    /// Index of the subprogram.
    pub(crate) subprog: u32,
    /// Which argument, from 0.
    pub(crate) index: u8,
    /// Size of the memory.
    pub(crate) size: u32,
    /// Whether it may be NULL instead.
    pub(crate) nullable: bool,
}

impl PointerKind {
    /// The kernel's name of the register type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            PointerKind::Context => "ctx",
            PointerKind::Stack { .. } => "fp",
            PointerKind::Packet { .. } => "pkt",
            PointerKind::PacketMeta { .. } => "pkt_meta",
            PointerKind::PacketEnd => "pkt_end",
            PointerKind::Map { .. } => "map_ptr",
            PointerKind::Element { .. } => "rdonly_mem",
            PointerKind::Func { .. } => "func",
            PointerKind::MapKey { .. } => "map_key",
            PointerKind::MapValue { nullable: false, .. } => "map_value",
            // As in Linux, what was found is a map only after it was found not to be NULL.
            PointerKind::MapValue { nullable: true, .. } | PointerKind::InnerMapOrNull { .. } => "map_value_or_null",
            PointerKind::ContextMemory { nullable, writable, .. } => match (writable, nullable) {
                (false, false) => "rdonly_buf",
                (false, true) => "rdonly_buf_or_null",
                (true, false) => "buf",
                (true, true) => "buf_or_null",
            },
            PointerKind::Symbol { .. } => "rdonly_mem",
            PointerKind::Dynptr { .. } => "dynptr_ptr",
            PointerKind::Slice {
                nullable: false,
                readonly: false,
                ..
            } => "mem",
            PointerKind::Slice {
                nullable: true,
                readonly: false,
                ..
            } => "mem_or_null",
            PointerKind::Slice { nullable: false, .. } => "rdonly_mem",
            PointerKind::Slice { nullable: true, .. } => "rdonly_mem_or_null",
            PointerKind::Record { nullable: false, .. } => "ringbuf_mem",
            PointerKind::Record { nullable: true, .. } => "ringbuf_mem_or_null",
            PointerKind::Argument(Argument { nullable: false, .. }) => "mem",
            PointerKind::Argument(Argument { nullable: true, .. }) => "mem_or_null",
            PointerKind::Object(object) => object.name(),
        }
    }

    /// Whether it may be NULL instead.
    pub(crate) fn is_nullable(self) -> bool {
        match self {
            PointerKind::MapValue { nullable, .. }
            | PointerKind::Slice { nullable, .. }
            | PointerKind::Record { nullable, .. }
            | PointerKind::ContextMemory { nullable, .. }
            | PointerKind::Argument(Argument { nullable, .. })
            | PointerKind::Object(Object { nullable, .. }) => nullable,
            PointerKind::InnerMapOrNull { .. } => true,
            _ => false,
        }
    }

    /// Whether both are NULL or neither is: copies of one pointer.
    pub(crate) fn is_null_with(self, other: PointerKind) -> bool {
        match (self, other) {
            (PointerKind::Argument(argument), PointerKind::Argument(other)) => argument.nullable && argument == other,
            _ => self.null_id().is_some() && self.null_id() == other.null_id(),
        }
    }

    /// The id that it shares with its copies, if it may be NULL and has one.
    pub(crate) fn null_id(self) -> Option<Id> {
        match self {
            PointerKind::MapValue { id, nullable: true, .. }
            | PointerKind::Slice { id, nullable: true, .. }
            | PointerKind::Record { id, nullable: true, .. }
            | PointerKind::ContextMemory { id, nullable: true, .. }
            | PointerKind::InnerMapOrNull { id, .. }
            | PointerKind::Object(Object { id, nullable: true, .. }) => Some(id),
            _ => None,
        }
    }

    /// The same, found not to be NULL.
    pub(crate) fn not_null(mut self) -> PointerKind {
        match &mut self {
            PointerKind::MapValue { nullable, .. }
            | PointerKind::Slice { nullable, .. }
            | PointerKind::Record { nullable, .. }
            | PointerKind::Argument(Argument { nullable, .. }) => *nullable = false,
            PointerKind::ContextMemory { id, nullable, .. } => {
                *nullable = false;
                *id = 0;
            }
            PointerKind::InnerMapOrNull { map, .. } => self = PointerKind::Map { map: *map },
            PointerKind::Object(object) => {
                object.nullable = false;
                object.id = 0;
            }
            _ => {}
        }
        self
    }

    /// The reference or dynptr that it is, or is part of: without it the pointer points to nothing.
    pub(crate) fn reference(self) -> Option<Id> {
        match self {
            PointerKind::Record { id, .. }
            | PointerKind::Dynptr { id, .. }
            | PointerKind::Slice { dynptr: id, .. }
            | PointerKind::Element { iterator: id, .. } => Some(id),
            PointerKind::Object(object) => (object.reference != 0).then_some(object.reference),
            _ => None,
        }
    }

    /// Whether it is not known, and does not matter, where it points: reads are guarded.
    pub(crate) fn is_anywhere(self) -> bool {
        matches!(
            self,
            PointerKind::Object(Object {
                ty: ObjectType::Bytes,
                ..
            })
        )
    }

    /// Whether it is a slice of the packet, made by way of a dynptr.
    pub(crate) fn is_packet_slice(self) -> bool {
        matches!(
            self,
            PointerKind::Slice {
                memory: DynptrMemory::Packet { .. },
                ..
            }
        )
    }

    /// Whether it points to or into the packet, its metadata or its end.
    pub(crate) fn is_packet_family(self) -> bool {
        matches!(
            self,
            PointerKind::Packet { .. } | PointerKind::PacketMeta { .. } | PointerKind::PacketEnd
        )
    }
}

/// A pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pointer {
    pub(crate) kind: PointerKind,
    /// The constant part of the offset; its magnitude is below [`MAX_OFFSET`].
    pub(crate) fixed: i64,
    /// The unknown part of the offset.
    pub(crate) var: Scalar,
}

impl Pointer {
    /// To the start of an object.
    pub(crate) const fn to(kind: PointerKind) -> Pointer {
        Pointer {
            kind,
            fixed: 0,
            var: Scalar::constant(0),
        }
    }

    /// The offset, if there is only one.
    pub(crate) fn constant_offset(&self) -> Option<i64> {
        self.var.as_constant().map(|var| self.fixed.wrapping_add(var as i64))
    }

    /// The least and the greatest offset, if both are bounded.
    pub(crate) fn offsets(&self) -> Option<(i64, i64)> {
        let (min, max) = (self.var.s64.min, self.var.s64.max);
        (min > -MAX_OFFSET && max < MAX_OFFSET).then(|| (min + self.fixed, max + self.fixed))
    }

    /// Whether the address is certainly not zero: pointers into an object at a non-negative, bounded offset, and into a
    /// frame of the stack. Objects do not lie at the very end of the address space.
    pub(crate) fn is_certainly_not_null(&self) -> bool {
        let from_start = self.offsets().is_some_and(|(min, _)| min >= 0);
        match self.kind {
            PointerKind::Stack { .. } => self.offsets().is_some_and(|(min, max)| min >= -512 && max <= 0),
            PointerKind::MapValue { nullable, .. }
            | PointerKind::Record { nullable, .. }
            | PointerKind::Slice { nullable, .. } => !nullable && from_start,
            PointerKind::Func { .. } => false,
            PointerKind::MapKey { .. } | PointerKind::Element { .. } | PointerKind::Dynptr { .. } => from_start,
            PointerKind::ContextMemory { .. } | PointerKind::InnerMapOrNull { .. } => false,
            PointerKind::Symbol { .. } => from_start,
            PointerKind::Argument(argument) => !argument.nullable && from_start,
            PointerKind::Object(object) => object.is_certainly_there() && from_start,
            PointerKind::Packet { .. } | PointerKind::PacketMeta { .. } => from_start,
            PointerKind::Context | PointerKind::PacketEnd | PointerKind::Map { .. } => from_start,
        }
    }

    /// Whether Linux knows that the address is not zero: of pointers to maps and to memory that is not the stack's, the
    /// packet's or the context's.
    pub(crate) fn is_known_not_null(&self) -> bool {
        let known = match self.kind {
            PointerKind::Map { .. }
            | PointerKind::MapValue { .. }
            | PointerKind::Record { .. }
            | PointerKind::Slice { .. }
            | PointerKind::MapKey { .. }
            | PointerKind::Element { .. }
            | PointerKind::Dynptr { .. }
            | PointerKind::Argument(_)
            | PointerKind::Symbol { .. }
            | PointerKind::Object(_) => true,
            PointerKind::InnerMapOrNull { .. }
            | PointerKind::ContextMemory { .. }
            | PointerKind::Func { .. }
            | PointerKind::Context
            | PointerKind::Stack { .. }
            | PointerKind::Packet { .. }
            | PointerKind::PacketMeta { .. }
            | PointerKind::PacketEnd => false,
        };
        known && self.is_certainly_not_null()
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        match (self.constant_offset(), self.kind) {
            (Some(off), PointerKind::Stack { frame }) => write!(f, "{off} (frame {frame})")?,
            (Some(0), _) => {}
            (Some(off), _) => write!(f, " at {off}")?,
            (None, _) => write!(f, " at {} + {}", self.fixed, self.var)?,
        }
        match self.kind {
            PointerKind::Packet { range, .. } | PointerKind::PacketMeta { range, .. } => {
                write!(f, " with {range} bytes checked")
            }
            _ => Ok(()),
        }
    }
}

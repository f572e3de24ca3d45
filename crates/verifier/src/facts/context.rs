//! What a hook passes to a program.

use hitless_btf::TypeId;

use super::ObjectPointer;

/// The context of a hook: what `r1` points to on entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextFacts {
    /// The C name of the context struct, for messages ("xdp_md").
    pub name: String,
    /// Size of that struct in bytes, as programs see it.
    pub size: u32,
    /// Its fields, sorted by offset. Nothing between them is accessible.
    pub fields: Vec<ContextField>,
    /// Values that the program may return in `r0` (inclusive, as signed 32-bit numbers), or `None` for any.
    pub return_range: Option<(i32, i32)>,
    /// Whether packet memory may be written.
    pub packet_writable: bool,
    /// Whether the legacy instructions that load from the packet may be used (`BPF_LD | BPF_ABS`, `BPF_LD | BPF_IND`).
    pub legacy_packet_access: bool,
    /// Whether the program may sleep (`BPF_F_SLEEPABLE`), and so call helpers that do.
    pub sleepable: bool,
    /// Whether the hook takes no result: `r0` then need not hold anything at the end.
    pub returns_nothing: bool,
    /// Members of the host's objects that may be written; of others nothing.
    pub writable: Vec<WritableMember>,
}

/// A member that programs of a hook may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WritableMember {
    /// The struct, in the types of the host.
    pub ty: TypeId,
    /// Its offset in that, in bytes.
    pub off: u32,
    /// Its size in bytes.
    pub size: u32,
    /// Whether it may be written from within, too: it is an array of bytes.
    pub within: bool,
}

/// A field of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextField {
    /// Its C name.
    pub name: String,
    /// Offset as programs see it, in bytes.
    pub off: u32,
    /// Size as programs see it, in bytes.
    pub size: u32,
    /// What a load of it yields.
    pub kind: ContextFieldKind,
    /// How it may be loaded.
    pub loads: Widths,
    /// How it may be stored to (numbers only).
    pub stores: Widths,
    /// Where the runtime keeps the field in its own context struct, in bytes. Numbers have the same size on both sides;
    /// pointers are 8 bytes wide there.
    pub host_off: u32,
}

impl ContextField {
    /// How many bytes the field takes in the runtime's own context struct.
    #[must_use]
    pub fn host_len(&self) -> u32 {
        if self.kind.is_number() { self.size } else { 8 }
    }
}

/// Widths in which a context field may be accessed. Accesses are aligned to their own width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Widths {
    /// The widths in bytes, as a set: 1, 2, 4 and 8 are a bit each.
    bytes: u8,
    /// Whether only accesses that start where the field starts are allowed.
    at_start: bool,
}

impl Widths {
    /// No access at all.
    pub const NONE: Widths = Widths::of(0);

    /// Accesses of these widths (a sum of 1, 2, 4 and 8), anywhere in the field.
    #[must_use]
    pub const fn of(bytes: u8) -> Widths {
        Widths { bytes, at_start: false }
    }

    /// Accesses of these widths (a sum of 1, 2, 4 and 8) at the start of the field.
    #[must_use]
    pub const fn at_start(bytes: u8) -> Widths {
        Widths { bytes, at_start: true }
    }

    /// Accesses to all of a field of so many bytes, or to any part of it.
    #[must_use]
    pub const fn up_to(size: u32) -> Widths {
        Widths::of(match size {
            1 => 1,
            2 => 3,
            4 => 7,
            _ => 15,
        })
    }

    /// The greatest width, or 1 if there is none.
    #[must_use]
    pub const fn widest(self) -> u32 {
        match self.bytes {
            0 | 1 => 1,
            bytes => 1 << bytes.ilog2(),
        }
    }

    /// Whether `len` bytes from `start` on may be accessed in a field that begins at `off`; both count from the start of
    /// the context.
    #[must_use]
    pub const fn allow(self, off: u32, start: u32, len: u32) -> bool {
        let known = len.is_power_of_two() && self.bytes as u32 & len != 0;
        known && start.is_multiple_of(len) && (!self.at_start || start == off)
    }
}

/// What a load of a context field yields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContextFieldKind {
    /// A number.
    Scalar,
    /// Numbers, as many as there are: how many bytes is known only at attach. The greatest extent accessed is reported in
    /// [`Verified::extents`](super::Verified::extents).
    Record,
    /// Start of the packet (`xdp_md.data`).
    Packet,
    /// End of the packet (`xdp_md.data_end`).
    PacketEnd,
    /// Start of the metadata before the packet (`xdp_md.data_meta`).
    PacketMeta,
    /// Read-only memory of a size known only at attach: the greatest extent accessed is reported in
    /// [`Verified::extents`](super::Verified::extents).
    Memory,
    /// The same, or NULL; it may be written if `writable`.
    Buffer {
        /// Whether it may be written.
        writable: bool,
    },
    /// A pointer to an object.
    Object(ObjectPointer),
    /// A pointer of a sort that is not supported, in words; it cannot be loaded.
    Unsupported(&'static str),
}

impl ContextFieldKind {
    /// Whether a load yields a number.
    #[must_use]
    pub const fn is_number(self) -> bool {
        matches!(self, ContextFieldKind::Scalar | ContextFieldKind::Record)
    }

    /// Whether the extent of what is accessed is reported in [`Verified::extents`](super::Verified::extents).
    #[must_use]
    pub const fn has_extent(self) -> bool {
        matches!(
            self,
            ContextFieldKind::Memory | ContextFieldKind::Buffer { .. } | ContextFieldKind::Record
        )
    }
}

//! From a table of fields to the facts about a context.
//!
//! The runtime keeps contexts in structs of its own, in which pointers come first, 8 bytes each, and then the numbers, each
//! aligned to the widest access that is allowed to it, all in the order in which programs see them:
//!
//! ```text
//! xdp_md            offset  0     8         16         24               28
//!                           data  data_end  data_meta  ingress_ifindex  rx_queue_index
//! ```

use crate::facts::{ContextFacts, ContextField, ContextFieldKind, Widths};

/// A context struct.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Its C name.
    pub(super) name: &'static str,
    /// Its size in bytes, as programs see it.
    pub(super) size: u32,
    /// Its fields, sorted by offset.
    pub(super) fields: &'static [Field],
    /// Whether packet memory may be written.
    pub(super) packet_writable: bool,
}

/// A field as programs see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) off: u32,
    pub(super) size: u32,
    pub(super) kind: ContextFieldKind,
    pub(super) loads: Widths,
    pub(super) stores: Widths,
}

impl Layout {
    /// The facts, for a hook that takes results in this range.
    pub(super) fn facts(&self, return_range: Option<(i32, i32)>) -> ContextFacts {
        let fields = self.fields.iter().map(|field| ContextField {
            name: field.name.to_owned(),
            off: field.off,
            size: field.size,
            kind: field.kind,
            loads: field.loads,
            stores: field.stores,
            host_off: 0,
        });
        let mut facts = ContextFacts {
            name: self.name.to_owned(),
            size: self.size,
            fields: fields.collect(),
            return_range,
            packet_writable: self.packet_writable,
            legacy_packet_access: false,
            sleepable: false,
            returns_nothing: false,
            writable: Vec::new(),
        };
        place(&mut facts.fields);
        facts
    }
}

/// Decides where the runtime keeps each field.
pub(super) fn place(fields: &mut [ContextField]) {
    let mut off = 0;
    for pointers in [true, false] {
        for field in fields.iter_mut().filter(|field| field.kind.is_number() != pointers) {
            let (align, misaligned) = if pointers {
                (8, 0)
            } else {
                let align = field.loads.widest();
                (align, field.off % align)
            };
            // Accesses inside the field stay as aligned as programs see them.
            field.host_off = u32::next_multiple_of(off, align) + misaligned;
            off = field.host_off + field.host_len();
        }
    }
}

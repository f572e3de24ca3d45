//! From a table of fields to the facts about a context.
//!
//! The runtime keeps contexts in structs of its own, in which pointers come first, 8 bytes each, and then the numbers, each
//! aligned to the widest access that is allowed to it, all in the order in which programs see them. Between both there may be
//! something that programs do not see ([`OWN`]):
//!
//! ```text
//! xdp_md       offset  0     8         16         24                         56               60              64
//!                      data  data_end  data_meta  where the packet's room is ingress_ifindex  rx_queue_index  egress_ifindex
//! ```
//!
//! A struct that programs of several kinds see, each other fields of it, is one struct there: it has the fields of all.

use std::collections::BTreeMap;

use super::contexts;
use crate::facts::{ContextFacts, ContextField, ContextFieldKind, Widths};

/// How many bytes the runtime has for itself behind the pointers of a context: of a packet that is its own frame, its room.
const OWN: [(&str, u32); 1] = [("xdp_md", 32)];

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
        let places = self.places();
        for field in &mut facts.fields {
            field.host_off = places[field.name.as_str()];
        }
        facts
    }

    /// Where the runtime keeps each field of the struct, whichever programs see it.
    fn places(&self) -> BTreeMap<&'static str, u32> {
        // By offset, and with the widest access that any program is allowed.
        let mut fields: BTreeMap<u32, (&Field, u32)> = BTreeMap::new();
        let shared = contexts::SHARED.iter().filter(|layouts| layouts[0].name == self.name);
        for field in shared
            .flat_map(|layouts| *layouts)
            .chain([self])
            .flat_map(|layout| layout.fields)
        {
            let (_, align) = fields.entry(field.off).or_insert((field, 1));
            *align = field.loads.widest().max(*align);
        }
        let mut off = 0;
        let mut places = BTreeMap::new();
        for pointers in [true, false] {
            if !pointers {
                off += OWN
                    .iter()
                    .find(|(name, _)| *name == self.name)
                    .map_or(0, |(_, len)| *len);
            }
            for (field, align) in fields.values().filter(|(field, _)| field.kind.is_number() != pointers) {
                let (align, len) = if pointers { (8, 8) } else { (*align, field.size) };
                // Accesses inside the field stay as aligned as programs see them.
                let misaligned = if pointers { 0 } else { field.off % align };
                let host_off = u32::next_multiple_of(off, align) + misaligned;
                places.insert(field.name, host_off);
                off = host_off + len;
            }
        }
        places
    }
}

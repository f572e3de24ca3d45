//! The contexts of the program types: what their hooks pass in `r1`.

use hitless_isa::Size;

use crate::facts::{ContextFacts, ContextField, ContextFieldKind};

use ContextFieldKind::{Memory, Packet, PacketEnd, PacketMeta, Scalar};

/// `name`, where programs see it, and where the runtime keeps it.
fn field(name: &str, off: u32, size: u32, kind: ContextFieldKind, host_off: u32) -> ContextField {
    let host_size = match (kind, size) {
        (Scalar, 1) => Size::B,
        (Scalar, 2) => Size::H,
        (Scalar, 4) => Size::W,
        _ => Size::Dw,
    };
    ContextField {
        name: name.to_owned(),
        off,
        size,
        kind,
        writable: false,
        host_off,
        host_size,
    }
}

/// XDP programs: `struct xdp_md`. What they return is up to the hook.
///
/// `egress_ifindex` is for programs in a device map only and cannot be read. The runtime's side is
///
/// ```text
/// offset  0     8         16         24               28
///         data  data_end  data_meta  ingress_ifindex  rx_queue_index
/// ```
///
/// with pointers of 8 bytes and numbers of 4. None of the pointers is NULL, even if the packet is empty.
#[must_use]
#[doc(alias = "BPF_PROG_TYPE_XDP")]
pub fn xdp() -> ContextFacts {
    ContextFacts {
        name: "xdp_md".to_owned(),
        size: 24,
        fields: vec![
            field("data", 0, 4, Packet, 0),
            field("data_end", 4, 4, PacketEnd, 8),
            field("data_meta", 8, 4, PacketMeta, 16),
            field("ingress_ifindex", 12, 4, Scalar, 24),
            field("rx_queue_index", 16, 4, Scalar, 28),
        ],
        return_range: None,
        packet_writable: true,
    }
}

/// Map tracing, `UPDATE_ELEM`: `{key, value, flags}`. Tracing programs return 0.
#[must_use]
#[doc(alias = "BPF_TRACE_MAP")]
pub fn map_trace_update() -> ContextFacts {
    ContextFacts {
        name: "bpf_map_trace_ctx__update_elem".to_owned(),
        size: 24,
        fields: vec![
            field("key", 0, 8, Memory, 0),
            field("value", 8, 8, Memory, 8),
            field("flags", 16, 8, Scalar, 16),
        ],
        return_range: Some((0, 0)),
        packet_writable: false,
    }
}

/// Map tracing, `DELETE_ELEM`: `{key}`. Tracing programs return 0.
#[must_use]
#[doc(alias = "BPF_TRACE_MAP")]
pub fn map_trace_delete() -> ContextFacts {
    ContextFacts {
        name: "bpf_map_trace_ctx__delete_elem".to_owned(),
        size: 8,
        fields: vec![field("key", 0, 8, Memory, 0)],
        return_range: Some((0, 0)),
        packet_writable: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_and_apart() {
        for context in [xdp(), map_trace_update(), map_trace_delete()] {
            for pair in context.fields.windows(2) {
                assert!(pair[0].off + pair[0].size <= pair[1].off);
                assert!(pair[0].host_off + pair[0].host_size.bytes() as u32 <= pair[1].host_off);
            }
            let last = context.fields.last().expect("a context has fields");
            assert!(last.off + last.size <= context.size);
        }
    }
}

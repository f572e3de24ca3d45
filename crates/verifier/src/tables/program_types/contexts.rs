//! The contexts of program types whose context does not depend on what a program is attached to: fields as programs see
//! them, and how each may be accessed. Found by trying every offset and width with Linux.

use super::layout::{Field, Layout};

use crate::facts::ContextFieldKind::{Object, Packet, PacketEnd, PacketMeta, Record, Scalar, Unsupported};
use crate::facts::{ContextFieldKind, ObjectPointer, ObjectType, Trust, Widths};

/// A full socket.
pub(super) const SOCKET: ContextFieldKind = Object(ObjectPointer {
    ty: ObjectType::Socket,
    trust: Trust::Plain,
    nullable: false,
});

/// The socket of a packet, which may have none.
pub(super) const PACKET_SOCKET: ContextFieldKind = Object(ObjectPointer {
    ty: ObjectType::SocketCommon,
    trust: Trust::Plain,
    nullable: true,
});

/// A number, to be loaded whole or in part.
pub(super) const fn number(name: &'static str, off: u32, size: u32) -> Field {
    Field {
        name,
        off,
        size,
        kind: Scalar,
        loads: Widths::up_to(size),
        stores: Widths::NONE,
    }
}

/// A number, to be loaded whole.
pub(super) const fn whole(name: &'static str, off: u32, size: u32) -> Field {
    number(name, off, size).loads(Widths::of(size as u8))
}

/// Several numbers of 4 bytes, to be loaded one by one.
pub(super) const fn words(name: &'static str, off: u32, count: u32) -> Field {
    number(name, off, 4 * count).loads(Widths::of(4))
}

/// A pointer of so many bytes.
pub(super) const fn pointer(name: &'static str, off: u32, size: u32, kind: ContextFieldKind) -> Field {
    Field {
        kind,
        ..whole(name, off, size)
    }
}

impl Field {
    pub(super) const fn loads(self, loads: Widths) -> Field {
        Field { loads, ..self }
    }

    pub(super) const fn stores(self, stores: Widths) -> Field {
        Field { stores, ..self }
    }

    /// Stores of the whole field are allowed.
    pub(super) const fn writable(self) -> Field {
        self.stores(Widths::of(self.size as u8))
    }

    /// Narrower loads are allowed at the start of the field only.
    pub(super) const fn starting_there(self) -> Field {
        self.loads(Widths::at_start(7))
    }
}

/// Numbers that may be accessed in any way that is aligned.
pub(super) const fn bytes(name: &'static str, off: u32, size: u32) -> Field {
    number(name, off, size).loads(Widths::of(15))
}

/// Those of structs that programs of several kinds see, each other fields of it.
pub(super) const SHARED: [&[Layout]; 5] = [
    &[SOCKET_FILTER, TC, CGROUP_SKB],
    &[XDP, XDP_DEVMAP],
    &[SOCK, SOCK_POST_BIND4, SOCK_POST_BIND6],
    &[SOCK_ADDR4, SOCK_ADDR6, SOCK_ADDR_UNIX, SENDMSG4, SENDMSG6],
    &[GETSOCKOPT, SETSOCKOPT],
];

/// `struct __sk_buff` for socket filters.
pub(super) const SOCKET_FILTER: Layout = Layout {
    name: "__sk_buff",
    size: 192,
    fields: &[
        number("len", 0, 4),
        number("pkt_type", 4, 4),
        number("mark", 8, 4),
        number("queue_mapping", 12, 4),
        number("protocol", 16, 4),
        number("vlan_present", 20, 4),
        number("vlan_tci", 24, 4),
        number("vlan_proto", 28, 4),
        number("priority", 32, 4),
        number("ingress_ifindex", 36, 4),
        number("ifindex", 40, 4),
        number("tc_index", 44, 4),
        bytes("cb", 48, 20).stores(Widths::of(15)),
        number("hash", 68, 4),
        number("napi_id", 84, 4),
        number("gso_segs", 164, 4),
        pointer("sk", 168, 8, PACKET_SOCKET),
        number("gso_size", 176, 4),
    ],
    packet_writable: false,
};

/// `struct __sk_buff` for traffic control.
pub(super) const TC: Layout = Layout {
    name: "__sk_buff",
    size: 192,
    fields: &[
        number("len", 0, 4),
        number("pkt_type", 4, 4),
        number("mark", 8, 4).writable(),
        number("queue_mapping", 12, 4).writable(),
        number("protocol", 16, 4),
        number("vlan_present", 20, 4),
        number("vlan_tci", 24, 4),
        number("vlan_proto", 28, 4),
        number("priority", 32, 4).writable(),
        number("ingress_ifindex", 36, 4),
        number("ifindex", 40, 4),
        number("tc_index", 44, 4).writable(),
        bytes("cb", 48, 20).stores(Widths::of(15)),
        number("hash", 68, 4),
        number("tc_classid", 72, 4).writable(),
        pointer("data", 76, 4, Packet),
        pointer("data_end", 80, 4, PacketEnd),
        number("napi_id", 84, 4),
        pointer("data_meta", 140, 4, PacketMeta),
        whole("tstamp", 152, 8).writable(),
        number("wire_len", 160, 4),
        number("gso_segs", 164, 4),
        pointer("sk", 168, 8, PACKET_SOCKET),
        number("gso_size", 176, 4),
        number("tstamp_type", 180, 1),
        whole("hwtstamp", 184, 8),
    ],
    packet_writable: true,
};

/// `struct __sk_buff` for packets of control groups.
pub(super) const CGROUP_SKB: Layout = Layout {
    name: "__sk_buff",
    size: 192,
    fields: &[
        number("len", 0, 4),
        number("pkt_type", 4, 4),
        number("mark", 8, 4).writable(),
        number("queue_mapping", 12, 4),
        number("protocol", 16, 4),
        number("vlan_present", 20, 4),
        number("vlan_tci", 24, 4),
        number("vlan_proto", 28, 4),
        number("priority", 32, 4).writable(),
        number("ingress_ifindex", 36, 4),
        number("ifindex", 40, 4),
        number("tc_index", 44, 4),
        bytes("cb", 48, 20).stores(Widths::of(15)),
        number("hash", 68, 4),
        pointer("data", 76, 4, Packet),
        pointer("data_end", 80, 4, PacketEnd),
        number("napi_id", 84, 4),
        number("family", 88, 4),
        whole("remote_ip4", 92, 4),
        whole("local_ip4", 96, 4),
        words("remote_ip6", 100, 4),
        words("local_ip6", 116, 4),
        number("remote_port", 132, 4),
        number("local_port", 136, 4),
        whole("tstamp", 152, 8).writable(),
        number("gso_segs", 164, 4),
        pointer("sk", 168, 8, PACKET_SOCKET),
        number("gso_size", 176, 4),
        whole("hwtstamp", 184, 8),
    ],
    packet_writable: false,
};

/// `struct xdp_md`. The egress device is for programs in a device map only.
pub(super) const XDP: Layout = Layout {
    name: "xdp_md",
    size: 24,
    fields: &[
        pointer("data", 0, 4, Packet),
        pointer("data_end", 4, 4, PacketEnd),
        pointer("data_meta", 8, 4, PacketMeta),
        whole("ingress_ifindex", 12, 4),
        whole("rx_queue_index", 16, 4),
    ],
    packet_writable: true,
};

/// `struct xdp_md` for programs in a device map.
pub(super) const XDP_DEVMAP: Layout = Layout {
    name: "xdp_md",
    size: 24,
    fields: &[
        pointer("data", 0, 4, Packet),
        pointer("data_end", 4, 4, PacketEnd),
        pointer("data_meta", 8, 4, PacketMeta),
        whole("ingress_ifindex", 12, 4),
        whole("rx_queue_index", 16, 4),
        whole("egress_ifindex", 20, 4),
    ],
    packet_writable: true,
};

/// `struct pt_regs` of x86-64.
pub(super) const KPROBE: Layout = Layout {
    name: "pt_regs",
    size: 168,
    fields: &[bytes("regs", 0, 168)],
    packet_writable: false,
};

/// A tracepoint's record, after the 8 bytes that every one begins with and that programs may not read.
pub(super) const TRACEPOINT: Layout = Layout {
    name: "trace_entry",
    size: 8192,
    fields: &[Field {
        kind: Record,
        ..bytes("record", 8, 8184)
    }],
    packet_writable: false,
};

/// `struct bpf_perf_event_data`.
pub(super) const PERF_EVENT: Layout = Layout {
    name: "bpf_perf_event_data",
    size: 184,
    fields: &[
        number("regs", 0, 168).loads(Widths::of(8)),
        bytes("sample_period", 168, 8),
        bytes("addr", 176, 8),
    ],
    packet_writable: false,
};

/// `struct bpf_raw_tracepoint_args`: at most 12 arguments, of which a tracepoint has as many as it has.
pub(super) const RAW_TRACEPOINT: Layout = Layout {
    name: "bpf_raw_tracepoint_args",
    size: 96,
    fields: &[Field {
        kind: Record,
        ..bytes("args", 0, 96)
    }],
    packet_writable: false,
};

/// The same with a buffer as first argument.
pub(super) const RAW_TRACEPOINT_WRITABLE: Layout = Layout {
    name: "bpf_raw_tracepoint_args",
    size: 96,
    fields: &[
        pointer("buffer", 0, 8, Unsupported("pointers to buffers of tracepoints")),
        bytes("args", 8, 88),
    ],
    packet_writable: false,
};

/// `struct bpf_sock` of a socket that is made or closed.
pub(super) const SOCK: Layout = Layout {
    name: "bpf_sock",
    size: 80,
    fields: &[
        whole("bound_dev_if", 0, 4).writable(),
        number("family", 4, 4).starting_there(),
        number("type", 8, 4).starting_there(),
        number("protocol", 12, 4).starting_there(),
        whole("mark", 16, 4).writable(),
        whole("priority", 20, 4).writable(),
        number("dst_port", 48, 4).starting_there(),
        number("dst_ip4", 52, 4),
        number("dst_ip6", 56, 16).loads(Widths::of(7)),
        number("state", 72, 4).starting_there(),
        number("rx_queue_mapping", 76, 4).starting_there(),
    ],
    packet_writable: false,
};

/// `struct bpf_sock` of a socket that was bound to an IPv4 address.
pub(super) const SOCK_POST_BIND4: Layout = Layout {
    name: "bpf_sock",
    size: 80,
    fields: &[
        number("family", 4, 4).starting_there(),
        number("type", 8, 4).starting_there(),
        number("protocol", 12, 4).starting_there(),
        number("src_ip4", 24, 4),
        number("src_port", 44, 4).starting_there(),
        number("dst_port", 48, 4).starting_there(),
        number("dst_ip4", 52, 4),
        number("dst_ip6", 56, 16).loads(Widths::of(7)),
        number("state", 72, 4).starting_there(),
        number("rx_queue_mapping", 76, 4).starting_there(),
    ],
    packet_writable: false,
};

/// `struct bpf_sock` of a socket that was bound to an IPv6 address.
pub(super) const SOCK_POST_BIND6: Layout = Layout {
    name: "bpf_sock",
    size: 80,
    fields: &[
        number("family", 4, 4).starting_there(),
        number("type", 8, 4).starting_there(),
        number("protocol", 12, 4).starting_there(),
        number("src_ip6", 28, 16).loads(Widths::of(7)),
        number("src_port", 44, 4).starting_there(),
        number("dst_port", 48, 4).starting_there(),
        number("dst_ip4", 52, 4),
        number("dst_ip6", 56, 16).loads(Widths::of(7)),
        number("state", 72, 4).starting_there(),
        number("rx_queue_mapping", 76, 4).starting_there(),
    ],
    packet_writable: false,
};

/// `struct bpf_cgroup_dev_ctx`.
pub(super) const CGROUP_DEVICE: Layout = Layout {
    name: "bpf_cgroup_dev_ctx",
    size: 12,
    fields: &[number("access_type", 0, 4), whole("major", 4, 4), whole("minor", 8, 4)],
    packet_writable: false,
};

const USER_FAMILY: Field = whole("user_family", 0, 4);
const USER_IP4: Field = number("user_ip4", 4, 4).writable();
/// Two words may be accessed at once where that is aligned.
const USER_IP6: Field = bytes("user_ip6", 8, 16).stores(Widths::of(12));
const USER_PORT: Field = number("user_port", 24, 4).writable();
const FAMILY: Field = whole("family", 28, 4);
const TYPE: Field = whole("type", 32, 4);
const PROTOCOL: Field = whole("protocol", 36, 4);
const MSG_SRC_IP4: Field = number("msg_src_ip4", 40, 4).writable();
/// Two words may be accessed at once where that is aligned: the middle two.
const MSG_SRC_IP6: Field = bytes("msg_src_ip6", 44, 16).stores(Widths::of(12));
const SK: Field = pointer("sk", 64, 8, SOCKET);

const fn sock_addr(fields: &'static [Field]) -> Layout {
    Layout {
        name: "bpf_sock_addr",
        size: 72,
        fields,
        packet_writable: false,
    }
}

/// `struct bpf_sock_addr`, IPv4.
pub(super) const SOCK_ADDR4: Layout = sock_addr(&[USER_FAMILY, USER_IP4, USER_PORT, FAMILY, TYPE, PROTOCOL, SK]);
/// `struct bpf_sock_addr`, IPv6.
pub(super) const SOCK_ADDR6: Layout = sock_addr(&[USER_FAMILY, USER_IP6, USER_PORT, FAMILY, TYPE, PROTOCOL, SK]);
/// `struct bpf_sock_addr`, Unix sockets.
pub(super) const SOCK_ADDR_UNIX: Layout = sock_addr(&[USER_FAMILY, USER_PORT, FAMILY, TYPE, PROTOCOL, SK]);
/// `struct bpf_sock_addr` of a message, IPv4.
pub(super) const SENDMSG4: Layout = sock_addr(&[
    USER_FAMILY,
    USER_IP4,
    USER_PORT,
    FAMILY,
    TYPE,
    PROTOCOL,
    MSG_SRC_IP4,
    SK,
]);
/// `struct bpf_sock_addr` of a message, IPv6.
pub(super) const SENDMSG6: Layout = sock_addr(&[
    USER_FAMILY,
    USER_IP6,
    USER_PORT,
    FAMILY,
    TYPE,
    PROTOCOL,
    MSG_SRC_IP6,
    SK,
]);

/// `struct bpf_sockopt` of `getsockopt(2)`.
pub(super) const GETSOCKOPT: Layout = Layout {
    name: "bpf_sockopt",
    size: 40,
    fields: &[
        pointer("sk", 0, 8, SOCKET),
        pointer("optval", 8, 8, Packet),
        pointer("optval_end", 16, 8, PacketEnd),
        whole("level", 24, 4),
        whole("optname", 28, 4),
        whole("optlen", 32, 4).writable(),
        whole("retval", 36, 4).writable(),
    ],
    packet_writable: true,
};

/// `struct bpf_sockopt` of `setsockopt(2)`.
pub(super) const SETSOCKOPT: Layout = Layout {
    name: "bpf_sockopt",
    size: 40,
    fields: &[
        pointer("sk", 0, 8, SOCKET),
        pointer("optval", 8, 8, Packet),
        pointer("optval_end", 16, 8, PacketEnd),
        whole("level", 24, 4).writable(),
        whole("optname", 28, 4).writable(),
        whole("optlen", 32, 4).writable(),
    ],
    packet_writable: true,
};

/// What the caller of a `syscall` program passes.
pub(super) const SYSCALL: Layout = Layout {
    name: "args",
    size: 65_535,
    fields: &[Field {
        kind: Record,
        ..bytes("args", 0, 65_535).stores(Widths::of(15))
    }],
    packet_writable: false,
};

//! The contexts of programs that only the kernel hosts, to verify them with. Found as those in [`contexts`](super::contexts).

use super::contexts::{PACKET_SOCKET, SOCKET, bytes, number, pointer, whole, words};
use super::layout::{Field, Layout};
use crate::facts::ContextFieldKind::{Object, Packet, PacketEnd, Unsupported};
use crate::facts::{ContextFieldKind, ObjectPointer, ObjectType, Trust, Widths};

/// A full socket, or none.
const SOCKET_OR_NULL: ContextFieldKind = Object(ObjectPointer {
    ty: ObjectType::Socket,
    trust: Trust::Plain,
    nullable: true,
});

const fn skb(fields: &'static [Field], packet_writable: bool) -> Layout {
    Layout {
        name: "__sk_buff",
        size: 192,
        fields,
        packet_writable,
    }
}

const LWT_FIELDS: &[Field] = &[
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
    number("gso_segs", 164, 4),
    pointer("sk", 168, 8, PACKET_SOCKET),
    number("gso_size", 176, 4),
];

/// `struct __sk_buff` for lightweight tunnels, but for transmission.
pub(super) const LWT: Layout = skb(LWT_FIELDS, false);

/// `struct __sk_buff` for lightweight tunnels, transmission.
pub(super) const LWT_XMIT: Layout = skb(LWT_FIELDS, true);

/// `struct __sk_buff` for stream parsers and verdicts.
pub(super) const SK_SKB: Layout = skb(
    &[
        number("len", 0, 4),
        number("pkt_type", 4, 4),
        number("queue_mapping", 12, 4),
        number("protocol", 16, 4),
        number("vlan_present", 20, 4),
        number("vlan_tci", 24, 4),
        number("vlan_proto", 28, 4),
        number("priority", 32, 4).writable(),
        number("ingress_ifindex", 36, 4),
        number("ifindex", 40, 4),
        number("tc_index", 44, 4).writable(),
        bytes("cb", 48, 20),
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
        number("gso_segs", 164, 4),
        pointer("sk", 168, 8, PACKET_SOCKET),
        number("gso_size", 176, 4),
    ],
    true,
);

/// `struct __sk_buff` for flow dissectors.
pub(super) const FLOW_DISSECTOR: Layout = skb(
    &[
        pointer("data", 76, 4, Packet),
        pointer("data_end", 80, 4, PacketEnd),
        pointer("flow_keys", 144, 8, Unsupported("pointers to flow keys")),
    ],
    false,
);

/// `struct bpf_sock_ops`.
pub(super) const SOCK_OPS: Layout = Layout {
    name: "bpf_sock_ops",
    size: 224,
    fields: &[
        whole("op", 0, 4),
        whole("reply", 4, 4).writable(),
        words("args", 8, 3),
        whole("family", 20, 4),
        whole("remote_ip4", 24, 4),
        whole("local_ip4", 28, 4),
        words("remote_ip6", 32, 4),
        words("local_ip6", 48, 4),
        whole("remote_port", 64, 4),
        whole("local_port", 68, 4),
        whole("is_fullsock", 72, 4),
        whole("snd_cwnd", 76, 4),
        whole("srtt_us", 80, 4),
        whole("bpf_sock_ops_cb_flags", 84, 4),
        whole("state", 88, 4),
        whole("rtt_min", 92, 4),
        whole("snd_ssthresh", 96, 4),
        whole("rcv_nxt", 100, 4),
        whole("snd_nxt", 104, 4),
        whole("snd_una", 108, 4),
        whole("mss_cache", 112, 4),
        whole("ecn_flags", 116, 4),
        whole("rate_delivered", 120, 4),
        whole("rate_interval_us", 124, 4),
        whole("packets_out", 128, 4),
        whole("retrans_out", 132, 4),
        whole("total_retrans", 136, 4),
        whole("segs_in", 140, 4),
        whole("data_segs_in", 144, 4),
        whole("segs_out", 148, 4),
        whole("data_segs_out", 152, 4),
        whole("lost_out", 156, 4),
        whole("sacked_out", 160, 4),
        whole("sk_txhash", 164, 4).writable(),
        whole("bytes_received", 168, 8),
        whole("bytes_acked", 176, 8),
        pointer("sk", 184, 8, SOCKET_OR_NULL),
        pointer("skb_data", 192, 8, Packet),
        pointer("skb_data_end", 200, 8, PacketEnd),
        whole("skb_len", 208, 4),
        number("skb_tcp_flags", 212, 4).starting_there(),
        whole("skb_hwtstamp", 216, 8),
    ],
    packet_writable: false,
};

/// `struct sk_msg_md`.
pub(super) const SK_MSG: Layout = Layout {
    name: "sk_msg_md",
    size: 80,
    fields: &[
        pointer("data", 0, 8, Packet),
        pointer("data_end", 8, 8, PacketEnd),
        whole("family", 16, 4),
        whole("remote_ip4", 20, 4),
        whole("local_ip4", 24, 4),
        words("remote_ip6", 28, 4),
        words("local_ip6", 44, 4),
        whole("remote_port", 60, 4),
        whole("local_port", 64, 4),
        whole("size", 68, 4),
        pointer("sk", 72, 8, SOCKET),
    ],
    packet_writable: true,
};

/// `struct sk_reuseport_md`.
pub(super) const SK_REUSEPORT: Layout = Layout {
    name: "sk_reuseport_md",
    size: 56,
    fields: &[
        pointer("data", 0, 8, Packet),
        pointer("data_end", 8, 8, PacketEnd),
        number("len", 16, 4),
        number("eth_protocol", 20, 4).loads(Widths::of(6)),
        number("ip_protocol", 24, 4),
        number("bind_inany", 28, 4),
        whole("hash", 32, 4),
        pointer("sk", 40, 8, SOCKET),
        pointer("migrating_sk", 48, 8, PACKET_SOCKET),
    ],
    packet_writable: false,
};

/// `struct bpf_sk_lookup`.
pub(super) const SK_LOOKUP: Layout = Layout {
    name: "bpf_sk_lookup",
    size: 72,
    fields: &[
        pointer("sk", 0, 8, SOCKET_OR_NULL),
        number("family", 8, 4),
        number("protocol", 12, 4),
        number("remote_ip4", 16, 4),
        bytes("remote_ip6", 20, 16).loads(Widths::of(7)),
        number("remote_port", 36, 4),
        number("local_ip4", 40, 4),
        bytes("local_ip6", 44, 16).loads(Widths::of(7)),
        number("local_port", 60, 4),
        number("ingress_ifindex", 64, 4),
    ],
    packet_writable: false,
};

/// `struct bpf_sysctl`.
pub(super) const SYSCTL: Layout = Layout {
    name: "bpf_sysctl",
    size: 8,
    fields: &[number("write", 0, 4), number("file_pos", 4, 4).writable()],
    packet_writable: false,
};

/// The context of decoders of infrared signals: what they get is passed to helpers only.
pub(super) const INFRARED: Layout = Layout {
    name: "lirc_sample",
    size: 4,
    fields: &[],
    packet_writable: false,
};

//! Program types: contexts, results, attach types, and which of them user space cannot host.
//!
//! A context is either the same for all programs of a kind ([`context`]), or made of the arguments of what the program is
//! attached to ([`context_for`]): functions, typed tracepoints, iterators, security hooks, functions of structs.

mod arguments;
mod contexts;
mod kernel_contexts;
mod layout;
mod nullable;

use super::map_trace;
use crate::facts::{ContextFacts, ContextField, ContextFieldKind, ProgramKind, Widths};

use ProgramKind::{
    Action, CgroupBind4, CgroupBind6, CgroupConnect4, CgroupConnect6, CgroupConnectUnix, CgroupDevice,
    CgroupGetsockopt, CgroupName4, CgroupName6, CgroupNameUnix, CgroupPostBind4, CgroupPostBind6, CgroupSendmsg4,
    CgroupSendmsg6, CgroupSendmsgUnix, CgroupSetsockopt, CgroupSkbEgress, CgroupSkbIngress, CgroupSock, CgroupSysctl,
    Ext, Fentry, Fexit, FlowDissector, FmodRet, Hook, Iter, Kprobe, KprobeSession, LircMode2, Lsm, LsmCgroup, LwtIn,
    LwtOut, LwtSeg6Local, LwtXmit, MapTrace, Netfilter, PerfEvent, RawTracepoint, RawTracepointWritable, SkLookup,
    SkMsg, SkReuseport, SkSkb, SockOps, SocketFilter, StructOps, Syscall, Tc, TpBtf, Tracepoint, Xdp, XdpDevmap,
};
use layout::Layout;

pub use arguments::{ContextError, argument_count, context_for, is_supported_member};

/// What is fixed for all programs of a kind.
#[derive(Clone, Copy, Debug)]
pub struct ProgramType {
    /// The kind.
    pub kind: ProgramKind,
    /// The section that libbpf puts such programs into, without what follows the first slash where that is a name.
    pub section: &'static str,
    /// `enum bpf_prog_type`.
    pub number: u32,
    /// `enum bpf_attach_type`: the expected attach types. Programs for which the first is 0 and not
    /// `BPF_CGROUP_INET_INGRESS` may leave it open.
    pub attach_types: &'static [u32],
    /// Values that such programs may return (inclusive), or `None` for any.
    pub return_range: Option<(i32, i32)>,
    /// Why user space cannot host such programs, if it cannot: it has nothing to attach them to.
    pub excluded: Option<&'static str>,
    context: Source,
}

/// Where the context comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// It is always the same.
    Fixed(&'static Layout),
    /// What the program is attached to has typed arguments.
    Typed,
    /// The program replaces part of another, and has its context.
    Target,
}

impl ProgramType {
    const fn excluded(self, reason: &'static str) -> ProgramType {
        ProgramType {
            excluded: Some(reason),
            ..self
        }
    }

    /// Whether the context is made of the arguments of what the program is attached to.
    #[must_use]
    pub const fn is_typed(&self) -> bool {
        matches!(self.context, Source::Typed)
    }
}

const NETWORK: &str = "it runs in the kernel's network stack";
const SOCKETS: &str = "it works on sockets of the kernel";
const CGROUPS: &str = "it is attached to control groups, and works on objects of the kernel";
const INFRARED: &str = "infrared receivers belong to the kernel";

/// The number of hooks of the host among attach types: none of Linux's, and out of their way.
const HOST_HOOK: u32 = map_trace::ATTACH_TYPE + 1;

const ANY: Option<(i32, i32)> = None;
const ZERO: Option<(i32, i32)> = Some((0, 0));
const ONE: Option<(i32, i32)> = Some((1, 1));
const BOOL: Option<(i32, i32)> = Some((0, 1));
const FLAGS: Option<(i32, i32)> = Some((0, 3));
/// Zero or a negated errno.
const ERRNO: Option<(i32, i32)> = Some((-4095, 0));

const fn row(
    kind: ProgramKind,
    section: &'static str,
    number: u32,
    attach_types: &'static [u32],
    return_range: Option<(i32, i32)>,
    context: Source,
) -> ProgramType {
    ProgramType {
        kind,
        section,
        number,
        attach_types,
        return_range,
        excluded: None,
        context,
    }
}

const fn fixed(layout: &'static Layout) -> Source {
    Source::Fixed(layout)
}

#[rustfmt::skip]
const TABLE: [ProgramType; 55] = [
    row(SocketFilter, "socket", 1, &[0], ANY, fixed(&contexts::SOCKET_FILTER)),
    row(Kprobe, "kprobe", 2, &[0, 42, 48], ANY, fixed(&contexts::KPROBE)),
    row(KprobeSession, "kprobe.session", 2, &[56, 57], BOOL, fixed(&contexts::KPROBE)),
    row(Tc, "tc", 3, &[0, 46, 47, 54, 55], ANY, fixed(&contexts::TC)),
    row(Action, "action", 4, &[0], ANY, fixed(&contexts::TC)),
    row(Tracepoint, "tracepoint", 5, &[0], ANY, fixed(&contexts::TRACEPOINT)),
    row(Xdp, "xdp", 6, &[0, 37, 35], ANY, fixed(&contexts::XDP)),
    row(XdpDevmap, "xdp/devmap", 6, &[33], ANY, fixed(&contexts::XDP_DEVMAP)),
    row(PerfEvent, "perf_event", 7, &[0, 41], ANY, fixed(&contexts::PERF_EVENT)),
    row(CgroupSkbIngress, "cgroup_skb/ingress", 8, &[0], BOOL, fixed(&contexts::CGROUP_SKB)),
    row(CgroupSkbEgress, "cgroup_skb/egress", 8, &[1], FLAGS, fixed(&contexts::CGROUP_SKB)),
    row(CgroupSock, "cgroup/sock", 9, &[2, 34], BOOL, fixed(&contexts::SOCK)),
    row(CgroupPostBind4, "cgroup/post_bind4", 9, &[12], BOOL, fixed(&contexts::SOCK_POST_BIND4)),
    row(CgroupPostBind6, "cgroup/post_bind6", 9, &[13], BOOL, fixed(&contexts::SOCK_POST_BIND6)),
    row(LwtIn, "lwt_in", 10, &[0], ANY, fixed(&kernel_contexts::LWT)).excluded(NETWORK),
    row(LwtOut, "lwt_out", 11, &[0], ANY, fixed(&kernel_contexts::LWT)).excluded(NETWORK),
    row(LwtXmit, "lwt_xmit", 12, &[0], ANY, fixed(&kernel_contexts::LWT_XMIT)).excluded(NETWORK),
    row(LwtSeg6Local, "lwt_seg6local", 19, &[0], ANY, fixed(&kernel_contexts::LWT)).excluded(NETWORK),
    row(SockOps, "sockops", 13, &[3], BOOL, fixed(&kernel_contexts::SOCK_OPS)).excluded(SOCKETS),
    row(SkSkb, "sk_skb", 14, &[4, 5, 38], ANY, fixed(&kernel_contexts::SK_SKB)).excluded(SOCKETS),
    row(CgroupDevice, "cgroup/dev", 15, &[6], BOOL, fixed(&contexts::CGROUP_DEVICE)),
    row(SkMsg, "sk_msg", 16, &[7], ANY, fixed(&kernel_contexts::SK_MSG)).excluded(SOCKETS),
    row(RawTracepoint, "raw_tp", 17, &[0], ANY, fixed(&contexts::RAW_TRACEPOINT)),
    row(RawTracepointWritable, "raw_tp.w", 24, &[0], ANY, fixed(&contexts::RAW_TRACEPOINT_WRITABLE)),
    row(CgroupBind4, "cgroup/bind4", 18, &[8], FLAGS, fixed(&contexts::SOCK_ADDR4)),
    row(CgroupBind6, "cgroup/bind6", 18, &[9], FLAGS, fixed(&contexts::SOCK_ADDR6)),
    row(CgroupConnect4, "cgroup/connect4", 18, &[10], BOOL, fixed(&contexts::SOCK_ADDR4)),
    row(CgroupConnect6, "cgroup/connect6", 18, &[11], BOOL, fixed(&contexts::SOCK_ADDR6)),
    row(CgroupConnectUnix, "cgroup/connect_unix", 18, &[49], BOOL, fixed(&contexts::SOCK_ADDR_UNIX)),
    row(CgroupSendmsg4, "cgroup/sendmsg4", 18, &[14], BOOL, fixed(&contexts::SENDMSG4)),
    row(CgroupSendmsg6, "cgroup/sendmsg6", 18, &[15], BOOL, fixed(&contexts::SENDMSG6)),
    row(CgroupSendmsgUnix, "cgroup/sendmsg_unix", 18, &[50], BOOL, fixed(&contexts::SOCK_ADDR_UNIX)),
    row(CgroupName4, "cgroup/recvmsg4", 18, &[19, 29, 31], ONE, fixed(&contexts::SOCK_ADDR4)),
    row(CgroupName6, "cgroup/recvmsg6", 18, &[20, 30, 32], ONE, fixed(&contexts::SOCK_ADDR6)),
    row(CgroupNameUnix, "cgroup/recvmsg_unix", 18, &[51, 52, 53], ONE, fixed(&contexts::SOCK_ADDR_UNIX)),
    row(LircMode2, "lirc_mode2", 20, &[16], ANY, fixed(&kernel_contexts::INFRARED)).excluded(INFRARED),
    row(SkReuseport, "sk_reuseport", 21, &[39, 40], ANY, fixed(&kernel_contexts::SK_REUSEPORT)).excluded(SOCKETS),
    row(FlowDissector, "flow_dissector", 22, &[17], ANY, fixed(&kernel_contexts::FLOW_DISSECTOR)).excluded(NETWORK),
    row(CgroupSysctl, "cgroup/sysctl", 23, &[18], BOOL, fixed(&kernel_contexts::SYSCTL)).excluded(CGROUPS),
    row(CgroupGetsockopt, "cgroup/getsockopt", 25, &[21], BOOL, fixed(&contexts::GETSOCKOPT)),
    row(CgroupSetsockopt, "cgroup/setsockopt", 25, &[22], BOOL, fixed(&contexts::SETSOCKOPT)),
    row(Fentry, "fentry", 26, &[24], ZERO, Source::Typed),
    row(Fexit, "fexit", 26, &[25], ZERO, Source::Typed),
    row(FmodRet, "fmod_ret", 26, &[26], ANY, Source::Typed),
    row(TpBtf, "tp_btf", 26, &[23], ANY, Source::Typed),
    row(Iter, "iter", 26, &[28], BOOL, Source::Typed),
    row(MapTrace, "map_trace", 26, &[map_trace::ATTACH_TYPE], ZERO, Source::Typed),
    row(Hook, "hook", 26, &[HOST_HOOK], ANY, Source::Typed),
    row(StructOps, "struct_ops", 27, &[], ANY, Source::Typed),
    row(Lsm, "lsm", 29, &[27], ERRNO, Source::Typed),
    row(LsmCgroup, "lsm_cgroup", 29, &[43], BOOL, Source::Typed).excluded(CGROUPS),
    row(SkLookup, "sk_lookup", 30, &[36], BOOL, fixed(&kernel_contexts::SK_LOOKUP)).excluded(SOCKETS),
    row(Syscall, "syscall", 31, &[0], ANY, fixed(&contexts::SYSCALL)),
    row(Netfilter, "netfilter", 32, &[45], BOOL, Source::Typed).excluded(NETWORK),
    row(Ext, "freplace", 28, &[0], ANY, Source::Target),
];

/// The attach types of Linux 6.12, by number, as bpftool prints them.
#[rustfmt::skip]
const ATTACH_TYPES: [&str; 58] = [
    "cgroup_inet_ingress", "cgroup_inet_egress", "cgroup_inet_sock_create", "cgroup_sock_ops",
    "sk_skb_stream_parser", "sk_skb_stream_verdict", "cgroup_device", "sk_msg_verdict", "cgroup_inet4_bind",
    "cgroup_inet6_bind", "cgroup_inet4_connect", "cgroup_inet6_connect", "cgroup_inet4_post_bind",
    "cgroup_inet6_post_bind", "cgroup_udp4_sendmsg", "cgroup_udp6_sendmsg", "lirc_mode2", "flow_dissector",
    "cgroup_sysctl", "cgroup_udp4_recvmsg", "cgroup_udp6_recvmsg", "cgroup_getsockopt", "cgroup_setsockopt",
    "trace_raw_tp", "trace_fentry", "trace_fexit", "modify_return", "lsm_mac", "trace_iter",
    "cgroup_inet4_getpeername", "cgroup_inet6_getpeername", "cgroup_inet4_getsockname", "cgroup_inet6_getsockname",
    "xdp_devmap", "cgroup_inet_sock_release", "xdp_cpumap", "sk_lookup", "xdp", "sk_skb_verdict",
    "sk_reuseport_select", "sk_reuseport_select_or_migrate", "perf_event", "trace_kprobe_multi", "lsm_cgroup",
    "struct_ops", "netfilter", "tcx_ingress", "tcx_egress", "trace_uprobe_multi", "cgroup_unix_connect",
    "cgroup_unix_sendmsg", "cgroup_unix_recvmsg", "cgroup_unix_getpeername", "cgroup_unix_getsockname",
    "netkit_primary", "netkit_peer", "trace_kprobe_session", "trace_uprobe_session",
];

/// Every kind of program.
#[must_use]
pub const fn all() -> &'static [ProgramType] {
    &TABLE
}

/// What a kind of program is like.
#[must_use]
pub const fn of(kind: ProgramKind) -> &'static ProgramType {
    &TABLE[kind as usize]
}

/// The kind of a program with this type and expected attach type, if Linux 6.12 has it.
#[must_use]
pub fn by_number(program_type: u32, attach_type: u32) -> Option<&'static ProgramType> {
    let is_any = |ty: &ProgramType| ty.attach_types.is_empty();
    TABLE
        .iter()
        .find(|ty| ty.number == program_type && (is_any(ty) || ty.attach_types.contains(&attach_type)))
}

/// The name of an attach type (`enum bpf_attach_type`): "xdp" for 37.
#[must_use]
pub fn attach_type_name(attach_type: u32) -> Option<&'static str> {
    match attach_type {
        map_trace::ATTACH_TYPE => Some("trace_map"),
        HOST_HOOK => Some("host_hook"),
        number => ATTACH_TYPES.get(number as usize).copied(),
    }
}

/// The context of programs of a kind, if it is always the same.
#[must_use]
pub fn context(kind: ProgramKind) -> Option<ContextFacts> {
    match of(kind).context {
        Source::Fixed(layout) => Some(ContextFacts {
            legacy_packet_access: matches!(kind, SocketFilter | Tc | Action),
            ..layout.facts(of(kind).return_range)
        }),
        _ => None,
    }
}

/// A context made of arguments, each of which takes 8 bytes: `name` is for messages. Numbers may be loaded in part from
/// their start on.
#[must_use]
pub fn typed(kind: ProgramKind, name: &str, arguments: &[(&str, ContextFieldKind)]) -> ContextFacts {
    let field = |(off, &(name, kind)): (u32, &(&str, ContextFieldKind))| ContextField {
        name: name.to_owned(),
        off: 8 * off,
        size: 8,
        kind,
        loads: if kind.is_number() {
            Widths::at_start(15)
        } else {
            Widths::of(8)
        },
        stores: Widths::NONE,
        host_off: 8 * off,
    };
    ContextFacts {
        name: name.to_owned(),
        size: 8 * arguments.len() as u32,
        fields: (0..).zip(arguments).map(field).collect(),
        return_range: of(kind).return_range,
        packet_writable: false,
        legacy_packet_access: false,
        sleepable: false,
        returns_nothing: false,
        writable: Vec::new(),
    }
}

/// XDP programs: `struct xdp_md`. What they return is up to the hook.
///
/// `egress_ifindex` is for programs in a device map only and cannot be read. None of the pointers is NULL, even if the
/// packet is empty.
#[must_use]
#[doc(alias = "BPF_PROG_TYPE_XDP")]
pub fn xdp() -> ContextFacts {
    contexts::XDP.facts(ANY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_in_order_and_sections_unique() {
        for (i, ty) in TABLE.iter().enumerate() {
            assert_eq!(ty.kind as usize, i, "{}", ty.section);
            assert!(
                TABLE[i + 1..].iter().all(|other| other.section != ty.section),
                "{}",
                ty.section
            );
            assert!(
                ty.attach_types.iter().all(|&attach| attach_type_name(attach).is_some()),
                "{}",
                ty.section
            );
        }
        let numbers: std::collections::BTreeSet<u32> = TABLE.iter().map(|ty| ty.number).collect();
        assert_eq!(numbers, (1..=32).collect());
    }

    #[test]
    fn a_type_and_an_attach_type_name_one_kind() {
        for ty in &TABLE {
            for &attach in ty.attach_types {
                assert_eq!(
                    by_number(ty.number, attach).map(|found| found.kind),
                    Some(ty.kind),
                    "{}",
                    ty.section
                );
            }
        }
        assert_eq!(by_number(6, 33).map(|ty| ty.kind), Some(XdpDevmap));
        assert_eq!(by_number(27, 5).map(|ty| ty.kind), Some(StructOps));
        assert!(by_number(6, 24).is_none() && by_number(0, 0).is_none() && by_number(33, 0).is_none());
    }

    #[test]
    fn fields_are_sorted_and_apart() {
        let contexts = TABLE.iter().filter_map(|ty| context(ty.kind));
        for context in contexts.chain(map_trace::EVENTS.map(|event| event.facts())) {
            for pair in context.fields.windows(2) {
                assert!(pair[0].off + pair[0].size <= pair[1].off, "{}", pair[1].name);
            }
            let end = context.fields.last().map_or(0, |last| last.off + last.size);
            assert!(end <= context.size);
            let mut host: Vec<_> = context
                .fields
                .iter()
                .map(|field| (field.host_off, field.host_len()))
                .collect();
            host.sort_unstable();
            assert!(
                host.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0),
                "{}",
                context.name
            );
        }
    }

    #[test]
    fn what_is_one_struct_has_one_place_for_each_field() {
        for layouts in contexts::SHARED {
            let contexts: Vec<_> = layouts.iter().map(|layout| layout.facts(ANY)).collect();
            let fields: Vec<_> = contexts.iter().flat_map(|context| &context.fields).collect();
            for field in &fields {
                for same in fields.iter().filter(|other| other.off == field.off) {
                    assert_eq!((&field.name, field.host_off), (&same.name, same.host_off));
                    assert_eq!((field.size, field.kind), (same.size, same.kind), "{}", field.name);
                }
            }
            assert!(layouts.iter().all(|layout| layout.name == layouts[0].name));
        }
    }

    #[test]
    fn only_numbers_are_stored_to_and_pointers_loaded_whole() {
        for context in TABLE.iter().filter_map(|ty| context(ty.kind)) {
            for field in context.fields.iter().filter(|field| !field.kind.is_number()) {
                assert_eq!(field.loads, Widths::of(field.size as u8), "{}", field.name);
                assert_eq!(field.stores, Widths::NONE, "{}", field.name);
            }
        }
    }

    #[test]
    fn every_kind_has_a_context() {
        for ty in &TABLE {
            let ways = [context(ty.kind).is_some(), ty.is_typed(), ty.kind == Ext];
            assert_eq!(ways.iter().filter(|&&way| way).count(), 1, "{}", ty.section);
        }
    }
}

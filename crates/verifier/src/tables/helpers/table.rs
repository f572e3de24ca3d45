//! The helpers of Linux 6.12, by number. Prototypes are as documented in `linux/bpf.h`; which programs may call which
//! was found by experiment.

use super::programs::{
    ATTACH_COOKIES, CGROUP_SKB, COARSE_CLOCK, CONNECT, EVERY, KPROBE, LOAD_BYTES, LOCAL_STORAGE, LSMS, LWT,
    NETNS_COOKIES, PERF_OUTPUT, RETURN_VALUES, SOCKET_CASTS, SOCKET_COOKIES, SOCKET_LOOKUPS, SOCKET_OPTIONS,
    SOCKET_RELEASE, SOCKET_STORAGE_DELETE, SOCKET_STORAGE_GET, SOCKOPT, TC, TRACE, TRACING, TRAMPOLINE, XDP, only,
};
use super::{MAP_DELETE_ELEM, MAP_UPDATE_ELEM};
use crate::facts::MapKind as K;
use crate::facts::ProgramKind::{
    Action, CgroupSysctl, FlowDissector, Iter, LircMode2, Lsm, LwtIn, LwtSeg6Local, LwtXmit, PerfEvent, SkLookup,
    SkMsg, SkReuseport, SkSkb, SockOps, SocketFilter, StructOps, Syscall, Tc, Xdp, XdpDevmap,
};
use crate::facts::{ArgType, CallsBack, HelperProto, MapKind, ProgramKind, ProgramSet, RetType};

const DEVICES: &str = "there are no network devices and no buffers of the kernel in user space";
const SOCKETS: &str = "it works on sockets of the kernel, which user space has no access to";
const ROUTES: &str = "routing, tunnels and IPsec are done by the kernel";
const TUNNELS: &str = "tunnel metadata is kept by the kernel";
const CGROUPS: &str = "control groups belong to the kernel";
const TASKS: &str = "there is no task_struct in user space";
const INODES: &str = "files, inodes and their security belong to the kernel";
const VARIABLES: &str = "the kernel's variables and symbols cannot be reached from user space";
const COUNTERS: &str = "counters and branch records are kept by the kernel";
const SYSCTLS: &str = "sysctls belong to the kernel";
const INFRARED: &str = "infrared receivers belong to the kernel";
const OVERRIDE: &str = "functions are entered by the host; use fmod_ret to change a result";
const UNPROVED: &str = "it would write memory that nothing has been proved about";

const LOOKUP: &[MapKind] = &[
    K::Hash,
    K::Array,
    K::PercpuHash,
    K::PercpuArray,
    K::LruHash,
    K::LruPercpuHash,
    K::LpmTrie,
    K::ArrayOfMaps,
    K::HashOfMaps,
    K::Devmap,
    K::DevmapHash,
    K::Sockmap,
    K::Sockhash,
    K::Xskmap,
];
const CHANGE: &[MapKind] = &[
    K::Hash,
    K::Array,
    K::PercpuHash,
    K::PercpuArray,
    K::LruHash,
    K::LruPercpuHash,
    K::LpmTrie,
    K::Devmap,
    K::DevmapHash,
    K::Sockmap,
    K::Sockhash,
];
/// The same, but for maps of sockets.
pub(super) const CHANGE_NO_SOCKETS: &[MapKind] = &[
    K::Hash,
    K::Array,
    K::PercpuHash,
    K::PercpuArray,
    K::LruHash,
    K::LruPercpuHash,
    K::LpmTrie,
    K::Devmap,
    K::DevmapHash,
];

/// Whether a helper is one that programs of this sort may use on all maps that it is listed with: maps of sockets are changed
/// only by programs that hold no lock of a socket.
pub(super) fn changes_sockets(helper: u32, kind: ProgramKind) -> bool {
    match helper {
        MAP_UPDATE_ELEM => CHANGE_SOCKETS.contains(kind),
        MAP_DELETE_ELEM => CHANGE_SOCKETS.with(&[SockOps]).contains(kind),
        _ => true,
    }
}

const CHANGE_SOCKETS: ProgramSet = ProgramSet::of(&[
    Iter,
    SocketFilter,
    Tc,
    Action,
    Xdp,
    XdpDevmap,
    SkReuseport,
    FlowDissector,
    SkLookup,
]);
const FOR_EACH: &[MapKind] = &[
    K::Hash,
    K::Array,
    K::PercpuHash,
    K::PercpuArray,
    K::LruHash,
    K::LruPercpuHash,
];
const REDIRECT: &[MapKind] = &[K::Devmap, K::DevmapHash, K::Cpumap, K::Xskmap];
const PERF_EVENTS: &[MapKind] = &[K::PerfEventArray];
const RINGBUF: &[MapKind] = &[K::Ringbuf];

/// The arguments given, and none after them.
const fn padded(given: &[ArgType]) -> [ArgType; 5] {
    let (mut args, mut i) = ([ArgType::None; 5], 0);
    while i < given.len() {
        args[i] = given[i];
        i += 1;
    }
    args
}

/// Lists helpers: `NUMBER NAME(ARGUMENTS) -> RESULT, for PROGRAMS, FIELD: VALUE, ...;`
macro_rules! helpers {
    ($($id:literal $name:ident($($arg:ident $(($arg_of:literal))?),*) -> $ret:ident $(($ret_of:literal))?,
        for $programs:expr $(, $field:ident: $value:expr)*;)*) => {
        pub(super) const TABLE: &[HelperProto] = &[$(HelperProto {
            ret: RetType::$ret $(($ret_of))?,
            args: padded(&[$(ArgType::$arg $(($arg_of))?),*]),
            programs: $programs,
            $($field: $value,)*
            ..HelperProto::new($id, concat!("bpf_", stringify!($name)))
        }),*];
    };
}

helpers! {
    1 map_lookup_elem(ConstMap, MapKey) -> MapValueOrNull, for EVERY, maps: LOOKUP, packet: true;
    2 map_update_elem(ConstMap, MapKey, MapValue, Anything) -> Integer, for EVERY, maps: CHANGE, writes_map: true, packet: true;
    3 map_delete_elem(ConstMap, MapKey) -> Integer, for EVERY, maps: CHANGE, writes_map: true, packet: true;
    4 probe_read(UninitMem, SizeOrZero, Anything) -> Integer, for TRACING.with(&[Syscall]), gpl_only: true;
    5 ktime_get_ns() -> Integer, for EVERY;
    6 trace_printk(Mem, Size) -> Integer, for EVERY, gpl_only: true;
    7 get_prandom_u32() -> Integer, for EVERY;
    8 get_smp_processor_id() -> Integer, for EVERY;
    9 skb_store_bytes(Context, Anything, Mem, Size, Anything) -> Integer, for TC.with(&[LwtXmit, SkSkb]),
        changes_packet: true;
    10 l3_csum_replace(Context, Anything, Anything, Anything, Anything) -> Integer, for TC.with(&[LwtXmit]),
        changes_packet: true;
    11 l4_csum_replace(Context, Anything, Anything, Anything, Anything) -> Integer, for TC.with(&[LwtXmit]),
        changes_packet: true;
    12 tail_call(Context, ConstMap, Anything) -> Void, for EVERY, maps: &[K::ProgArray];
    13 clone_redirect(Context, Anything, Anything) -> Integer, for TC.with(&[LwtXmit]),
        changes_packet: true;
    14 get_current_pid_tgid() -> Integer, for EVERY;
    15 get_current_uid_gid() -> Integer, for EVERY;
    16 get_current_comm(UninitMem, Size) -> Integer, for EVERY;
    17 get_cgroup_classid(Context) -> Integer, for EVERY, excluded: Some(CGROUPS);
    18 skb_vlan_push(Context, Anything, Anything) -> Integer, for TC, changes_packet: true;
    19 skb_vlan_pop(Context) -> Integer, for TC, changes_packet: true;
    20 skb_get_tunnel_key(Context, UninitMem, Size, Anything) -> Integer, for TC.with(&[LwtXmit]),
        excluded: Some(TUNNELS);
    21 skb_set_tunnel_key(Context, Mem, Size, Anything) -> Integer, for TC.with(&[LwtXmit]), excluded: Some(TUNNELS);
    22 perf_event_read(ConstMap, Anything) -> Integer, for EVERY,
        gpl_only: true, maps: PERF_EVENTS;
    23 redirect(Anything, Anything) -> Integer, for TC.and(XDP).with(&[LwtXmit]);
    24 get_route_realm(Context) -> Integer, for LWT.and(TC).with(&[LwtSeg6Local]), excluded: Some(ROUTES);
    25 perf_event_output(Context, ConstMap, Anything, Mem, SizeOrZero) -> Integer, for PERF_OUTPUT,
        gpl_only: true, maps: PERF_EVENTS;
    26 skb_load_bytes(Context, Anything, UninitMem, Size) -> Integer, for LOAD_BYTES;
    27 get_stackid(Context, ConstMap, Anything) -> Integer, for TRACING.with(&[Syscall]),
        gpl_only: true, maps: &[K::StackTrace];
    28 csum_diff(MemOrNull, SizeOrZero, MemOrNull, SizeOrZero, Anything) -> Integer,
        for LWT.and(TC).and(XDP).with(&[LwtSeg6Local]), packet: true;
    29 skb_get_tunnel_opt(Context, UninitMem, Size) -> Integer, for TC.with(&[LwtXmit]), excluded: Some(TUNNELS);
    30 skb_set_tunnel_opt(Context, Mem, Size) -> Integer, for TC.with(&[LwtXmit]), excluded: Some(TUNNELS);
    31 skb_change_proto(Context, Anything, Anything) -> Integer, for TC, changes_packet: true, excluded: Some(ROUTES);
    32 skb_change_type(Context, Anything) -> Integer, for TC;
    33 skb_under_cgroup(Context, ConstMap, Anything) -> Integer, for LWT.and(TC).with(&[LwtSeg6Local]),
        maps: &[K::CgroupArray], excluded: Some(CGROUPS);
    34 get_hash_recalc(Context) -> Integer, for LWT.and(TC).with(&[LwtSeg6Local]);
    35 get_current_task() -> Integer, for EVERY, gpl_only: true;
    36 probe_write_user(Anything, Mem, Size) -> Integer, for TRACING, gpl_only: true, excluded: Some(UNPROVED);
    37 current_task_under_cgroup(ConstMap, Anything) -> Integer, for EVERY,
        maps: &[K::CgroupArray];
    38 skb_change_tail(Context, Anything, Anything) -> Integer, for TC.with(&[LwtXmit, SkSkb]), changes_packet: true;
    39 skb_pull_data(Context, Anything) -> Integer, for LWT.and(TC).with(&[LwtSeg6Local, SkSkb]), changes_packet: true;
    40 csum_update(Context, Anything) -> Integer, for TC.with(&[LwtXmit]);
    41 set_hash_invalid(Context) -> Integer, for TC.with(&[LwtXmit]);
    42 get_numa_node_id() -> Integer, for EVERY;
    43 skb_change_head(Context, Anything, Anything) -> Integer, for TC.with(&[LwtXmit, SkSkb]), changes_packet: true;
    44 xdp_adjust_head(Context, Anything) -> Integer, for XDP, changes_packet: true;
    45 probe_read_str(UninitMem, SizeOrZero, Anything) -> Integer, for TRACING.with(&[Syscall]), gpl_only: true,
        returns_size: true;
    46 get_socket_cookie(Context) -> Integer, for SOCKET_COOKIES, excluded: Some(SOCKETS);
    47 get_socket_uid(Context) -> Integer, for TC.and(CGROUP_SKB).with(&[SocketFilter, SkSkb]), excluded: Some(SOCKETS);
    48 set_hash(Context, Anything) -> Integer, for TC;
    49 setsockopt(Context, Anything, Anything, Mem, Size) -> Integer, for SOCKET_OPTIONS, excluded: Some(SOCKETS);
    50 skb_adjust_room(Context, Anything, Anything, Anything) -> Integer, for TC.with(&[SkSkb]), changes_packet: true;
    51 redirect_map(ConstMap, Anything, Anything) -> Integer, for XDP, maps: REDIRECT;
    52 sk_redirect_map(Context, ConstMap, Anything, Anything) -> Integer, for only(&[SkSkb]),
        maps: &[K::Sockmap], excluded: Some(SOCKETS);
    53 sock_map_update(Context, ConstMap, MapKey, Anything) -> Integer, for only(&[SockOps]),
        maps: &[K::Sockmap], writes_map: true, excluded: Some(SOCKETS);
    54 xdp_adjust_meta(Context, Anything) -> Integer, for XDP, changes_packet: true;
    55 perf_event_read_value(ConstMap, Anything, UninitMem, Size) -> Integer, for EVERY,
        gpl_only: true, maps: PERF_EVENTS;
    56 perf_prog_read_value(Context, UninitMem, Size) -> Integer, for only(&[PerfEvent]),
        gpl_only: true, excluded: Some(COUNTERS);
    57 getsockopt(Context, Anything, Anything, UninitMem, Size) -> Integer, for SOCKET_OPTIONS, excluded: Some(SOCKETS);
    58 override_return(Context, Anything) -> Integer, for KPROBE, gpl_only: true, excluded: Some(OVERRIDE);
    59 sock_ops_cb_flags_set(Context, Anything) -> Integer, for only(&[SockOps]), excluded: Some(SOCKETS);
    60 msg_redirect_map(Context, ConstMap, Anything, Anything) -> Integer, for only(&[SkMsg]),
        maps: &[K::Sockmap], excluded: Some(SOCKETS);
    61 msg_apply_bytes(Context, Anything) -> Integer, for only(&[SkMsg]), excluded: Some(SOCKETS);
    62 msg_cork_bytes(Context, Anything) -> Integer, for only(&[SkMsg]), excluded: Some(SOCKETS);
    63 msg_pull_data(Context, Anything, Anything, Anything) -> Integer, for only(&[SkMsg]),
        changes_packet: true, excluded: Some(SOCKETS);
    64 bind(Context, Mem, Size) -> Integer, for CONNECT, excluded: Some(SOCKETS);
    65 xdp_adjust_tail(Context, Anything) -> Integer, for XDP, changes_packet: true;
    66 skb_get_xfrm_state(Context, Anything, UninitMem, Size, Anything) -> Integer, for TC, excluded: Some(ROUTES);
    67 get_stack(Context, UninitMem, SizeOrZero, Anything) -> Integer, for TRACING.with(&[Syscall]), gpl_only: true,
        returns_size: true;
    68 skb_load_bytes_relative(Context, Anything, UninitMem, Size, Anything) -> Integer,
        for TC.and(CGROUP_SKB).with(&[SocketFilter, SkReuseport]);
    69 fib_lookup(Context, MutMem, Size, Anything) -> Integer, for TC.and(XDP), gpl_only: true, excluded: Some(ROUTES);
    70 sock_hash_update(Context, ConstMap, MapKey, Anything) -> Integer, for only(&[SockOps]),
        maps: &[K::Sockhash], writes_map: true, excluded: Some(SOCKETS);
    71 msg_redirect_hash(Context, ConstMap, MapKey, Anything) -> Integer, for only(&[SkMsg]),
        maps: &[K::Sockhash], excluded: Some(SOCKETS);
    72 sk_redirect_hash(Context, ConstMap, MapKey, Anything) -> Integer, for only(&[SkSkb]),
        maps: &[K::Sockhash], excluded: Some(SOCKETS);
    73 lwt_push_encap(Context, Anything, Mem, Size) -> Integer, for only(&[LwtIn, LwtXmit]),
        changes_packet: true, excluded: Some(ROUTES);
    74 lwt_seg6_store_bytes(Context, Anything, Mem, Size) -> Integer, for only(&[LwtSeg6Local]),
        changes_packet: true, excluded: Some(ROUTES);
    75 lwt_seg6_adjust_srh(Context, Anything, Anything) -> Integer, for only(&[LwtSeg6Local]),
        changes_packet: true, excluded: Some(ROUTES);
    76 lwt_seg6_action(Context, Anything, Mem, Size) -> Integer, for only(&[LwtSeg6Local]),
        changes_packet: true, excluded: Some(ROUTES);
    77 rc_repeat(Context) -> Integer, for only(&[LircMode2]), gpl_only: true, excluded: Some(INFRARED);
    78 rc_keydown(Context, Anything, Anything, Anything) -> Integer, for only(&[LircMode2]),
        gpl_only: true, excluded: Some(INFRARED);
    79 skb_cgroup_id(Context) -> Integer, for TC.and(CGROUP_SKB), excluded: Some(CGROUPS);
    80 get_current_cgroup_id() -> Integer, for EVERY;
    81 get_local_storage(ConstMap, Anything) -> MapValue, for LOCAL_STORAGE,
        maps: &[K::CgroupStorage, K::PercpuCgroupStorage], excluded: Some(CGROUPS);
    82 sk_select_reuseport(Context, ConstMap, MapKey, Anything) -> Integer, for only(&[SkReuseport]),
        maps: &[K::ReuseportSockarray, K::Sockmap, K::Sockhash], excluded: Some(SOCKETS);
    83 skb_ancestor_cgroup_id(Context, Anything) -> Integer, for TC.and(CGROUP_SKB), excluded: Some(CGROUPS);
    84 sk_lookup_tcp(Context, Mem, SizeOrZero, Anything, Anything) -> SocketOrNull, for SOCKET_LOOKUPS,
        acquires: true, excluded: Some(SOCKETS), packet: true;
    85 sk_lookup_udp(Context, Mem, SizeOrZero, Anything, Anything) -> SocketOrNull, for SOCKET_LOOKUPS,
        acquires: true, excluded: Some(SOCKETS), packet: true;
    86 sk_release(AnySocket) -> Integer, for SOCKET_RELEASE, releases: true, excluded: Some(SOCKETS);
    87 map_push_elem(ConstMap, MapValue, Anything) -> Integer, for EVERY,
        maps: &[K::Queue, K::Stack, K::BloomFilter], writes_map: true, packet: true;
    88 map_pop_elem(ConstMap, UninitMapValue) -> Integer, for EVERY, maps: &[K::Queue, K::Stack], writes_map: true;
    89 map_peek_elem(ConstMap, UninitMapValue) -> Integer, for EVERY, maps: &[K::Queue, K::Stack, K::BloomFilter];
    90 msg_push_data(Context, Anything, Anything, Anything) -> Integer, for only(&[SkMsg]),
        changes_packet: true, excluded: Some(SOCKETS);
    91 msg_pop_data(Context, Anything, Anything, Anything) -> Integer, for only(&[SkMsg]),
        changes_packet: true, excluded: Some(SOCKETS);
    92 rc_pointer_rel(Context, Anything, Anything) -> Integer, for only(&[LircMode2]),
        gpl_only: true, excluded: Some(INFRARED);
    93 spin_lock(SpinLock) -> Void, for EVERY;
    94 spin_unlock(SpinLock) -> Void, for EVERY;
    95 sk_fullsock(Socket) -> SocketOrNull, for TC.and(CGROUP_SKB), excluded: Some(SOCKETS);
    96 tcp_sock(Socket) -> TcpSocketOrNull, for TC.and(CGROUP_SKB).and(SOCKOPT).with(&[SockOps]), excluded: Some(SOCKETS);
    97 skb_ecn_set_ce(Context) -> Integer, for TC.and(CGROUP_SKB);
    98 get_listener_sock(Socket) -> SocketOrNull, for TC.and(CGROUP_SKB), excluded: Some(SOCKETS);
    99 skc_lookup_tcp(Context, Mem, SizeOrZero, Anything, Anything) -> SocketCommonOrNull, for SOCKET_LOOKUPS,
        acquires: true, excluded: Some(SOCKETS), packet: true;
    100 tcp_check_syncookie(AnySocket, Mem, Size, Mem, Size) -> Integer, for TC.and(XDP),
        gpl_only: true, excluded: Some(SOCKETS);
    101 sysctl_get_name(Context, UninitMem, Size, Anything) -> Integer, for only(&[CgroupSysctl]),
        excluded: Some(SYSCTLS);
    102 sysctl_get_current_value(Context, UninitMem, Size) -> Integer, for only(&[CgroupSysctl]),
        excluded: Some(SYSCTLS);
    103 sysctl_get_new_value(Context, UninitMem, Size) -> Integer, for only(&[CgroupSysctl]), excluded: Some(SYSCTLS);
    104 sysctl_set_new_value(Context, Mem, Size) -> Integer, for only(&[CgroupSysctl]), excluded: Some(SYSCTLS);
    105 strtol(Mem, Size, Anything, FixedUninitMem(8)) -> Integer, for EVERY;
    106 strtoul(Mem, Size, Anything, FixedUninitMem(8)) -> Integer, for EVERY;
    107 sk_storage_get(ConstMap, AnySocket, MapValueOrNull, Anything) -> MapValueOrNull, for SOCKET_STORAGE_GET,
        maps: &[K::SkStorage], excluded: Some(SOCKETS);
    108 sk_storage_delete(ConstMap, AnySocket) -> Integer, for SOCKET_STORAGE_DELETE,
        maps: &[K::SkStorage], excluded: Some(SOCKETS);
    109 send_signal(Anything) -> Integer, for EVERY;
    110 tcp_gen_syncookie(AnySocket, Mem, Size, Mem, Size) -> Integer, for TC.and(XDP),
        gpl_only: true, excluded: Some(SOCKETS);
    111 skb_output(Btf("sk_buff"), ConstMap, Anything, Mem, SizeOrZero) -> Integer, for TRACE.with(&[Syscall]),
        gpl_only: true, maps: PERF_EVENTS, excluded: Some(DEVICES);
    112 probe_read_user(UninitMem, SizeOrZero, Anything) -> Integer, for EVERY, gpl_only: true;
    113 probe_read_kernel(UninitMem, SizeOrZero, Anything) -> Integer, for EVERY, gpl_only: true;
    114 probe_read_user_str(UninitMem, SizeOrZero, Anything) -> Integer, for EVERY, gpl_only: true,
        returns_size: true;
    115 probe_read_kernel_str(UninitMem, SizeOrZero, Anything) -> Integer, for EVERY, gpl_only: true,
        returns_size: true;
    116 tcp_send_ack(Btf("tcp_sock"), Anything) -> Integer, for only(&[StructOps]),
        gpl_only: true, excluded: Some(SOCKETS);
    117 send_signal_thread(Anything) -> Integer, for EVERY;
    118 jiffies64() -> Integer, for EVERY;
    119 read_branch_records(Context, UninitMemOrNull, SizeOrZero, Anything) -> Integer, for only(&[PerfEvent]),
        gpl_only: true, excluded: Some(COUNTERS);
    120 get_ns_current_pid_tgid(Anything, Anything, UninitMem, Size) -> Integer, for EVERY;
    121 xdp_output(Btf("xdp_buff"), ConstMap, Anything, Mem, SizeOrZero) -> Integer, for TRACE.with(&[Syscall]),
        gpl_only: true, maps: PERF_EVENTS, excluded: Some(DEVICES);
    122 get_netns_cookie(ContextOrNull) -> Integer, for NETNS_COOKIES, excluded: Some(SOCKETS);
    123 get_current_ancestor_cgroup_id(Anything) -> Integer, for EVERY;
    124 sk_assign(Context, AnySocket, Anything) -> Integer, for TC.with(&[SkLookup]), excluded: Some(SOCKETS);
    125 ktime_get_boot_ns() -> Integer, for EVERY;
    126 seq_printf(Btf("seq_file"), Mem, Size, MemOrNull, SizeOrZero) -> Integer, for only(&[Iter]), gpl_only: true;
    127 seq_write(Btf("seq_file"), Mem, SizeOrZero) -> Integer, for only(&[Iter]), gpl_only: true;
    128 sk_cgroup_id(AnySocket) -> Integer, for CGROUP_SKB, excluded: Some(CGROUPS);
    129 sk_ancestor_cgroup_id(AnySocket, Anything) -> Integer, for CGROUP_SKB, excluded: Some(CGROUPS);
    130 ringbuf_output(ConstMap, Mem, SizeOrZero, Anything) -> Integer, for EVERY, maps: RINGBUF;
    131 ringbuf_reserve(ConstMap, AllocSize, Anything) -> MemOrNull, for EVERY, maps: RINGBUF, acquires: true;
    132 ringbuf_submit(RingbufRecord, Anything) -> Void, for EVERY, releases: true;
    133 ringbuf_discard(RingbufRecord, Anything) -> Void, for EVERY, releases: true;
    134 ringbuf_query(ConstMap, Anything) -> Integer, for EVERY, maps: RINGBUF;
    135 csum_level(Context, Anything) -> Integer, for TC.with(&[LwtXmit]);
    136 skc_to_tcp6_sock(AnySocket) -> BtfOrNull("tcp6_sock"), for SOCKET_CASTS, excluded: Some(SOCKETS);
    137 skc_to_tcp_sock(AnySocket) -> BtfOrNull("tcp_sock"), for SOCKET_CASTS, excluded: Some(SOCKETS);
    138 skc_to_tcp_timewait_sock(AnySocket) -> BtfOrNull("tcp_timewait_sock"), for SOCKET_CASTS, excluded: Some(SOCKETS);
    139 skc_to_tcp_request_sock(AnySocket) -> BtfOrNull("tcp_request_sock"), for SOCKET_CASTS, excluded: Some(SOCKETS);
    140 skc_to_udp6_sock(AnySocket) -> BtfOrNull("udp6_sock"), for SOCKET_CASTS, excluded: Some(SOCKETS);
    141 get_task_stack(Btf("task_struct"), UninitMem, SizeOrZero, Anything) -> Integer, for EVERY,
        excluded: Some(TASKS);
    142 load_hdr_opt(Context, MutMem, Size, Anything) -> Integer, for only(&[SockOps]), excluded: Some(SOCKETS);
    143 store_hdr_opt(Context, Mem, Size, Anything) -> Integer, for only(&[SockOps]), excluded: Some(SOCKETS);
    144 reserve_hdr_opt(Context, Anything, Anything) -> Integer, for only(&[SockOps]), excluded: Some(SOCKETS);
    145 inode_storage_get(ConstMap, BtfOrNull("inode"), MapValueOrNull, Anything) -> MapValueOrNull, for LSMS,
        maps: &[K::InodeStorage], excluded: Some(INODES);
    146 inode_storage_delete(ConstMap, BtfOrNull("inode")) -> Integer, for LSMS,
        maps: &[K::InodeStorage], excluded: Some(INODES);
    147 d_path(Btf("path"), UninitMem, SizeOrZero) -> Integer, for TRAMPOLINE.and(LSMS).with(&[Iter]),
        excluded: Some(INODES);
    148 copy_from_user(UninitMem, SizeOrZero, Anything) -> Integer, for EVERY, might_sleep: true;
    149 snprintf_btf(UninitMem, Size, Mem, Size, Anything) -> Integer, for EVERY;
    150 seq_printf_btf(Btf("seq_file"), Mem, SizeOrZero, Anything) -> Integer, for only(&[Iter]), gpl_only: true;
    151 skb_cgroup_classid(Context) -> Integer, for TC, excluded: Some(CGROUPS);
    152 redirect_neigh(Anything, MemOrNull, SizeOrZero, Anything) -> Integer, for TC;
    153 per_cpu_ptr(PercpuObject, Anything) -> PercpuObject, for EVERY, excluded: Some(VARIABLES);
    154 this_cpu_ptr(PercpuObject) -> PercpuObject, for EVERY, excluded: Some(VARIABLES);
    155 redirect_peer(Anything, Anything) -> Integer, for TC;
    156 task_storage_get(ConstMap, BtfOrNull("task_struct"), MapValueOrNull, Anything) -> MapValueOrNull, for EVERY,
        maps: &[K::TaskStorage];
    157 task_storage_delete(ConstMap, BtfOrNull("task_struct")) -> Integer, for EVERY, maps: &[K::TaskStorage];
    158 get_current_task_btf() -> TrustedBtf("task_struct"), for EVERY, gpl_only: true;
    159 bprm_opts_set(Btf("linux_binprm"), Anything) -> Integer, for LSMS, excluded: Some(INODES);
    160 ktime_get_coarse_ns() -> Integer, for COARSE_CLOCK;
    161 ima_inode_hash(Btf("inode"), UninitMem, Size) -> Integer, for LSMS, might_sleep: true, excluded: Some(INODES);
    162 sock_from_file(Btf("file")) -> BtfOrNull("socket"), for TRACE.with(&[Syscall]), excluded: Some(SOCKETS);
    163 check_mtu(Context, Anything, FixedMutMem(4), Anything, Anything) -> Integer, for TC.and(XDP),
        gpl_only: true, excluded: Some(DEVICES);
    164 for_each_map_elem(ConstMap, Callback, StackOrNull, Anything) -> Integer, for EVERY, maps: FOR_EACH,
        calls_back: Some(CallsBack::Elements);
    165 snprintf(UninitMemOrNull, SizeOrZero, ConstString, MemOrNull, SizeOrZero) -> Integer, for EVERY, gpl_only: true;
    166 sys_bpf(Anything, Mem, Size) -> Integer, for only(&[Syscall]);
    167 btf_find_by_name_kind(Mem, Size, Anything, Anything) -> Integer, for only(&[Syscall]);
    168 sys_close(Anything) -> Integer, for only(&[Syscall]);
    169 timer_init(Timer, ConstMap, Anything) -> Integer, for EVERY, gpl_only: true;
    170 timer_set_callback(Timer, Callback) -> Integer, for EVERY, gpl_only: true,
        calls_back: Some(CallsBack::Later);
    171 timer_start(Timer, Anything, Anything) -> Integer, for EVERY, gpl_only: true;
    172 timer_cancel(Timer) -> Integer, for EVERY, gpl_only: true;
    173 get_func_ip(Context) -> Integer, for TRAMPOLINE.and(KPROBE).with(&[Lsm]), gpl_only: true;
    174 get_attach_cookie(Context) -> Integer, for ATTACH_COOKIES;
    175 task_pt_regs(Btf("task_struct")) -> Btf("pt_regs"), for EVERY, gpl_only: true, excluded: Some(TASKS);
    176 get_branch_snapshot(UninitMem, SizeOrZero) -> Integer, for EVERY, gpl_only: true, excluded: Some(COUNTERS);
    177 trace_vprintk(Mem, Size, MemOrNull, SizeOrZero) -> Integer, for EVERY, gpl_only: true;
    178 skc_to_unix_sock(AnySocket) -> BtfOrNull("unix_sock"), for SOCKET_CASTS, excluded: Some(SOCKETS);
    179 kallsyms_lookup_name(Mem, SizeOrZero, Anything, FixedUninitMem(8)) -> Integer, for only(&[Syscall]),
        excluded: Some(VARIABLES);
    180 find_vma(Btf("task_struct"), Anything, Callback, StackOrNull, Anything) -> Integer, for EVERY,
        excluded: Some(TASKS);
    181 loop(Anything, Callback, StackOrNull, Anything) -> Integer, for EVERY, calls_back: Some(CallsBack::Turns);
    182 strncmp(Mem, Size, ConstString) -> Integer, for EVERY;
    183 get_func_arg(Context, Anything, FixedUninitMem(8)) -> Integer, for TRAMPOLINE.with(&[Lsm]);
    184 get_func_ret(Context, FixedUninitMem(8)) -> Integer, for TRAMPOLINE.with(&[Lsm]);
    185 get_func_arg_cnt(Context) -> Integer, for TRAMPOLINE.with(&[Lsm]);
    186 get_retval() -> Integer, for RETURN_VALUES;
    187 set_retval(Anything) -> Integer, for RETURN_VALUES;
    188 xdp_get_buff_len(Context) -> Integer, for TRACE.and(XDP).with(&[Syscall]);
    189 xdp_load_bytes(Context, Anything, UninitMem, Size) -> Integer, for XDP;
    190 xdp_store_bytes(Context, Anything, Mem, Size) -> Integer, for XDP;
    191 copy_from_user_task(UninitMem, SizeOrZero, Anything, Btf("task_struct"), Anything) -> Integer, for EVERY,
        gpl_only: true, might_sleep: true, excluded: Some(TASKS);
    192 skb_set_tstamp(Context, Anything, Anything) -> Integer, for TC;
    193 ima_file_hash(Btf("file"), UninitMem, Size) -> Integer, for LSMS, might_sleep: true, excluded: Some(INODES);
    194 kptr_xchg(Kptr, OwnedObjectOrNull) -> KptrOrNull, for EVERY, acquires: true;
    195 map_lookup_percpu_elem(ConstMap, MapKey, Anything) -> MapValueOrNull, for EVERY,
        maps: &[K::PercpuHash, K::PercpuArray, K::LruPercpuHash], packet: true;
    196 skc_to_mptcp_sock(AnySocket) -> BtfOrNull("mptcp_sock"), for SOCKET_CASTS, excluded: Some(SOCKETS);
    197 dynptr_from_mem(UninitMem, SizeOrZero, Anything, UninitDynptr) -> Integer, for EVERY;
    198 ringbuf_reserve_dynptr(ConstMap, Anything, Anything, UninitDynptr) -> Integer, for EVERY,
        maps: RINGBUF, acquires: true;
    199 ringbuf_submit_dynptr(Dynptr, Anything) -> Void, for EVERY, releases: true;
    200 ringbuf_discard_dynptr(Dynptr, Anything) -> Void, for EVERY, releases: true;
    201 dynptr_read(UninitMem, SizeOrZero, Dynptr, Anything, Anything) -> Integer, for EVERY;
    202 dynptr_write(Dynptr, Anything, Mem, SizeOrZero, Anything) -> Integer, for EVERY;
    203 dynptr_data(Dynptr, Anything, AllocSize) -> MemOrNull, for EVERY;
    204 tcp_raw_gen_syncookie_ipv4(FixedMem(20), Mem, SizeOrZero) -> Integer, for TC.and(XDP),
        gpl_only: true, excluded: Some(SOCKETS), packet: true;
    205 tcp_raw_gen_syncookie_ipv6(FixedMem(40), Mem, SizeOrZero) -> Integer, for TC.and(XDP),
        gpl_only: true, excluded: Some(SOCKETS), packet: true;
    206 tcp_raw_check_syncookie_ipv4(FixedMem(20), FixedMem(20)) -> Integer, for TC.and(XDP),
        gpl_only: true, excluded: Some(SOCKETS), packet: true;
    207 tcp_raw_check_syncookie_ipv6(FixedMem(40), FixedMem(20)) -> Integer, for TC.and(XDP),
        gpl_only: true, excluded: Some(SOCKETS), packet: true;
    208 ktime_get_tai_ns() -> Integer, for EVERY;
    209 user_ringbuf_drain(ConstMap, Callback, StackOrNull, Anything) -> Integer, for EVERY, maps: &[K::UserRingbuf],
        calls_back: Some(CallsBack::Records);
    210 cgrp_storage_get(ConstMap, BtfOrNull("cgroup"), MapValueOrNull, Anything) -> MapValueOrNull, for EVERY,
        maps: &[K::CgrpStorage], excluded: Some(CGROUPS);
    211 cgrp_storage_delete(ConstMap, BtfOrNull("cgroup")) -> Integer, for EVERY,
        maps: &[K::CgrpStorage], excluded: Some(CGROUPS);
}

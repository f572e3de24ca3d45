//! Sets of programs that share helpers.
//!
//! Tracing programs are found at the end: Linux gives fentry, fexit, fmod_ret and LSM programs what tracepoints with typed
//! arguments have, and some more.

use crate::facts::ProgramKind::{
    Action, CgroupBind4, CgroupBind6, CgroupConnect4, CgroupConnect6, CgroupConnectUnix, CgroupDevice,
    CgroupGetsockopt, CgroupName4, CgroupName6, CgroupNameUnix, CgroupPostBind4, CgroupPostBind6, CgroupSendmsg4,
    CgroupSendmsg6, CgroupSendmsgUnix, CgroupSetsockopt, CgroupSkbEgress, CgroupSkbIngress, CgroupSock, CgroupSysctl,
    Ext, Fentry, Fexit, FlowDissector, FmodRet, Hook, Iter, Kprobe, KprobeSession, LircMode2, Lsm, LsmCgroup, LwtIn,
    LwtOut, LwtSeg6Local, LwtXmit, MapTrace, Netfilter, PerfEvent, RawTracepoint, RawTracepointWritable, SkLookup,
    SkMsg, SkReuseport, SkSkb, SockOps, SocketFilter, StructOps, Syscall, Tc, TpBtf, Tracepoint, Xdp, XdpDevmap,
};
use crate::facts::ProgramSet;

/// All. Replacements of subprograms (`Ext`) have the helpers of the program that they become part of.
pub(super) const EVERY: ProgramSet = ProgramSet::ALL.without(&[Ext]);
pub(super) const TC: ProgramSet = only(&[Tc, Action]);
pub(super) const XDP: ProgramSet = only(&[Xdp, XdpDevmap]);
pub(super) const CGROUP_SKB: ProgramSet = only(&[CgroupSkbIngress, CgroupSkbEgress]);
pub(super) const CGROUP_SOCK: ProgramSet = only(&[CgroupSock, CgroupPostBind4, CgroupPostBind6]);
pub(super) const LWT: ProgramSet = only(&[LwtIn, LwtOut, LwtXmit]);
pub(super) const SOCK_ADDR: ProgramSet = only(&[
    CgroupBind4,
    CgroupBind6,
    CgroupConnect4,
    CgroupConnect6,
    CgroupConnectUnix,
    CgroupSendmsg4,
    CgroupSendmsg6,
    CgroupSendmsgUnix,
    CgroupName4,
    CgroupName6,
    CgroupNameUnix,
]);
pub(super) const CONNECT: ProgramSet = only(&[CgroupConnect4, CgroupConnect6]);
pub(super) const SOCKOPT: ProgramSet = only(&[CgroupGetsockopt, CgroupSetsockopt]);
pub(super) const KPROBE: ProgramSet = only(&[Kprobe, KprobeSession]);
pub(super) const EVENT: ProgramSet = only(&[Tracepoint, RawTracepoint, RawTracepointWritable]);
pub(super) const TRAMPOLINE: ProgramSet = only(&[Fentry, Fexit, FmodRet]);
pub(super) const LSMS: ProgramSet = only(&[Lsm, LsmCgroup]);
pub(super) const TRACE: ProgramSet = only(&[Fentry, Fexit, FmodRet, TpBtf, Iter, MapTrace, Hook, Lsm, LsmCgroup]);
pub(super) const TRACING: ProgramSet = KPROBE.and(EVENT).and(TRACE).with(&[PerfEvent]);

pub(super) const PERF_OUTPUT: ProgramSet =
    EVERY.without(&[LircMode2, SkReuseport, FlowDissector, StructOps, Netfilter]);
pub(super) const LOAD_BYTES: ProgramSet =
    LWT.and(TC)
        .and(CGROUP_SKB)
        .with(&[SocketFilter, LwtSeg6Local, SkSkb, SkReuseport, FlowDissector]);
pub(super) const SOCKET_COOKIES: ProgramSet = SOCK_ADDR.and(TRACE).and(CGROUP_SOCK).and(TC).and(CGROUP_SKB).with(&[
    SocketFilter,
    SockOps,
    SkSkb,
    SkReuseport,
    Syscall,
]);
pub(super) const SOCKET_OPTIONS: ProgramSet = SOCK_ADDR.with(&[SockOps, CgroupSetsockopt, StructOps, LsmCgroup]);
pub(super) const LOCAL_STORAGE: ProgramSet =
    SOCK_ADDR
        .and(CGROUP_SOCK)
        .and(CGROUP_SKB)
        .and(SOCKOPT)
        .with(&[SockOps, CgroupDevice, CgroupSysctl, LsmCgroup]);
pub(super) const SOCKET_LOOKUPS: ProgramSet = SOCK_ADDR.and(TC).and(XDP).and(CGROUP_SKB).with(&[SkSkb]);
pub(super) const SOCKET_RELEASE: ProgramSet = SOCK_ADDR.and(TC).and(XDP).and(CGROUP_SKB).with(&[SkSkb, SkLookup]);
pub(super) const SOCKET_STORAGE_GET: ProgramSet = SOCK_ADDR
    .and(TRACE)
    .and(CGROUP_SOCK)
    .and(TC)
    .and(CGROUP_SKB)
    .and(SOCKOPT)
    .with(&[SockOps, SkMsg, StructOps]);
pub(super) const SOCKET_STORAGE_DELETE: ProgramSet = SOCK_ADDR
    .and(TRACE)
    .and(TC)
    .and(CGROUP_SKB)
    .and(SOCKOPT)
    .with(&[SockOps, SkMsg, StructOps]);
pub(super) const NETNS_COOKIES: ProgramSet =
    SOCK_ADDR
        .and(CGROUP_SOCK)
        .and(TC)
        .and(CGROUP_SKB)
        .and(SOCKOPT)
        .with(&[SocketFilter, SockOps, SkMsg, LsmCgroup]);
pub(super) const SOCKET_CASTS: ProgramSet = SOCK_ADDR.and(TRACE).and(LWT).and(TC).and(XDP).and(CGROUP_SKB).with(&[
    SocketFilter,
    LwtSeg6Local,
    SockOps,
    SkSkb,
    SkMsg,
    FlowDissector,
    SkLookup,
    Syscall,
]);
pub(super) const COARSE_CLOCK: ProgramSet = SOCK_ADDR
    .and(CGROUP_SOCK)
    .and(LWT)
    .and(TC)
    .and(XDP)
    .and(CGROUP_SKB)
    .with(&[
        SocketFilter,
        LwtSeg6Local,
        SockOps,
        SkSkb,
        SkMsg,
        SkReuseport,
        FlowDissector,
        CgroupSysctl,
        MapTrace,
        Hook,
        StructOps,
        SkLookup,
    ]);
pub(super) const ATTACH_COOKIES: ProgramSet = EVENT
    .and(TRAMPOLINE)
    .and(KPROBE)
    .and(LSMS)
    .with(&[PerfEvent, TpBtf, MapTrace, Hook]);
pub(super) const RETURN_VALUES: ProgramSet = CGROUP_SOCK.and(SOCKOPT).and(CONNECT).with(&[
    CgroupDevice,
    CgroupBind4,
    CgroupBind6,
    CgroupConnectUnix,
    CgroupSendmsg4,
    CgroupSendmsg6,
    CgroupSendmsgUnix,
    CgroupSysctl,
    LsmCgroup,
]);

pub(super) const fn only(kinds: &[crate::facts::ProgramKind]) -> ProgramSet {
    ProgramSet::of(kinds)
}

//! libbpf's section names (as of libbpf 1.6), as one table.

use crate::program_type::AttachType as A;
use crate::program_type::ProgramType as P;

/// A section name, or a family of them.
pub(crate) struct SectionDef {
    pub(crate) name: &'static str,
    /// Whether `name/<target>` is meant as well, and `name` alone is one of a family ("kprobe").
    pub(crate) extends: bool,
    pub(crate) program_type: P,
    /// What is to be given as `expected_attach_type`, if anything.
    pub(crate) attach_type: Option<A>,
    /// `BPF_F_SLEEPABLE`.
    pub(crate) sleepable: bool,
    /// `BPF_F_XDP_HAS_FRAGS`.
    pub(crate) frags: bool,
    /// Whether what it is attached to is found by BTF id.
    pub(crate) attach_btf: bool,
    /// Whether libbpf before 1.0 took every section whose name starts so ("xdp_prog", "classifier/from").
    pub(crate) loose: bool,
}

const fn exact(name: &'static str, program_type: P, attach_type: Option<A>) -> SectionDef {
    SectionDef {
        name,
        extends: false,
        program_type,
        attach_type,
        sleepable: false,
        frags: false,
        attach_btf: false,
        loose: false,
    }
}

const fn plus(name: &'static str, program_type: P, attach_type: Option<A>) -> SectionDef {
    SectionDef {
        extends: true,
        ..exact(name, program_type, attach_type)
    }
}

const fn loose(def: SectionDef) -> SectionDef {
    SectionDef { loose: true, ..def }
}

const fn frags(def: SectionDef) -> SectionDef {
    SectionDef { frags: true, ..def }
}

const fn btf(def: SectionDef) -> SectionDef {
    SectionDef {
        attach_btf: true,
        ..def
    }
}

const fn sleepable(def: SectionDef) -> SectionDef {
    SectionDef { sleepable: true, ..def }
}

/// Where a name is the beginning of another, the longer one comes first: loose names are tried in this order.
#[rustfmt::skip]
pub(crate) const SECTIONS: &[SectionDef] = &[
    loose(exact("socket", P::SocketFilter, None)),
    loose(exact("sk_reuseport/migrate", P::SkReuseport, Some(A::SkReuseportSelectOrMigrate))),
    loose(exact("sk_reuseport", P::SkReuseport, Some(A::SkReuseportSelect))),
    plus("kprobe", P::Kprobe, None),
    plus("uprobe", P::Kprobe, None),
    sleepable(plus("uprobe.s", P::Kprobe, None)),
    plus("kretprobe", P::Kprobe, None),
    plus("uretprobe", P::Kprobe, None),
    sleepable(plus("uretprobe.s", P::Kprobe, None)),
    plus("kprobe.multi", P::Kprobe, Some(A::TraceKprobeMulti)),
    plus("kretprobe.multi", P::Kprobe, Some(A::TraceKprobeMulti)),
    plus("kprobe.session", P::Kprobe, Some(A::TraceKprobeSession)),
    plus("uprobe.multi", P::Kprobe, Some(A::TraceUprobeMulti)),
    plus("uretprobe.multi", P::Kprobe, Some(A::TraceUprobeMulti)),
    plus("uprobe.session", P::Kprobe, Some(A::TraceUprobeSession)),
    sleepable(plus("uprobe.multi.s", P::Kprobe, Some(A::TraceUprobeMulti))),
    sleepable(plus("uretprobe.multi.s", P::Kprobe, Some(A::TraceUprobeMulti))),
    sleepable(plus("uprobe.session.s", P::Kprobe, Some(A::TraceUprobeSession))),
    plus("ksyscall", P::Kprobe, None),
    plus("kretsyscall", P::Kprobe, None),
    plus("usdt", P::Kprobe, None),
    sleepable(plus("usdt.s", P::Kprobe, None)),
    exact("tc/ingress", P::SchedCls, Some(A::TcxIngress)),
    exact("tc/egress", P::SchedCls, Some(A::TcxEgress)),
    exact("tcx/ingress", P::SchedCls, Some(A::TcxIngress)),
    exact("tcx/egress", P::SchedCls, Some(A::TcxEgress)),
    loose(exact("tc", P::SchedCls, None)),
    loose(exact("classifier", P::SchedCls, None)),
    loose(exact("action", P::SchedAct, None)),
    exact("netkit/primary", P::SchedCls, Some(A::NetkitPrimary)),
    exact("netkit/peer", P::SchedCls, Some(A::NetkitPeer)),
    plus("tracepoint", P::Tracepoint, None),
    plus("tp", P::Tracepoint, None),
    plus("raw_tracepoint", P::RawTracepoint, None),
    plus("raw_tp", P::RawTracepoint, None),
    plus("raw_tracepoint.w", P::RawTracepointWritable, None),
    plus("raw_tp.w", P::RawTracepointWritable, None),
    btf(plus("tp_btf", P::Tracing, Some(A::TraceRawTp))),
    btf(plus("fentry", P::Tracing, Some(A::TraceFentry))),
    btf(plus("fmod_ret", P::Tracing, Some(A::ModifyReturn))),
    btf(plus("fexit", P::Tracing, Some(A::TraceFexit))),
    sleepable(btf(plus("fentry.s", P::Tracing, Some(A::TraceFentry)))),
    sleepable(btf(plus("fmod_ret.s", P::Tracing, Some(A::ModifyReturn)))),
    sleepable(btf(plus("fexit.s", P::Tracing, Some(A::TraceFexit)))),
    btf(plus("freplace", P::Ext, None)),
    btf(plus("lsm", P::Lsm, Some(A::LsmMac))),
    sleepable(btf(plus("lsm.s", P::Lsm, Some(A::LsmMac)))),
    btf(plus("lsm_cgroup", P::Lsm, Some(A::LsmCgroup))),
    btf(plus("iter", P::Tracing, Some(A::TraceIter))),
    sleepable(btf(plus("iter.s", P::Tracing, Some(A::TraceIter)))),
    sleepable(exact("syscall", P::Syscall, None)),
    frags(exact("xdp.frags/devmap", P::Xdp, Some(A::XdpDevmap))),
    loose(exact("xdp/devmap", P::Xdp, Some(A::XdpDevmap))),
    frags(exact("xdp.frags/cpumap", P::Xdp, Some(A::XdpCpumap))),
    loose(exact("xdp/cpumap", P::Xdp, Some(A::XdpCpumap))),
    loose(frags(exact("xdp.frags", P::Xdp, Some(A::Xdp)))),
    loose(exact("xdp", P::Xdp, Some(A::Xdp))),
    loose(exact("perf_event", P::PerfEvent, None)),
    loose(exact("lwt_in", P::LwtIn, None)),
    loose(exact("lwt_out", P::LwtOut, None)),
    loose(exact("lwt_xmit", P::LwtXmit, None)),
    loose(exact("lwt_seg6local", P::LwtSeg6local, None)),
    loose(exact("sockops", P::SockOps, Some(A::CgroupSockOps))),
    loose(exact("sk_skb/stream_parser", P::SkSkb, Some(A::SkSkbStreamParser))),
    loose(exact("sk_skb/stream_verdict", P::SkSkb, Some(A::SkSkbStreamVerdict))),
    exact("sk_skb/verdict", P::SkSkb, Some(A::SkSkbVerdict)),
    loose(exact("sk_skb", P::SkSkb, None)),
    loose(exact("sk_msg", P::SkMsg, Some(A::SkMsgVerdict))),
    loose(exact("lirc_mode2", P::LircMode2, Some(A::LircMode2))),
    loose(exact("flow_dissector", P::FlowDissector, Some(A::FlowDissector))),
    loose(exact("cgroup_skb/ingress", P::CgroupSkb, Some(A::CgroupInetIngress))),
    loose(exact("cgroup_skb/egress", P::CgroupSkb, Some(A::CgroupInetEgress))),
    loose(exact("cgroup/skb", P::CgroupSkb, None)),
    loose(exact("cgroup/sock_create", P::CgroupSock, Some(A::CgroupInetSockCreate))),
    loose(exact("cgroup/sock_release", P::CgroupSock, Some(A::CgroupInetSockRelease))),
    exact("cgroup/sock", P::CgroupSock, Some(A::CgroupInetSockCreate)),
    loose(exact("cgroup/post_bind4", P::CgroupSock, Some(A::CgroupInet4PostBind))),
    loose(exact("cgroup/post_bind6", P::CgroupSock, Some(A::CgroupInet6PostBind))),
    loose(exact("cgroup/bind4", P::CgroupSockAddr, Some(A::CgroupInet4Bind))),
    loose(exact("cgroup/bind6", P::CgroupSockAddr, Some(A::CgroupInet6Bind))),
    loose(exact("cgroup/connect4", P::CgroupSockAddr, Some(A::CgroupInet4Connect))),
    loose(exact("cgroup/connect6", P::CgroupSockAddr, Some(A::CgroupInet6Connect))),
    exact("cgroup/connect_unix", P::CgroupSockAddr, Some(A::CgroupUnixConnect)),
    loose(exact("cgroup/sendmsg4", P::CgroupSockAddr, Some(A::CgroupUdp4Sendmsg))),
    loose(exact("cgroup/sendmsg6", P::CgroupSockAddr, Some(A::CgroupUdp6Sendmsg))),
    exact("cgroup/sendmsg_unix", P::CgroupSockAddr, Some(A::CgroupUnixSendmsg)),
    loose(exact("cgroup/recvmsg4", P::CgroupSockAddr, Some(A::CgroupUdp4Recvmsg))),
    loose(exact("cgroup/recvmsg6", P::CgroupSockAddr, Some(A::CgroupUdp6Recvmsg))),
    exact("cgroup/recvmsg_unix", P::CgroupSockAddr, Some(A::CgroupUnixRecvmsg)),
    loose(exact("cgroup/getpeername4", P::CgroupSockAddr, Some(A::CgroupInet4Getpeername))),
    loose(exact("cgroup/getpeername6", P::CgroupSockAddr, Some(A::CgroupInet6Getpeername))),
    exact("cgroup/getpeername_unix", P::CgroupSockAddr, Some(A::CgroupUnixGetpeername)),
    loose(exact("cgroup/getsockname4", P::CgroupSockAddr, Some(A::CgroupInet4Getsockname))),
    loose(exact("cgroup/getsockname6", P::CgroupSockAddr, Some(A::CgroupInet6Getsockname))),
    exact("cgroup/getsockname_unix", P::CgroupSockAddr, Some(A::CgroupUnixGetsockname)),
    loose(exact("cgroup/sysctl", P::CgroupSysctl, Some(A::CgroupSysctl))),
    loose(exact("cgroup/getsockopt", P::CgroupSockopt, Some(A::CgroupGetsockopt))),
    loose(exact("cgroup/setsockopt", P::CgroupSockopt, Some(A::CgroupSetsockopt))),
    loose(exact("cgroup/dev", P::CgroupDevice, Some(A::CgroupDevice))),
    plus("struct_ops", P::StructOps, None),
    sleepable(plus("struct_ops.s", P::StructOps, None)),
    loose(exact("sk_lookup", P::SkLookup, Some(A::SkLookup))),
    exact("netfilter", P::Netfilter, Some(A::Netfilter)),
];

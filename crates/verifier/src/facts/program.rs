//! Sorts of programs, and sets of them.

/// What programs are told apart by: program type and, where it matters for context, result or helpers, the attach type.
/// What each is like says [`tables::program_types`](crate::tables::program_types).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ProgramKind {
    /// Socket filters.
    SocketFilter,
    /// Probes of functions, in this process or the kernel: kprobe, kretprobe, uprobe, and their multi forms.
    Kprobe,
    /// The same with a session: entry and return by one program.
    KprobeSession,
    /// Traffic control classifiers, TCX and netkit.
    Tc,
    /// Traffic control actions.
    Action,
    /// Tracepoints.
    Tracepoint,
    /// XDP.
    Xdp,
    /// XDP programs in a device map.
    XdpDevmap,
    /// Perf events.
    PerfEvent,
    /// Packets that come to a control group.
    CgroupSkbIngress,
    /// Packets that leave one.
    CgroupSkbEgress,
    /// Sockets made or closed in a control group.
    CgroupSock,
    /// Sockets just bound, IPv4.
    CgroupPostBind4,
    /// Sockets just bound, IPv6.
    CgroupPostBind6,
    /// Lightweight tunnels, input.
    LwtIn,
    /// Lightweight tunnels, output.
    LwtOut,
    /// Lightweight tunnels, transmission.
    LwtXmit,
    /// Segment routing.
    LwtSeg6Local,
    /// Events of TCP sockets.
    SockOps,
    /// Stream parsers and verdicts of socket maps.
    SkSkb,
    /// Access to devices by a control group.
    CgroupDevice,
    /// Messages of socket maps.
    SkMsg,
    /// Raw tracepoints.
    RawTracepoint,
    /// Raw tracepoints with a writable buffer.
    RawTracepointWritable,
    /// `bind(2)`, IPv4.
    CgroupBind4,
    /// `bind(2)`, IPv6.
    CgroupBind6,
    /// `connect(2)`, IPv4.
    CgroupConnect4,
    /// `connect(2)`, IPv6.
    CgroupConnect6,
    /// `connect(2)`, Unix sockets.
    CgroupConnectUnix,
    /// `sendmsg(2)`, IPv4.
    CgroupSendmsg4,
    /// `sendmsg(2)`, IPv6.
    CgroupSendmsg6,
    /// `sendmsg(2)`, Unix sockets.
    CgroupSendmsgUnix,
    /// `recvmsg(2)`, `getpeername(2)`, `getsockname(2)`, IPv4.
    CgroupName4,
    /// The same, IPv6.
    CgroupName6,
    /// The same, Unix sockets.
    CgroupNameUnix,
    /// Infrared receivers.
    LircMode2,
    /// Choice among sockets that share a port.
    SkReuseport,
    /// Flow dissectors.
    FlowDissector,
    /// Access to sysctls by a control group.
    CgroupSysctl,
    /// `getsockopt(2)`.
    CgroupGetsockopt,
    /// `setsockopt(2)`.
    CgroupSetsockopt,
    /// Entry of a function, with its arguments.
    Fentry,
    /// Return of a function, with arguments and result.
    Fexit,
    /// Functions whose result may be changed.
    FmodRet,
    /// Tracepoints with typed arguments.
    TpBtf,
    /// Iterators.
    Iter,
    /// Map tracing (`BPF_TRACE_MAP`).
    MapTrace,
    /// Hooks whose context the host defines.
    Hook,
    /// Functions of a struct.
    StructOps,
    /// Security hooks.
    Lsm,
    /// Security hooks of a control group.
    LsmCgroup,
    /// Choice of the socket for a packet.
    SkLookup,
    /// Programs run by a system call.
    Syscall,
    /// Netfilter hooks.
    Netfilter,
    /// Replacements of a subprogram of another program (freplace).
    // Stays the last: [`ProgramSet::ALL`] goes up to it.
    Ext,
}

/// A set of sorts of programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProgramSet(u64);

impl ProgramSet {
    /// All sorts.
    pub const ALL: ProgramSet = ProgramSet((1 << (ProgramKind::Ext as u8 + 1)) - 1);

    /// These.
    #[must_use]
    pub const fn of(kinds: &[ProgramKind]) -> ProgramSet {
        let (mut bits, mut i) = (0, 0);
        while i < kinds.len() {
            bits |= 1 << kinds[i] as u8;
            i += 1;
        }
        ProgramSet(bits)
    }

    /// Those in either set.
    #[must_use]
    pub const fn and(self, other: ProgramSet) -> ProgramSet {
        ProgramSet(self.0 | other.0)
    }

    /// These as well.
    #[must_use]
    pub const fn with(self, kinds: &[ProgramKind]) -> ProgramSet {
        self.and(ProgramSet::of(kinds))
    }

    /// All but these.
    #[must_use]
    pub const fn without(self, kinds: &[ProgramKind]) -> ProgramSet {
        ProgramSet(self.0 & !ProgramSet::of(kinds).0)
    }

    /// Whether `kind` is one of them.
    #[must_use]
    pub const fn contains(self, kind: ProgramKind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::ProgramKind::{Ext, Iter, SocketFilter, Tc};
    use super::*;

    #[test]
    fn sets() {
        let set = ProgramSet::of(&[SocketFilter, Ext]).with(&[Tc]).without(&[Ext]);
        assert!(set.contains(SocketFilter) && set.contains(Tc) && !set.contains(Ext) && !set.contains(Iter));
        assert!(set.and(ProgramSet::of(&[Iter])).contains(Iter));
    }
}

//! Packets with what the network stack knows of them: `struct __sk_buff`.
//!
//! One frame serves socket filters, traffic control and control groups, each of which shows programs other fields of it. It lies
//! in the [`SkBuff`], so that nothing is copied for a run.

use std::ops::ControlFlow;

use hitless_verifier::ProgramKind;

use super::Context;
use super::buffer::{PacketBounds, PacketBuf};
use super::clones::{CloneRedirect, CloneRoom, Clones};
use super::redirect::Redirect;

/// A packet as the network stack has it.
#[derive(Debug)]
#[doc(alias = "__sk_buff")]
pub struct SkBuff<'a> {
    /// The packet in its room: from the link-layer header on where programs of traffic control and socket filters run, from
    /// the network header on in control groups.
    pub buf: PacketBuf<'a>,
    clones: Clones,
    frame: SkbFrame,
}

/// What is known of a packet beside its bytes. Programs see of it what their kind is given, under the same names.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(C, align(8))]
pub struct SkbFields {
    /// Bytes in the packet. Set by each run.
    pub len: u32,
    /// `PACKET_HOST` (0), `PACKET_BROADCAST` and so on.
    pub pkt_type: u32,
    /// The mark of netfilter and routing.
    pub mark: u32,
    /// The queue of the device.
    pub queue_mapping: u32,
    /// The protocol (`ETH_P_*`), in network byte order.
    pub protocol: u32,
    /// Whether there is a VLAN tag beside the packet: 0 or 1.
    pub vlan_present: u32,
    /// That tag.
    pub vlan_tci: u32,
    /// Its protocol, in network byte order.
    pub vlan_proto: u32,
    /// The priority of queueing.
    pub priority: u32,
    /// The interface that it came in on.
    pub ingress_ifindex: u32,
    /// The interface that it is at.
    pub ifindex: u32,
    /// The index of traffic control.
    pub tc_index: u32,
    /// Scratch space of programs. Zero where a packet enters.
    pub cb: [u32; 5],
    /// Hash of the flow.
    pub hash: u32,
    /// The class of traffic control.
    pub tc_classid: u32,
    /// The NAPI instance that received it.
    pub napi_id: u32,
    /// The socket's address family.
    pub family: u32,
    /// The remote IPv4 address, in network byte order.
    pub remote_ip4: u32,
    /// The local IPv4 address, in network byte order.
    pub local_ip4: u32,
    /// The remote IPv6 address, in network byte order.
    pub remote_ip6: [u32; 4],
    /// The local IPv6 address, in network byte order.
    pub local_ip6: [u32; 4],
    /// The remote port, in network byte order.
    pub remote_port: u32,
    /// The local port, in host byte order.
    pub local_port: u32,
    /// When it is to be sent, or came, in ns.
    pub tstamp: u64,
    /// Bytes on the wire; those of all segments.
    pub wire_len: u32,
    /// Segments that it stands for.
    pub gso_segs: u32,
    /// Their size in bytes.
    pub gso_size: u32,
    /// Which clock `tstamp` is of.
    pub tstamp_type: u8,
    /// When the device received it, in ns.
    pub hwtstamp: u64,
}

/// The runtime's own form of `struct __sk_buff`, and behind it what helpers need.
#[derive(Debug)]
#[repr(C)]
pub struct SkbFrame {
    pub(crate) data: u64,
    pub(crate) data_end: u64,
    pub(crate) data_meta: u64,
    /// The socket: none.
    pub(crate) sk: u64,
    pub(crate) fields: SkbFields,
    /// Whether a helper has moved the packet.
    pub(crate) moved: bool,
    /// First address of the room that the packet may be moved in.
    pub(crate) room_start: u64,
    /// One past the last.
    pub(crate) room_end: u64,
    /// Where the last program that redirected the packet wants it.
    pub(crate) redirect: Option<Redirect>,
    /// Bytes before the network header.
    pub(crate) mac_len: u32,
    /// Whether a program has put the packet into another one in this run.
    pub(crate) encapsulated: bool,
    /// Room for copies.
    pub(crate) clones: CloneRoom,
}

/// Bytes before the network header of a packet that begins with the link-layer header.
const LINK_LAYER: u32 = 14;

impl SkbFrame {
    /// Moves the start of the packet; its metadata is lost.
    pub(crate) fn move_start(&mut self, data: u64) {
        (self.data_meta, self.data, self.moved) = (data, data, true);
        self.fields.len = (self.data_end - data) as u32;
    }

    /// Moves the end of the packet.
    pub(crate) fn move_end(&mut self, end: u64) {
        (self.data_end, self.moved) = (end, true);
        self.fields.len = (end - self.data) as u32;
    }
}

impl<'a> SkBuff<'a> {
    /// A packet from interface 1, without room around it.
    #[must_use]
    pub fn new(packet: &'a mut [u8]) -> SkBuff<'a> {
        SkBuff::from(PacketBuf::new(packet))
    }

    /// What is known of the packet beside its bytes.
    #[must_use]
    pub fn fields(&self) -> &SkbFields {
        &self.frame.fields
    }

    /// The same, to be changed.
    pub fn fields_mut(&mut self) -> &mut SkbFields {
        &mut self.frame.fields
    }

    /// Where the packet is to go, after a run whose verdict was to redirect it. None if the program did not say.
    #[must_use]
    pub fn redirect(&self) -> Option<Redirect> {
        self.frame.redirect
    }

    /// Makes room for so many bytes of copies that programs send elsewhere (`bpf_clone_redirect`): of the packet, and 16
    /// more for each. Without room they get `-ENOMEM`.
    pub fn set_clone_room(&mut self, bytes: usize) {
        self.clones = Clones::new(bytes);
    }

    /// The copies that programs have sent elsewhere in the latest run.
    pub fn clones(&self) -> impl Iterator<Item = CloneRedirect<'_>> {
        self.clones.iter()
    }

    #[inline]
    fn with_frame<R>(&mut self, mac_len: u32, run: impl FnOnce(&mut SkbFrame) -> R) -> R {
        let lent = self.buf.bounds;
        let frame = &mut self.frame;
        frame.data = lent.data;
        frame.data_end = lent.data_end;
        frame.data_meta = lent.data_meta;
        frame.room_start = lent.room_start;
        frame.room_end = lent.room_end;
        frame.redirect = None;
        frame.mac_len = mac_len;
        frame.encapsulated = false;
        frame.moved = false;
        frame.clones = self.clones.lend();
        frame.fields.len = (lent.data_end - lent.data) as u32;
        let result = run(frame);
        self.clones.take_back(&frame.clones);
        if frame.moved {
            self.buf.take_back(PacketBounds {
                data: frame.data,
                data_end: frame.data_end,
                data_meta: frame.data_meta,
                ..lent
            });
        }
        result
    }
}

impl<'a> From<PacketBuf<'a>> for SkBuff<'a> {
    /// A packet from interface 1. Its wire length is that of the packet.
    fn from(buf: PacketBuf<'a>) -> SkBuff<'a> {
        let wire_len = buf.data().len() as u32;
        SkBuff {
            buf,
            clones: Clones::default(),
            frame: SkbFrame {
                data: 0,
                data_end: 0,
                data_meta: 0,
                sk: 0,
                fields: SkbFields {
                    ingress_ifindex: 1,
                    ifindex: 1,
                    wire_len,
                    ..SkbFields::default()
                },
                moved: false,
                room_start: 0,
                room_end: 0,
                redirect: None,
                mac_len: 0,
                encapsulated: false,
                clones: CloneRoom::default(),
            },
        }
    }
}

/// Hooks that run socket filters on packets ([`SkBuff`]). The verdict is how many bytes of the packet are kept: of several
/// programs the least.
#[derive(Clone, Copy, Debug)]
#[doc(alias = "BPF_PROG_TYPE_SOCKET_FILTER")]
pub enum SocketFilter {}

/// Hooks that run programs of traffic control on packets ([`SkBuff`]), as `tcx` does: in order, until one returns anything
/// but [`TcAction::Unspec`].
#[derive(Clone, Copy, Debug)]
#[doc(alias = "BPF_PROG_TYPE_SCHED_CLS")]
#[doc(alias = "BPF_PROG_TYPE_SCHED_ACT")]
pub enum Tc {}

/// Hooks that run programs of control groups on packets ([`SkBuff`]) that come in. All programs run.
#[derive(Clone, Copy, Debug)]
#[doc(alias = "BPF_CGROUP_INET_INGRESS")]
pub enum CgroupIngress {}

/// Hooks that run programs of control groups on packets ([`SkBuff`]) that go out. All programs run.
#[derive(Clone, Copy, Debug)]
#[doc(alias = "BPF_CGROUP_INET_EGRESS")]
pub enum CgroupEgress {}

/// What programs of traffic control decided (`TC_ACT_*`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TcAction {
    /// `TC_ACT_UNSPEC`: nothing. Also what `tcx` makes of results that it does not know.
    Unspec,
    /// `TC_ACT_OK`: the packet goes on.
    Ok,
    /// `TC_ACT_SHOT`: it is dropped.
    Shot,
    /// `TC_ACT_REDIRECT`: it goes elsewhere, to [`SkBuff::redirect`].
    Redirect,
}

impl TcAction {
    /// The action for a program's return value.
    #[must_use]
    pub const fn from_return(value: u64) -> TcAction {
        match value as u32 {
            0 => TcAction::Ok,
            2 => TcAction::Shot,
            7 => TcAction::Redirect,
            _ => TcAction::Unspec,
        }
    }

    /// The UAPI name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            TcAction::Unspec => "TC_ACT_UNSPEC",
            TcAction::Ok => "TC_ACT_OK",
            TcAction::Shot => "TC_ACT_SHOT",
            TcAction::Redirect => "TC_ACT_REDIRECT",
        }
    }
}

/// What the programs of a control group decided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CgroupVerdict {
    /// Whether all of them let it pass.
    pub allowed: bool,
    /// Whether one of them asked for less to be sent (`NET_XMIT_CN`); for outgoing packets only.
    pub congestion: bool,
}

impl CgroupVerdict {
    /// Without programs.
    pub(crate) const INITIAL: CgroupVerdict = CgroupVerdict {
        allowed: true,
        congestion: false,
    };

    /// One more program: bit 0 lets pass, bit 1 asks for less.
    pub(crate) fn combine(&mut self, result: u64) -> ControlFlow<()> {
        self.allowed &= result & 1 != 0;
        self.congestion |= result & 2 != 0;
        ControlFlow::Continue(())
    }
}

// SAFETY: the frame has the layout of the tables of `struct __sk_buff` (tested below); the packet is borrowed exclusively.
unsafe impl Context for SocketFilter {
    type Input<'a> = SkBuff<'a>;
    type Frame = SkbFrame;
    type Verdict = u32;

    const KINDS: &'static [ProgramKind] = &[ProgramKind::SocketFilter];
    const SECTION: &'static str = "socket";

    #[inline]
    unsafe fn with_frame<R>(packet: &mut SkBuff<'_>, run: impl FnOnce(&mut SkbFrame) -> R) -> R {
        packet.with_frame(LINK_LAYER, run)
    }

    fn initial() -> u32 {
        u32::MAX
    }

    fn combine(verdict: &mut u32, result: u64) -> ControlFlow<()> {
        *verdict = (*verdict).min(result as u32);
        ControlFlow::Continue(())
    }
}

// SAFETY: as above.
unsafe impl Context for Tc {
    type Input<'a> = SkBuff<'a>;
    type Frame = SkbFrame;
    type Verdict = TcAction;

    const KINDS: &'static [ProgramKind] = &[ProgramKind::Tc, ProgramKind::Action];
    const SECTION: &'static str = "tc";

    #[inline]
    unsafe fn with_frame<R>(packet: &mut SkBuff<'_>, run: impl FnOnce(&mut SkbFrame) -> R) -> R {
        packet.with_frame(LINK_LAYER, run)
    }

    fn initial() -> TcAction {
        TcAction::Unspec
    }

    fn combine(verdict: &mut TcAction, result: u64) -> ControlFlow<()> {
        const UNSPEC: i32 = -1;
        *verdict = TcAction::from_return(result);
        // What is unknown ends the chain, too.
        if result as i32 == UNSPEC {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

// SAFETY: as above.
unsafe impl Context for CgroupIngress {
    type Input<'a> = SkBuff<'a>;
    type Frame = SkbFrame;
    type Verdict = CgroupVerdict;

    const KINDS: &'static [ProgramKind] = &[ProgramKind::CgroupSkbIngress];
    const SECTION: &'static str = "cgroup_skb/ingress";

    #[inline]
    unsafe fn with_frame<R>(packet: &mut SkBuff<'_>, run: impl FnOnce(&mut SkbFrame) -> R) -> R {
        packet.with_frame(0, run)
    }

    fn initial() -> CgroupVerdict {
        CgroupVerdict::INITIAL
    }

    fn combine(verdict: &mut CgroupVerdict, result: u64) -> ControlFlow<()> {
        verdict.combine(result)
    }
}

// SAFETY: as above.
unsafe impl Context for CgroupEgress {
    type Input<'a> = SkBuff<'a>;
    type Frame = SkbFrame;
    type Verdict = CgroupVerdict;

    const KINDS: &'static [ProgramKind] = &[ProgramKind::CgroupSkbEgress];
    const SECTION: &'static str = "cgroup_skb/egress";

    #[inline]
    unsafe fn with_frame<R>(packet: &mut SkBuff<'_>, run: impl FnOnce(&mut SkbFrame) -> R) -> R {
        packet.with_frame(0, run)
    }

    fn initial() -> CgroupVerdict {
        CgroupVerdict::INITIAL
    }

    fn combine(verdict: &mut CgroupVerdict, result: u64) -> ControlFlow<()> {
        verdict.combine(result)
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn the_frame_matches_its_tables() {
        macro_rules! places {
            ($($name:ident)*) => {
                [
                    ("data", offset_of!(SkbFrame, data)),
                    ("data_end", offset_of!(SkbFrame, data_end)),
                    ("data_meta", offset_of!(SkbFrame, data_meta)),
                    ("sk", offset_of!(SkbFrame, sk)),
                    $((stringify!($name), offset_of!(SkbFrame, fields) + offset_of!(SkbFields, $name)),)*
                ]
            };
        }
        let places = places!(
            len pkt_type mark queue_mapping protocol vlan_present vlan_tci vlan_proto priority ingress_ifindex ifindex
            tc_index cb hash tc_classid napi_id family remote_ip4 local_ip4 remote_ip6 local_ip6 remote_port local_port
            tstamp wire_len gso_segs gso_size tstamp_type hwtstamp
        );
        let kinds = [
            ProgramKind::SocketFilter,
            ProgramKind::Tc,
            ProgramKind::Action,
            ProgramKind::CgroupSkbIngress,
            ProgramKind::CgroupSkbEgress,
        ];
        for kind in kinds {
            let table = hitless_verifier::tables::program_types::context(kind).unwrap();
            for field in &table.fields {
                let place = places.iter().find(|(name, _)| *name == field.name).map(|(_, off)| *off);
                assert_eq!(place, Some(field.host_off as usize), "{}", field.name);
            }
        }
    }

    #[test]
    fn chains_end_as_tcx_does() {
        let mut verdict = Tc::initial();
        assert!(Tc::combine(&mut verdict, u64::MAX).is_continue() && verdict == TcAction::Unspec);
        assert!(Tc::combine(&mut verdict, 3).is_break() && verdict == TcAction::Unspec);
        assert!(Tc::combine(&mut verdict, 0).is_break() && verdict == TcAction::Ok);
    }

    #[test]
    fn control_groups_ask_all_programs() {
        let mut verdict = CgroupEgress::initial();
        for result in [1, 3, 2, 1] {
            assert!(CgroupEgress::combine(&mut verdict, result).is_continue());
        }
        assert!(!verdict.allowed && verdict.congestion);
    }
}

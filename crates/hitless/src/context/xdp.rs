//! XDP: `struct xdp_md`.

use std::ops::ControlFlow;
use std::ptr;

use hitless_verifier::ProgramKind;

use super::Context;
use super::buffer::PacketBuf;
use super::redirect::Redirect;

/// Hooks that run XDP programs on packets ([`Packet`]).
///
/// Several programs are a chain: they run in order, until one decides otherwise than to pass the packet on.
#[derive(Clone, Copy, Debug)]
#[doc(alias = "BPF_PROG_TYPE_XDP")]
pub enum Xdp {}

/// A packet as an XDP program sees it (`struct xdp_md`). It is its own frame: context accesses are converted to this form.
#[derive(Debug)]
#[repr(C)]
#[doc(alias = "xdp_md")]
pub struct Packet<'a> {
    /// The frame, from the link-layer header on, in its room. Programs may write and move it.
    pub buf: PacketBuf<'a>,
    /// Index of the interface that it came in on.
    pub ingress_ifindex: u32,
    /// Index of the receive queue.
    pub rx_queue_index: u32,
    /// That of the interface it is to leave on, for programs in a device map only.
    egress_ifindex: u32,
    /// Where the packet is to go, after a run whose verdict was [`XdpAction::Redirect`]. None if the program did not say.
    pub redirect: Option<Redirect>,
}

impl<'a> Packet<'a> {
    /// A packet from interface 1, queue 0, without room around it.
    #[inline]
    pub fn new(data: &'a mut [u8]) -> Packet<'a> {
        Packet::from(PacketBuf::new(data))
    }
}

impl<'a> From<PacketBuf<'a>> for Packet<'a> {
    /// A packet from interface 1, queue 0.
    #[inline]
    fn from(buf: PacketBuf<'a>) -> Packet<'a> {
        Packet {
            buf,
            ingress_ifindex: 1,
            rx_queue_index: 0,
            egress_ifindex: 0,
            redirect: None,
        }
    }
}

/// What an XDP program decided (`enum xdp_action`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[doc(alias = "xdp_action")]
pub enum XdpAction {
    /// `XDP_ABORTED`, or any number that is no action: an error in the program.
    Aborted,
    /// `XDP_DROP`.
    Drop,
    /// `XDP_PASS`.
    Pass,
    /// `XDP_TX`.
    Tx,
    /// `XDP_REDIRECT`.
    Redirect,
}

impl XdpAction {
    /// All of them, by number.
    pub const ALL: [XdpAction; 5] = [
        XdpAction::Aborted,
        XdpAction::Drop,
        XdpAction::Pass,
        XdpAction::Tx,
        XdpAction::Redirect,
    ];

    /// The action for a program's return value.
    #[must_use]
    pub const fn from_return(value: u64) -> XdpAction {
        match value as u32 {
            1 => XdpAction::Drop,
            2 => XdpAction::Pass,
            3 => XdpAction::Tx,
            4 => XdpAction::Redirect,
            _ => XdpAction::Aborted,
        }
    }

    /// The UAPI name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            XdpAction::Aborted => "XDP_ABORTED",
            XdpAction::Drop => "XDP_DROP",
            XdpAction::Pass => "XDP_PASS",
            XdpAction::Tx => "XDP_TX",
            XdpAction::Redirect => "XDP_REDIRECT",
        }
    }
}

// SAFETY: the frame has the layout of the XDP table (tested below); the packet is borrowed exclusively.
unsafe impl Context for Xdp {
    type Input<'a> = Packet<'a>;
    type Frame = Packet<'static>;
    type Verdict = XdpAction;

    const KINDS: &'static [ProgramKind] = &[ProgramKind::Xdp];
    const SECTION: &'static str = "xdp";

    #[inline(always)]
    unsafe fn with_frame<R>(packet: &mut Packet<'_>, run: impl FnOnce(&mut Packet<'static>) -> R) -> R {
        packet.redirect = None;
        // SAFETY: the same type but for the lifetime of a borrow, of which `run` keeps nothing, by the caller's promise.
        run(unsafe { &mut *ptr::from_mut(packet).cast() })
    }

    #[inline]
    fn initial() -> XdpAction {
        XdpAction::Pass
    }

    #[inline]
    fn combine(verdict: &mut XdpAction, result: u64) -> ControlFlow<()> {
        *verdict = XdpAction::from_return(result);
        match verdict {
            XdpAction::Pass => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn the_frame_matches_its_table() {
        let table = hitless_verifier::tables::program_types::context(ProgramKind::XdpDevmap).unwrap();
        let offsets: Vec<_> = table.fields.iter().map(|field| field.host_off as usize).collect();
        let expected = [
            offset_of!(Packet<'_>, buf.bounds.data),
            offset_of!(Packet<'_>, buf.bounds.data_end),
            offset_of!(Packet<'_>, buf.bounds.data_meta),
            offset_of!(Packet<'_>, ingress_ifindex),
            offset_of!(Packet<'_>, rx_queue_index),
            offset_of!(Packet<'_>, egress_ifindex),
        ];
        assert_eq!(offsets, expected);
    }
}

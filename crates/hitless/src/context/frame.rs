//! What helpers do with the packet of a context, whichever sort of frame it is in.

use std::mem::offset_of;

use hitless_verifier::ProgramKind;

use super::redirect::Redirect;
use super::skb::SkbFrame;
use super::xdp::Packet;

/// The frame of a program that gets a packet.
#[derive(Debug)]
pub(crate) enum PacketFrame<'a> {
    Xdp(&'a mut Packet<'static>),
    Skb(&'a mut SkbFrame),
}

impl<'a> PacketFrame<'a> {
    /// The frame at an address, for programs of a kind that gets packets.
    ///
    /// # Safety
    /// The address is that of the context of a program of this kind, to be used by nobody else as long as this lives.
    pub(crate) unsafe fn at(kind: ProgramKind, address: *mut u8) -> Option<PacketFrame<'a>> {
        match kind {
            ProgramKind::Xdp | ProgramKind::XdpDevmap => {
                // SAFETY: such programs are given this frame; the caller vouches for the rest.
                Some(PacketFrame::Xdp(unsafe { &mut *address.cast() }))
            }
            ProgramKind::SocketFilter
            | ProgramKind::Tc
            | ProgramKind::Action
            | ProgramKind::CgroupSkbIngress
            | ProgramKind::CgroupSkbEgress => {
                // SAFETY: as above.
                Some(PacketFrame::Skb(unsafe { &mut *address.cast() }))
            }
            _ => None,
        }
    }

    /// Where in the frame of programs that may not look at the packet themselves it says where the packet begins and ends.
    pub(crate) fn fields(kind: ProgramKind) -> Option<(u32, u32)> {
        let fields = (offset_of!(SkbFrame, data), offset_of!(SkbFrame, data_end));
        (kind == ProgramKind::SocketFilter).then_some((fields.0 as u32, fields.1 as u32))
    }

    /// Where the packet is now: start and end.
    pub(crate) fn data(&self) -> (u64, u64) {
        match self {
            PacketFrame::Xdp(packet) => (packet.buf.bounds.data, packet.buf.bounds.data_end),
            PacketFrame::Skb(frame) => (frame.data, frame.data_end),
        }
    }

    /// Says where the packet is to go if the verdict is to redirect it.
    pub(crate) fn set_redirect(&mut self, target: Redirect) {
        match self {
            PacketFrame::Xdp(packet) => packet.redirect = Some(target),
            PacketFrame::Skb(frame) => frame.redirect = Some(target),
        }
    }
}

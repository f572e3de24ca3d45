//! What helpers do with the packet of a context, whichever sort of frame it is in.

use hitless_verifier::ProgramKind;

use super::redirect::Redirect;
use super::skb::SkbFrame;
use super::xdp::XdpFrame;

/// The frame of a program that gets a packet.
#[derive(Debug)]
pub(crate) enum PacketFrame<'a> {
    Xdp(&'a mut XdpFrame),
    Skb(&'a mut SkbFrame),
}

#[expect(dead_code, reason = "asked by the helpers of packets, which are being written")]
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

    /// Where the packet is now: start and end.
    pub(crate) fn data(&self) -> (u64, u64) {
        match self {
            PacketFrame::Xdp(frame) => (frame.data, frame.data_end),
            PacketFrame::Skb(frame) => (frame.data, frame.data_end),
        }
    }

    /// Where the metadata begins; it ends where the packet begins.
    pub(crate) fn data_meta(&self) -> u64 {
        match self {
            PacketFrame::Xdp(frame) => frame.data_meta,
            PacketFrame::Skb(frame) => frame.data_meta,
        }
    }

    /// The room that the packet may be moved in: start and end.
    pub(crate) fn room(&self) -> (u64, u64) {
        match self {
            PacketFrame::Xdp(frame) => (frame.room_start, frame.room_end),
            PacketFrame::Skb(frame) => (frame.room_start, frame.room_end),
        }
    }

    /// Moves the bounds of metadata and packet; false, and nothing is moved, if they are not in ascending order within the room.
    #[must_use]
    pub(crate) fn set_bounds(&mut self, data_meta: u64, data: u64, data_end: u64) -> bool {
        let (start, end) = self.room();
        if !(start <= data_meta && data_meta <= data && data <= data_end && data_end <= end) {
            return false;
        }
        match self {
            PacketFrame::Xdp(frame) => {
                (frame.data_meta, frame.data, frame.data_end) = (data_meta, data, data_end);
            }
            PacketFrame::Skb(frame) => {
                (frame.data_meta, frame.data, frame.data_end) = (data_meta, data, data_end);
                frame.fields.len = (data_end - data) as u32;
            }
        }
        true
    }

    /// Says where the packet is to go if the verdict is to redirect it.
    pub(crate) fn set_redirect(&mut self, target: Redirect) {
        match self {
            PacketFrame::Xdp(frame) => frame.redirect = Some(target),
            PacketFrame::Skb(frame) => frame.redirect = Some(target),
        }
    }
}

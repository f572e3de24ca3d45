//! The memory of a packet: headroom, metadata, the packet, tailroom.
//!
//! ```text
//! room:  | headroom        | metadata | packet           | tailroom |
//!        0             meta^     start^               end^      len^
//! ```
//!
//! Programs move the three bounds by helpers (`bpf_xdp_adjust_head` and its neighbours), never beyond the room: a packet that
//! is to grow needs room from the beginning, since nothing is allocated while programs run.

use std::ops::Range;

/// A packet in its room. The memory is either borrowed, or owned.
#[derive(Debug)]
pub struct PacketBuf<'a> {
    room: Room<'a>,
    bounds: Bounds,
}

#[derive(Debug)]
enum Room<'a> {
    Borrowed(&'a mut [u8]),
    Owned(Box<[u8]>),
}

/// Offsets in the room, in ascending order.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    meta: usize,
    start: usize,
    end: usize,
}

impl<'a> PacketBuf<'a> {
    /// The headroom that Linux has before XDP programs run (`XDP_PACKET_HEADROOM`).
    #[doc(alias = "XDP_PACKET_HEADROOM")]
    pub const HEADROOM: usize = 256;

    /// A packet that is all of this memory: there is no room around it.
    #[inline]
    pub fn new(packet: &'a mut [u8]) -> PacketBuf<'a> {
        let end = packet.len();
        PacketBuf {
            room: Room::Borrowed(packet),
            bounds: Bounds { meta: 0, start: 0, end },
        }
    }

    /// A packet that is part of this memory: what lies before it is headroom, what lies behind it tailroom.
    ///
    /// # Panics
    /// If the memory does not have this range.
    #[inline]
    pub fn within(room: &'a mut [u8], packet: Range<usize>) -> PacketBuf<'a> {
        assert!(
            packet.start <= packet.end && packet.end <= room.len(),
            "a packet at {packet:?} of {} bytes",
            room.len()
        );
        PacketBuf {
            room: Room::Borrowed(room),
            bounds: Bounds {
                meta: packet.start,
                start: packet.start,
                end: packet.end,
            },
        }
    }

    /// A copy of a packet, in memory of its own with so much room before and behind it.
    #[must_use]
    pub fn copy_of(packet: &[u8], headroom: usize, tailroom: usize) -> PacketBuf<'static> {
        let mut room = vec![0; headroom + packet.len() + tailroom].into_boxed_slice();
        let end = headroom + packet.len();
        room[headroom..end].copy_from_slice(packet);
        PacketBuf {
            room: Room::Owned(room),
            bounds: Bounds {
                meta: headroom,
                start: headroom,
                end,
            },
        }
    }

    /// The packet as it is now.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.room()[self.bounds.start..self.bounds.end]
    }

    /// The packet as it is now, to be written.
    pub fn data_mut(&mut self) -> &mut [u8] {
        let Bounds { start, end, .. } = self.bounds;
        &mut self.room_mut()[start..end]
    }

    /// What programs keep before the packet (`bpf_xdp_adjust_meta`).
    #[must_use]
    pub fn metadata(&self) -> &[u8] {
        &self.room()[self.bounds.meta..self.bounds.start]
    }

    /// How many bytes there are before packet and metadata.
    #[must_use]
    pub fn headroom(&self) -> usize {
        self.bounds.meta
    }

    /// How many bytes there are behind the packet.
    #[must_use]
    pub fn tailroom(&self) -> usize {
        self.room().len() - self.bounds.end
    }

    /// Makes the bytes before the packet its metadata, as many as there are to be of it.
    ///
    /// # Panics
    /// If there is not so much before the packet.
    pub fn set_metadata_len(&mut self, len: usize) {
        assert!(
            len <= self.bounds.start,
            "{len} bytes of metadata, at most {}",
            self.bounds.start
        );
        self.bounds.meta = self.bounds.start - len;
    }

    /// Takes so many bytes from the front of the packet, as headroom; its metadata is lost.
    pub(crate) fn pull(&mut self, len: usize) {
        self.bounds.start = (self.bounds.start + len).min(self.bounds.end);
        self.bounds.meta = self.bounds.start;
    }

    /// Puts so many bytes before the packet, of the metadata and the headroom; as many as there are.
    pub(crate) fn push(&mut self, len: usize) {
        self.bounds.start = self.bounds.start.saturating_sub(len);
        self.bounds.meta = self.bounds.start;
    }

    #[inline]
    fn room(&self) -> &[u8] {
        match &self.room {
            Room::Borrowed(room) => room,
            Room::Owned(room) => room,
        }
    }

    #[inline]
    fn room_mut(&mut self) -> &mut [u8] {
        match &mut self.room {
            Room::Borrowed(room) => room,
            Room::Owned(room) => room,
        }
    }

    /// The addresses of everything, for a frame.
    #[inline]
    pub(crate) fn lend(&mut self) -> PacketBounds {
        let Bounds { meta, start, end } = self.bounds;
        let room = self.room_mut().as_mut_ptr_range();
        let base = room.start as u64;
        PacketBounds {
            data: base + start as u64,
            data_end: base + end as u64,
            data_meta: base + meta as u64,
            room_start: base,
            room_end: room.end as u64,
        }
    }

    /// Takes the bounds over from a frame whose addresses came from [`lend`](Self::lend), and were moved.
    #[cold]
    pub(crate) fn take_back(&mut self, bounds: &PacketBounds) {
        debug_assert!(
            bounds.room_start <= bounds.data_meta
                && bounds.data_meta <= bounds.data
                && bounds.data <= bounds.data_end
                && bounds.data_end <= bounds.room_end,
            "{bounds:?}"
        );
        let offset = |address: u64| (address - bounds.room_start) as usize;
        self.bounds = Bounds {
            meta: offset(bounds.data_meta),
            start: offset(bounds.data),
            end: offset(bounds.data_end),
        };
    }
}

/// The addresses of a packet, in ascending order but for the first two: room, metadata, packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketBounds {
    pub(crate) data: u64,
    pub(crate) data_end: u64,
    pub(crate) data_meta: u64,
    pub(crate) room_start: u64,
    pub(crate) room_end: u64,
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn room_is_what_surrounds_the_packet() {
        let mut buf = PacketBuf::copy_of(&[1, 2, 3], 8, 4);
        assert_eq!((buf.headroom(), buf.data(), buf.tailroom()), (8, &[1, 2, 3][..], 4));
        buf.set_metadata_len(2);
        assert_eq!((buf.headroom(), buf.metadata()), (6, &[0, 0][..]));
        let mut memory = [0, 1, 2, 3];
        let buf = PacketBuf::within(&mut memory, 1..3);
        assert_eq!((buf.headroom(), buf.data(), buf.tailroom()), (1, &[1, 2][..], 1));
        assert_eq!(PacketBuf::new(&mut memory).data(), &[0, 1, 2, 3]);
    }

    #[test]
    fn bounds_come_back() {
        let mut buf = PacketBuf::copy_of(&[1, 2, 3], 8, 4);
        let mut bounds = buf.lend();
        bounds.data -= 2;
        bounds.data_meta -= 3;
        bounds.data_end += 1;
        buf.take_back(&bounds);
        assert_eq!((buf.data(), buf.metadata()), (&[0, 0, 1, 2, 3, 0][..], &[0][..]));
    }
}

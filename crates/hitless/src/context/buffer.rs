//! The memory of a packet: headroom, metadata, the packet, tailroom.
//!
//! ```text
//! room:  | headroom        | metadata | packet           | tailroom |
//!        0             meta^     start^               end^      len^
//! ```
//!
//! Programs move the three bounds by helpers (`bpf_xdp_adjust_head` and its neighbours), never beyond the room: a packet that
//! is to grow needs room from the beginning, since nothing is allocated while programs run.

use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;

/// A packet in its room. The memory is either borrowed, or owned.
#[derive(Debug)]
#[repr(C)]
pub struct PacketBuf<'a> {
    /// First, so that what begins with a packet begins with where that is: a frame.
    pub(crate) bounds: PacketBounds,
    /// The room, if it is this packet's own.
    own: Option<OwnRoom>,
    room: PhantomData<&'a mut [u8]>,
}

/// Memory from a box, which goes with this. It is no `Box`, which would claim to be the only way to it.
#[derive(Debug)]
struct OwnRoom(NonNull<[u8]>);

// SAFETY: it stands for a box of bytes.
unsafe impl Send for OwnRoom {}
// SAFETY: as above; a shared reference to it gives no access.
unsafe impl Sync for OwnRoom {}

impl Drop for OwnRoom {
    fn drop(&mut self) {
        // SAFETY: it came from a box (`PacketBuf::copy_of`), and what was borrowed of the packet has ended.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

impl<'a> PacketBuf<'a> {
    /// The headroom that Linux has before XDP programs run (`XDP_PACKET_HEADROOM`).
    #[doc(alias = "XDP_PACKET_HEADROOM")]
    pub const HEADROOM: usize = 256;

    /// A packet that is all of this memory: there is no room around it.
    #[inline]
    pub fn new(packet: &'a mut [u8]) -> PacketBuf<'a> {
        let all = 0..packet.len();
        PacketBuf::at(packet, all)
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
        PacketBuf::at(room, packet)
    }

    /// A copy of a packet, in memory of its own with so much room before and behind it.
    #[must_use]
    pub fn copy_of(packet: &[u8], headroom: usize, tailroom: usize) -> PacketBuf<'static> {
        let mut room = vec![0; headroom + packet.len() + tailroom].into_boxed_slice();
        let range = headroom..headroom + packet.len();
        room[range.clone()].copy_from_slice(packet);
        let room = NonNull::from(Box::leak(room));
        PacketBuf {
            own: Some(OwnRoom(room)),
            ..PacketBuf::at(room.as_ptr(), range)
        }
    }

    /// A packet at a range of a room, which is its own until it ends.
    #[inline]
    fn at(room: *mut [u8], packet: Range<usize>) -> PacketBuf<'a> {
        // Programs and helpers find it by its address.
        let start = room.cast::<u8>().expose_provenance() as u64;
        let data = start + packet.start as u64;
        PacketBuf {
            bounds: PacketBounds {
                data,
                data_end: start + packet.end as u64,
                data_meta: data,
                room_start: start,
                room_end: start + room.len() as u64,
            },
            own: None,
            room: PhantomData,
        }
    }

    /// The packet as it is now.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        // SAFETY: the bounds are in ascending order and in the room, wherever programs have moved them; the room is borrowed for
        // as long as the packet is, or its own, and its provenance was exposed.
        unsafe { bytes(self.bounds.data, self.bounds.data_end) }
    }

    /// The packet as it is now, to be written.
    pub fn data_mut(&mut self) -> &mut [u8] {
        let PacketBounds { data, data_end, .. } = self.bounds;
        let start = ptr::with_exposed_provenance_mut(data as usize);
        // SAFETY: as in `data`; borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(start, (data_end - data) as usize) }
    }

    /// What programs keep before the packet (`bpf_xdp_adjust_meta`).
    #[must_use]
    pub fn metadata(&self) -> &[u8] {
        // SAFETY: as in `data`.
        unsafe { bytes(self.bounds.data_meta, self.bounds.data) }
    }

    /// How many bytes there are before packet and metadata.
    #[must_use]
    pub fn headroom(&self) -> usize {
        (self.bounds.data_meta - self.bounds.room_start) as usize
    }

    /// How many bytes there are behind the packet.
    #[must_use]
    pub fn tailroom(&self) -> usize {
        (self.bounds.room_end - self.bounds.data_end) as usize
    }

    /// Makes the bytes before the packet its metadata, as many as there are to be of it.
    ///
    /// # Panics
    /// If there is not so much before the packet.
    pub fn set_metadata_len(&mut self, len: usize) {
        let before = (self.bounds.data - self.bounds.room_start) as usize;
        assert!(len <= before, "{len} bytes of metadata, at most {before}");
        self.bounds.data_meta = self.bounds.data - len as u64;
    }

    /// Takes so many bytes from the front of the packet, as headroom; its metadata is lost.
    pub(crate) fn pull(&mut self, len: usize) {
        self.bounds.data = (self.bounds.data + len as u64).min(self.bounds.data_end);
        self.bounds.data_meta = self.bounds.data;
    }

    /// Puts so many bytes before the packet, of the metadata and the headroom; as many as there are.
    pub(crate) fn push(&mut self, len: usize) {
        let room = self.bounds.data - self.bounds.room_start;
        self.bounds.data -= room.min(len as u64);
        self.bounds.data_meta = self.bounds.data;
    }

    /// Takes the bounds over from a frame that was given them, and in which they were moved.
    #[cold]
    pub(crate) fn take_back(&mut self, bounds: PacketBounds) {
        debug_assert!(
            bounds.room_start <= bounds.data_meta
                && bounds.data_meta <= bounds.data
                && bounds.data <= bounds.data_end
                && bounds.data_end <= bounds.room_end,
            "{bounds:?}"
        );
        self.bounds = bounds;
    }
}

/// # Safety
/// These are bytes that are there for as long as `'a`, in this order, whose provenance was exposed.
unsafe fn bytes<'a>(start: u64, end: u64) -> &'a [u8] {
    let first = ptr::with_exposed_provenance(start as usize);
    // SAFETY: as for this function.
    unsafe { slice::from_raw_parts(first, (end - start) as usize) }
}

/// The addresses of a packet, of its metadata, and of the room that both lie in. Metadata comes before the packet.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
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
        let mut bounds = buf.bounds;
        bounds.data -= 2;
        bounds.data_meta -= 3;
        bounds.data_end += 1;
        buf.take_back(bounds);
        assert_eq!((buf.data(), buf.metadata()), (&[0, 0, 1, 2, 3, 0][..], &[0][..]));
    }
}

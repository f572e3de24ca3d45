//! Copies of packets that programs send elsewhere while the packet itself goes on (`bpf_clone_redirect`).
//!
//! Nothing is allocated while programs run, so the host makes room beforehand. Each copy is a header of sixteen bytes (interface,
//! flags, length) and the packet, padded to a multiple of eight.

use crate::region::SharedBytes;

const HEADER: usize = 16;

/// A copy of a packet, and where it is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CloneRedirect<'a> {
    /// The index of the interface.
    pub ifindex: u32,
    /// The flags that were given. `BPF_F_INGRESS` (1): as if the packet had come in there.
    pub flags: u32,
    /// The packet as it was then.
    pub data: &'a [u8],
}

/// Room for copies.
#[derive(Debug, Default)]
pub(super) struct Clones {
    room: Box<[u8]>,
    /// How many bytes of it the latest run has used.
    used: usize,
}

/// What of that a run is lent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CloneRoom {
    start: u64,
    next: u64,
    end: u64,
}

impl Clones {
    pub(super) fn new(bytes: usize) -> Clones {
        Clones {
            room: vec![0; bytes].into_boxed_slice(),
            used: 0,
        }
    }

    pub(super) fn lend(&mut self) -> CloneRoom {
        self.used = 0;
        let range = self.room.as_mut_ptr_range();
        let start = range.start.expose_provenance() as u64;
        CloneRoom {
            start,
            next: start,
            end: range.end.addr() as u64,
        }
    }

    pub(super) fn take_back(&mut self, room: &CloneRoom) {
        self.used = (room.next - room.start) as usize;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = CloneRedirect<'_>> {
        let mut rest = &self.room[..self.used];
        std::iter::from_fn(move || {
            let (header, behind) = rest.split_at_checked(HEADER)?;
            let [ifindex, flags, len] = [0, 4, 8].map(|at| {
                let word = &header[at..at + 4];
                u32::from_ne_bytes([word[0], word[1], word[2], word[3]])
            });
            rest = &behind[(len as usize).next_multiple_of(8)..];
            Some(CloneRedirect {
                ifindex,
                flags,
                data: &behind[..len as usize],
            })
        })
    }
}

impl CloneRoom {
    /// Adds a copy of a packet, of at most 4 GiB; false if there is no room.
    pub(crate) fn add(&mut self, ifindex: u32, flags: u32, packet: SharedBytes<'_>) -> bool {
        let size = HEADER + packet.len().next_multiple_of(8);
        if self.end - self.next < size as u64 {
            return false;
        }
        let words = [ifindex, flags, packet.len() as u32, 0];
        let header: [u8; HEADER] = std::array::from_fn(|at| words[at / 4].to_ne_bytes()[at % 4]);
        // SAFETY: the room is lent to the run alone, and has so many bytes left.
        unsafe {
            SharedBytes::from_raw(self.next, HEADER).write(SharedBytes::from_slice(&header));
            SharedBytes::from_raw(self.next + HEADER as u64, packet.len()).write(packet);
        }
        self.next += size as u64;
        true
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn copies_are_found_again_as_long_as_there_is_room() {
        let mut clones = Clones::new(60);
        let mut room = clones.lend();
        assert!(room.add(7, 1, SharedBytes::from_slice(&[1, 2, 3])));
        assert!(room.add(8, 0, SharedBytes::from_slice(&[4; 8])));
        assert!(!room.add(9, 0, SharedBytes::from_slice(&[])));
        clones.take_back(&room);
        let found: Vec<_> = clones
            .iter()
            .map(|copy| (copy.ifindex, copy.flags, copy.data.to_vec()))
            .collect();
        assert_eq!(found, [(7, 1, vec![1, 2, 3]), (8, 0, vec![4; 8])]);
        clones.lend();
        assert_eq!(clones.iter().count(), 0);
    }
}

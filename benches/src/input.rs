//! What is run: the repository's objects and capture, and a small program whose map can have any size.

use std::path::{Path, PathBuf};

use hitless::{Hook, Packet, XdpAction};
use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};
use pcap_parser::{LegacyPcapReader, PcapBlockOwned, PcapError, traits::PcapReaderIterator};

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The bytes of a committed object.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn object_bytes(name: &str) -> Vec<u8> {
    let path = repository("bpf").join(name).with_extension("bpf.o");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A committed object.
///
/// # Panics
/// If it is not there or does not parse.
#[must_use]
pub fn object(name: &str) -> ObjectSpec {
    ObjectSpec::parse(&object_bytes(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The frames of the committed capture, in order.
///
/// # Panics
/// If it is not there or is no capture.
#[must_use]
pub fn frames() -> Vec<Vec<u8>> {
    let path = repository("testdata/flows.pcap");
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = LegacyPcapReader::new(1 << 16, file).expect("a capture");
    let mut frames = Vec::new();
    loop {
        match reader.next() {
            Ok((read, block)) => {
                if let PcapBlockOwned::Legacy(packet) = block {
                    frames.push(packet.data.to_vec());
                }
                reader.consume(read);
            }
            Err(PcapError::Eof) => return frames,
            Err(PcapError::Incomplete(_)) => reader.refill().expect("more of the capture"),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

/// Which of `threads` threads a frame goes to: packets of one flow to the same, as a network card steers them.
#[must_use]
pub fn steer(frame: &[u8], threads: usize) -> usize {
    // Addresses and, if there are no options, ports; what is neither IPv4 nor IPv6 is one flow.
    let flow = match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(26..38),
        Some([0x86, 0xdd]) => frame.get(22..58),
        _ => None,
    };
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = flow.unwrap_or_default().iter().fold(0xcbf2_9ce4_8422_2325, mix);
    (hash >> 32) as usize % threads
}

/// Runs a hook on a frame.
///
/// # Panics
/// If the program does not pass the frame on.
#[inline]
pub fn send(hook: &Hook, frame: &mut [u8]) {
    let action = hook.run(&mut Packet::new(frame));
    assert_eq!(action, Ok(XdpAction::Pass));
}

/// Adds the number in the packet, `{ u32 key; u32 -; u64 value }`, to an entry of a map from `u32` to `u64` through the
/// pointer that a lookup returns; a key that is not there is inserted.
const ADD: &str = "
    r6 = *(u32 *)(r1 +0)
    r7 = *(u32 *)(r1 +4)
    r0 = 1
    r2 = r6
    r2 += 16
    if r2 > r7 goto out
    r8 = *(u64 *)(r6 +8)
    r3 = *(u32 *)(r6 +0)
    *(u32 *)(r10 -4) = r3
    r1 = map[idx:0]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto insert
    lock *(u64 *)(r0 +0) += r8
    goto passed
insert:
    *(u64 *)(r10 -16) = r8
    r1 = map[idx:0]
    r2 = r10
    r2 += -4
    r3 = r10
    r3 += -16
    r4 = 0
    call bpf_map_update_elem#2
passed:
    r0 = 2
out:
    exit
";

/// An object with one hash map, `state`, from `u32` to `u64`, and one program that adds to its entries.
///
/// # Panics
/// Never: the program assembles.
#[must_use]
pub fn adder(max_entries: u32) -> ObjectSpec {
    let map = MapSpec {
        name: "state".into(),
        map_type: 1,
        key_size: 4,
        value_size: 8,
        max_entries,
        ..MapSpec::default()
    };
    let program = ProgramSpec {
        name: "add".into(),
        section: "xdp".into(),
        insns: hitless_isa::asm::assemble(ADD).expect("the program assembles"),
        ..ProgramSpec::default()
    };
    ObjectSpec {
        license: "Dual MIT/GPL".into(),
        maps: vec![map],
        programs: vec![program],
        ..ObjectSpec::default()
    }
}

/// The packet that adds 1 to an entry.
#[must_use]
pub fn add_one(key: u32) -> [u8; 16] {
    let mut packet = [0; 16];
    packet[0..4].copy_from_slice(&key.to_ne_bytes());
    packet[8] = 1;
    packet
}

/// Numbers that look random: a full cycle through 32 bits.
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u32);

impl Random {
    /// The next number below `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((u64::from(self.0) * u64::from(limit)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capture_is_read_whole_and_steered_both_ways() {
        let frames = frames();
        assert_eq!(frames.len(), 5706);
        let first = frames.iter().filter(|frame| steer(frame, 2) == 0).count();
        assert!((1500..4200).contains(&first), "{first} of {}", frames.len());
    }
}

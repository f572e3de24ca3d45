//! Which thread sends which packet of a capture.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::args::Steer;

/// What tells flows apart: a unidirectional 5-tuple. Ports are those on the wire; 0 if the packet has none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct FlowKey {
    /// Source address; IPv4 as ::ffff:a.b.c.d.
    source: [u8; 16],
    /// Destination address.
    destination: [u8; 16],
    /// Source and destination port.
    ports: [u8; 4],
    /// IPv4 protocol, or first IPv6 next header.
    protocol: u8,
}

const TCP: u8 = 6;
const UDP: u8 = 17;

impl FlowKey {
    /// The key of an Ethernet frame. Frames that are not IP, or whose headers are cut off or malformed, all have the default
    /// key. Fragments other than the first have no ports; IPv6 extension headers are not walked.
    pub(crate) fn of(frame: &[u8]) -> FlowKey {
        FlowKey::parse(frame).unwrap_or_default()
    }

    fn parse(frame: &[u8]) -> Option<FlowKey> {
        let packet = frame.get(14..)?;
        let (mut key, payload) = match frame.get(12..14)? {
            [0x08, 0x00] => FlowKey::ipv4(packet)?,
            [0x86, 0xdd] => FlowKey::ipv6(packet)?,
            _ => return None,
        };
        let header = match (key.protocol, payload) {
            (TCP, Some(payload)) => payload.get(..20)?,
            (UDP, Some(payload)) => payload.get(..8)?,
            _ => return Some(key),
        };
        key.ports.copy_from_slice(&header[..4]);
        Some(key)
    }

    /// The key without ports, and what follows the header unless that is a later fragment.
    fn ipv4(packet: &[u8]) -> Option<(FlowKey, Option<&[u8]>)> {
        let header = packet.get(..20)?;
        let len = usize::from(header[0] & 15) * 4;
        if header[0] >> 4 != 4 || len < 20 {
            return None;
        }
        let payload = packet.get(len..)?;
        let mapped = |address: &[u8]| {
            let mut out = [0; 16];
            out[10..12].fill(0xff);
            out[12..].copy_from_slice(address);
            out
        };
        let key = FlowKey {
            source: mapped(&header[12..16]),
            destination: mapped(&header[16..20]),
            ports: [0; 4],
            protocol: header[9],
        };
        let is_later_fragment = header[6] & 0x1f != 0 || header[7] != 0;
        Some((key, (!is_later_fragment).then_some(payload)))
    }

    fn ipv6(packet: &[u8]) -> Option<(FlowKey, Option<&[u8]>)> {
        let (header, payload) = packet.split_at_checked(40)?;
        if header[0] >> 4 != 6 {
            return None;
        }
        let key = FlowKey {
            source: header[8..24].try_into().ok()?,
            destination: header[24..40].try_into().ok()?,
            ports: [0; 4],
            protocol: header[6],
        };
        Some((key, Some(payload)))
    }
}

/// Spreads frames over threads: the frames of each, in the order of the capture.
pub(crate) fn shares<'a>(frames: &[&'a [u8]], threads: u16, steer: Steer) -> Vec<Vec<&'a [u8]>> {
    let threads = usize::from(threads);
    let mut shares = vec![Vec::new(); threads];
    for (index, frame) in frames.iter().enumerate() {
        let thread = match steer {
            Steer::None => index % threads,
            Steer::Flow => {
                let mut hasher = DefaultHasher::new();
                FlowKey::of(frame).hash(&mut hasher);
                (hasher.finish() % threads as u64) as usize
            }
        };
        shares[thread].push(*frame);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pcap;
    use std::collections::HashSet;

    const CAPTURE: &[u8] = include_bytes!("../../../testdata/flows.pcap");

    #[test]
    fn keys_are_those_of_the_flow_programs() {
        // The numbers are those of scripts/pcap_stats.py (testdata/README.md).
        let frames = pcap::parse(CAPTURE).unwrap();
        let keys: HashSet<FlowKey> = frames.iter().map(|frame| FlowKey::of(frame)).collect();
        assert_eq!((frames.len(), keys.len()), (5706, 760));
        assert!(keys.contains(&FlowKey::default()));
    }

    #[test]
    fn a_flow_stays_with_one_thread() {
        let frames = pcap::parse(CAPTURE).unwrap();
        let shares = shares(&frames, 4, Steer::Flow);
        let keys: Vec<HashSet<FlowKey>> = shares
            .iter()
            .map(|share| share.iter().map(|frame| FlowKey::of(frame)).collect())
            .collect();
        assert_eq!(keys.iter().map(HashSet::len).sum::<usize>(), 760);
        assert!(keys.iter().all(|keys| keys.len() > 100), "no thread is left out");
    }

    #[test]
    fn round_robin_is_even() {
        let frames = pcap::parse(CAPTURE).unwrap();
        let lens: Vec<usize> = shares(&frames, 4, Steer::None).iter().map(Vec::len).collect();
        assert_eq!(lens, [1427, 1427, 1426, 1426]);
    }

    #[test]
    fn no_prefix_of_a_frame_is_too_short() {
        for frame in pcap::parse(CAPTURE).unwrap() {
            for len in 0..frame.len() {
                FlowKey::of(&frame[..len]);
            }
        }
    }
}

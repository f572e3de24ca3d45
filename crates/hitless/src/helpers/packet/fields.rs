//! What is known of a packet of the network stack beside its bytes.

use std::hash::{BuildHasher, RandomState};

use hitless_verifier::tables::helpers::number;

use super::super::Helper;
use super::super::errno::{EINVAL, EOPNOTSUPP, returned};
use super::vlan::{TAGS, VLAN_HLEN};
use super::{IP, IPV6, get, put, skb};
use crate::context::SkbFrame;
use crate::env::RunEnv;

pub(super) const HELPERS: &[Helper] = &[
    Helper::new(number("bpf_skb_change_type"), change_type),
    Helper::new(number("bpf_get_hash_recalc"), get_hash_recalc),
    Helper::new(number("bpf_set_hash_invalid"), set_hash_invalid),
    Helper::new(number("bpf_set_hash"), set_hash),
    Helper::new(number("bpf_skb_set_tstamp"), set_tstamp),
    Helper::new(number("bpf_skb_ecn_set_ce"), ecn_set_ce),
];

/// `PACKET_OTHERHOST`, the last type that programs may give.
const LAST_TYPE: u32 = 3;

/// Clocks of time stamps: real time, monotonic, TAI.
const CLOCK_REALTIME: u32 = 0;
const CLOCK_TAI: u32 = 2;

/// Congestion experienced, in the two bits that say how senders are told of congestion.
const ECN_CE: u8 = 3;

const TCP: u8 = 6;
const UDP: u8 = 17;

unsafe extern "C" fn change_type(env: &mut RunEnv<'_>, _: u64, to: u64, _: u64, _: u64, _: u64) -> u64 {
    let fields = &mut skb(env).fields;
    if fields.pkt_type > LAST_TYPE || to as u32 > LAST_TYPE {
        return returned(Err(EINVAL));
    }
    fields.pkt_type = to as u32;
    0
}

/// The hash of the packet's flow, made if there is none. It is the same both ways.
unsafe extern "C" fn get_hash_recalc(env: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    let keys = env.shared().flow_keys();
    let frame = skb(env);
    if frame.fields.hash == 0 {
        frame.fields.hash = flow_hash(frame, keys);
    }
    frame.fields.hash.into()
}

unsafe extern "C" fn set_hash_invalid(env: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    skb(env).fields.hash = 0;
    0
}

unsafe extern "C" fn set_hash(env: &mut RunEnv<'_>, _: u64, hash: u64, _: u64, _: u64, _: u64) -> u64 {
    skb(env).fields.hash = hash as u32;
    0
}

unsafe extern "C" fn set_tstamp(env: &mut RunEnv<'_>, _: u64, tstamp: u64, clock: u64, _: u64, _: u64) -> u64 {
    let fields = &mut skb(env).fields;
    if ![IP, IPV6].map(u32::from).contains(&fields.protocol) {
        return returned(Err(EOPNOTSUPP));
    }
    let clock = clock as u32;
    if clock > CLOCK_TAI || (clock != CLOCK_REALTIME && tstamp == 0) {
        return returned(Err(EINVAL));
    }
    fields.tstamp = tstamp;
    fields.tstamp_type = clock as u8;
    0
}

/// Marks the packet, if its sender understands that. Returns whether it is marked now.
unsafe extern "C" fn ecn_set_ce(env: &mut RunEnv<'_>, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    let frame = skb(env);
    let packet = (frame.data, frame.data_end);
    let header = u64::from(frame.mac_len);
    let marked = match network_protocol(frame) {
        IP => get(packet, header).is_some_and(|bytes: [u8; 20]| mark_ipv4(packet, header, &bytes)),
        IPV6 => get(packet, header).is_some_and(|bytes: [u8; 40]| {
            // The bits are the sixth and seventh of the traffic class, which begins in the middle of a byte.
            let ecn = bytes[1] >> 4 & ECN_CE;
            if ecn != 0 {
                put(packet, header + 1, &[bytes[1] | ECN_CE << 4]);
            }
            ecn != 0
        }),
        _ => false,
    };
    marked.into()
}

/// The protocol behind tags in the packet.
fn network_protocol(frame: &SkbFrame) -> u16 {
    let mut protocol = frame.fields.protocol as u16;
    let mut at = u64::from(frame.mac_len);
    while TAGS.contains(&protocol)
        && let Some([_, _, high, low]) = get((frame.data, frame.data_end), at)
    {
        protocol = u16::from_ne_bytes([high, low]);
        at += VLAN_HLEN;
    }
    protocol
}

fn mark_ipv4(packet: (u64, u64), header: u64, bytes: &[u8; 20]) -> bool {
    let ecn = bytes[1] & ECN_CE;
    if ecn == 0 || ecn == ECN_CE {
        return ecn != 0;
    }
    let sum = u16::from_be_bytes([bytes[10], bytes[11]]);
    let (sum, carry) = sum.overflowing_add(!u16::from(ECN_CE - ecn));
    put(packet, header + 10, &(sum + u16::from(carry)).to_be_bytes());
    put(packet, header + 1, &[bytes[1] | ECN_CE]);
    true
}

fn flow_hash(frame: &SkbFrame, keys: &RandomState) -> u32 {
    let packet = (frame.data, frame.data_end);
    let header = u64::from(frame.mac_len);
    let protocol = frame.fields.protocol as u16;
    let mut ends = [([0u8; 16], [0u8; 2]); 2];
    let mut transport = None;
    if let (IP, Some(ip)) = (protocol, get::<20>(packet, header)) {
        ends[0].0[..4].copy_from_slice(&ip[12..16]);
        ends[1].0[..4].copy_from_slice(&ip[16..20]);
        // A fragment other than the first has no ports.
        let fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff != 0;
        let len = u64::from(ip[0] & 15) * 4;
        transport = (!fragment).then_some((ip[9], header + len));
    } else if let (IPV6, Some(ip)) = (protocol, get::<40>(packet, header)) {
        ends[0].0.copy_from_slice(&ip[8..24]);
        ends[1].0.copy_from_slice(&ip[24..40]);
        transport = Some((ip[6], header + 40));
    }
    if let Some((TCP | UDP, at)) = transport
        && let Some([a, b, c, d]) = get(packet, at)
    {
        (ends[0].1, ends[1].1) = ([a, b], [c, d]);
    }
    ends.sort_unstable();
    let hash = keys.hash_one((protocol, transport.map(|(protocol, _)| protocol), ends)) as u32;
    // 0 says that there is none.
    hash.max(1)
}

//! Dynptrs of memory and of packets.

use hitless::Engine;
use hitless::context::{SkBuff, SocketFilter};

use crate::both::{Both, Here};

const PACKET: [u8; 64] = [0; 64];

/// A packet of IPv4, whose bytes differ.
fn packet() -> Vec<u8> {
    let mut packet: Vec<u8> = (0..100).collect();
    packet[12..14].copy_from_slice(&[8, 0]);
    packet
}

#[test]
fn parts_of_dynptrs() {
    let Some(mut both) = Both::load("helpers_dynptr") else {
        return;
    };
    let edges = [0, 1, 16, 100, 128, 129, u32::MAX];
    for (a, b) in edges.iter().flat_map(|a| edges.iter().map(move |b| (*a, *b))) {
        for (c, d) in [(0, 0), (0, 1), (1, 17), (16, 112), (1, 0), (0, 128)] {
            both.agree_tc("adjust", &PACKET, [a, b, c, d, 0]);
        }
    }
    both.agree_tc("adjust", &PACKET, [0, 1, 0, 1, 1]);
}

#[test]
fn packets_of_the_network_stack() {
    let Some(mut both) = Both::load("helpers_dynptr") else {
        return;
    };
    for offset in [0, 1, 16, 40, 60, 92, 96, 97, 100, 101, u32::MAX] {
        for (len, flags) in [(0, 0), (1, 0), (8, 0x10), (40, 0x20), (64, 0x40), (8, 1)] {
            for (start, end) in [(0, 100), (4, 80), (50, 50), (30, 20), (0, 101)] {
                both.agree_tc("packet", &packet(), [offset, len, flags, start, end]);
            }
        }
    }
    both.agree_tc("shortened", &packet(), [0; 5]);
}

#[test]
fn packets_of_xdp() {
    let Some(mut both) = Both::load("helpers_dynptr") else {
        return;
    };
    for offset in [0u32, 1, 16, 40, 60, 92, 97, 100, 101, u32::MAX] {
        for (len, flags) in [(0u32, 0u64), (1, 0), (8, 1), (64, 0), (8, 0x100)] {
            for (start, end) in [(0u32, 100u32), (4, 80), (30, 20)] {
                let mut packet = packet();
                packet[..4].copy_from_slice(&offset.to_ne_bytes());
                packet[4..8].copy_from_slice(&len.to_ne_bytes());
                packet[8..16].copy_from_slice(&flags.to_ne_bytes());
                packet[16..20].copy_from_slice(&start.to_ne_bytes());
                packet[20..24].copy_from_slice(&end.to_ne_bytes());
                both.agree("frame", &packet);
            }
        }
    }
    both.agree("shortened_frame", &PACKET);
}

#[test]
fn packets_that_may_only_be_read() {
    for engine in [Engine::Compiler, Engine::Interpreter] {
        let here = Here::load("helpers_dynptr", engine);
        let mut packet = packet();
        let mut skb = SkBuff::new(&mut packet);
        here.run_at::<SocketFilter>("observed", &mut skb);
        assert_eq!(here.look().answers()[..5], [0, 1, -22, 3, -22]);
    }
}

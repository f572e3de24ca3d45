//! Helpers for packets.

use crate::both::Both;

/// Numbers without a pattern, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A packet of this protocol, to the host, with bytes that tell where they came from.
fn packet(protocol: &[u8], header: &[u8], len: usize) -> Vec<u8> {
    let mut packet = vec![0, 0, 0, 0, 0, 0, 2, 3, 4, 5, 6, 7];
    packet.extend_from_slice(protocol);
    packet.extend_from_slice(header);
    let at = packet.len() as u8;
    packet.extend((0..len.saturating_sub(packet.len())).map(|i| at.wrapping_add(i as u8)));
    packet
}

fn packets() -> Vec<Vec<u8>> {
    let ipv4 = |tos: u8| {
        [
            0x45, tos, 0, 60, 0, 1, 0x40, 0, 64, 6, 0x26, 0xb7, 10, 0, 0, 1, 10, 0, 0, 2,
        ]
    };
    let ipv6 = |class: u8| [&[0x60 | class >> 4, class << 4, 0, 0, 0, 20, 17, 64][..], &[7; 32]].concat();
    vec![
        packet(&[8, 0], &ipv4(0), 74),
        packet(&[8, 0], &ipv4(1), 60),
        packet(&[8, 0], &ipv4(0xfe), 1400),
        packet(&[8, 0], &ipv4(3), 64),
        packet(&[0x12, 0x34], &[0x45], 20),
        packet(&[0x86, 0xdd], &ipv6(0), 90),
        packet(&[0x86, 0xdd], &ipv6(0xf2), 62),
        packet(&[0x81, 0], &[0x20, 5, 8, 0], 80),
        packet(&[0x81, 0], &[0x20, 5, 0x81, 0, 0x10, 7, 0x86, 0xdd], 80),
        packet(&[0x88, 0xa8], &[0x20, 5, 0, 40, 0xff, 0xff], 80),
        packet(&[0x81, 0], &[0x20, 5, 0, 40, 1, 1], 80),
        packet(&[8, 6], &[0, 1], 42),
        packet(&[0x12, 0x34], &[], 14),
    ]
}

const EDGES: [u32; 32] = [
    0,
    1,
    2,
    3,
    4,
    7,
    12,
    13,
    14,
    15,
    20,
    24,
    34,
    40,
    42,
    50,
    60,
    63,
    64,
    74,
    90,
    200,
    1000,
    4000,
    16064,
    16065,
    0xfff,
    0x1000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0xffff_ffff,
];

/// The third argument of each step: flags.
const FLAGS: [&[u32]; 16] = [
    &[0],
    &[0, 1, 2],
    &[0, 1, 2, 3, 4],
    &[0, 2, 4, 4, 1, 3, 0x10, 0x100],
    &[0, 2, 4, 4, 1, 3, 0x10, 0x14, 0x22, 0x20, 0x64, 0x34, 0x84, 0x94, 0x100],
    &[0],
    &[0],
    &[0],
    &[0, 0, 0, 1],
    &[0, 0, 0, 1],
    &[0],
    &[0],
    &[0],
    &[
        0,
        0,
        0,
        1,
        2,
        4,
        6,
        8,
        0xa,
        0x12,
        0x1a,
        0x20,
        0x24,
        0x42,
        0x80,
        0x100,
        0x180,
        0x0e00_0042,
        0x0500_0042,
        0x1500_0002,
    ],
    &[0],
    &[0],
];

#[test]
fn one_step() {
    let Some(mut both) = Both::load("helpers_skb") else {
        return;
    };
    let mut random = Random(3);
    let packets = packets();
    let less = [-1i32, -2, -4, -14, -20, -40, -60, -4095, -4096].map(i32::cast_unsigned);
    for turn in 0..4000 {
        let what = turn % 16;
        let first = match what {
            5 => random.pick(&[0x81, 0xa888, 8, 0]),
            13 if random.below(2) == 0 => random.pick(&less),
            _ => random.pick(&EDGES),
        };
        let second = random.pick(&EDGES);
        let third = random.pick(FLAGS[what as usize]);
        let packet = &packets[random.below(packets.len())];
        both.agree_tc("one", packet, [what, first, second, third, 0]);
    }
}

#[test]
fn several_steps() {
    let Some(mut both) = Both::load("helpers_skb") else {
        return;
    };
    let mut random = Random(5);
    let packets = packets();
    let steps = [0u32, 1, 2, 5, 5, 6, 6, 8, 9, 13, 13, 15];
    for _ in 0..2500 {
        let turns = [0; 3].map(|_| random.pick(&steps));
        // Of a packet without a network header, what lies behind it would get into it in Linux.
        let turns = if turns.contains(&8) {
            turns.map(|what| what % 13)
        } else {
            turns
        };
        // Once Linux has had to make room for a packet, it does not know any more how short it may become.
        let much = if turns.contains(&8) { 5 } else { 11 };
        let first = random.pick(&[0u32, 4, 8, 14, 20, 40, 60, 64, 100, 0x81, 0xa888][..much]);
        let what = turns[0] | turns[1] << 4 | turns[2] << 8;
        let second = random.pick(&[0u32, 1, 5, 20, 0x2005]);
        let third = random.pick(&[0u32, 0, 0, 1, 2, 4]);
        let packet = &packets[random.below(packets.len())];
        both.agree_tc("several", packet, [what, first, second, third, 0]);
    }
}

#[test]
fn packets_of_xdp_move() {
    let Some(mut both) = Both::load("helpers_xdp") else {
        return;
    };
    let mut random = Random(11);
    let by = [
        0i32,
        1,
        2,
        3,
        4,
        8,
        14,
        20,
        32,
        64,
        128,
        216,
        217,
        252,
        255,
        256,
        257,
        1000,
        3000,
        3440,
        3441,
        3520,
        0x1_0000,
        -1,
        -4,
        -8,
        -14,
        -32,
        -50,
        -64,
        -128,
        -215,
        -216,
        -217,
        -256,
        -252,
        -255,
        -2000,
        i32::MIN,
    ];
    for _ in 0..3000 {
        let mut packet = Vec::new();
        for _ in 0..4 {
            packet.extend_from_slice(&(random.below(6) as u32).to_ne_bytes());
            packet.extend_from_slice(&random.pick(&by).to_ne_bytes());
        }
        packet.extend(0..random.pick(&[8u8, 14, 32, 48, 200]));
        both.agree("steps", &packet);
    }
}

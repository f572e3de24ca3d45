//! Tables of cases.

use std::ops::Range;

use super::case::{Case, Room, bytes, named};

/// What is the same for all packets, whatever the context.
pub fn packet_cases() -> Vec<(String, Case)> {
    let mut cases = Vec::new();
    let packet = || Case::packet(bytes(64));
    for len in [
        0, 1, 13, 14, 15, 16, 33, 34, 64, 1500, 3391, 3392, 3393, 3520, 3521, 3648, 3649, 3712, 3713, 3776, 3777, 3840,
        4096,
    ] {
        cases.push(named(format!("{len} bytes"), Case::packet(bytes(len))));
    }
    for room in [
        Room::None,
        Room::Bytes(0),
        Room::Bytes(1),
        Room::Bytes(63),
        Room::Bytes(64),
        Room::Bytes(65),
    ] {
        cases.push(named(
            format!("data_out {room:?}"),
            Case {
                data_out: room,
                ..packet()
            },
        ));
        let both = Case {
            data_out: room,
            ctx_out: Room::Any,
            ..packet()
        };
        cases.push(named(format!("data_out {room:?} with ctx_out"), both));
    }
    for (repeat, cpu, batch_size, flags) in [
        (1, 0, 0, 0),
        (2, 0, 0, 0),
        (1000, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 0, 1, 0),
        (0, 0, 0, 1),
        (0, 0, 0, 8),
        (0, 0, 0, 1 << 31),
    ] {
        let case = Case {
            repeat,
            cpu,
            batch_size,
            flags,
            ..packet()
        };
        cases.push(named(
            format!("repeat {repeat} cpu {cpu} batch_size {batch_size} flags {flags}"),
            case,
        ));
    }
    cases
}

/// Contexts of any size, and room for them.
pub fn context_cases(size: usize, ctx: &[u8]) -> Vec<(String, Case)> {
    let mut cases = Vec::new();
    for len in [1, 4, 8, size - 1, size, size + 1, 2 * size, 4096, 4097, 8192] {
        let mut given = ctx.to_vec();
        given.resize(len, 0);
        cases.push(named(format!("ctx_in of {len}"), Case::with_context(given.clone())));
        if len > size {
            given[len - 1] = 1;
            cases.push(named(format!("ctx_in of {len} with a tail"), Case::with_context(given)));
        }
    }
    for bytes in [1, 8, size - 1, size, size + 1] {
        let room = Case {
            ctx_out: Room::Bytes(bytes),
            ..Case::with_context(ctx.to_vec())
        };
        cases.push(named(format!("ctx_out of {bytes}"), room.clone()));
        cases.push(named(
            format!("ctx_out of {bytes} without ctx_in"),
            Case {
                ctx_in: None,
                ..room.clone()
            },
        ));
        cases.push(named(
            format!("ctx_out of {bytes}, data_out of 8"),
            Case {
                data_out: Room::Bytes(8),
                ..room
            },
        ));
    }
    cases.push(named(
        "no ctx_out",
        Case {
            ctx_out: Room::None,
            ..Case::with_context(ctx.to_vec())
        },
    ));
    cases
}

/// Each byte of a context set, but for those that name devices.
pub fn field_cases(ctx: &[u8], devices: Range<usize>) -> Vec<(String, Case)> {
    let mut cases = Vec::new();
    for at in (0..ctx.len()).filter(|at| !devices.contains(at)) {
        for value in [1, 0x40, 0x80, 0xff] {
            let mut given = ctx.to_vec();
            given[at] = value;
            cases.push(named(
                format!("byte {at} of the context is {value}"),
                Case::with_context(given),
            ));
        }
    }
    cases
}

/// Packets of protocols that are looked into.
pub fn protocol_cases() -> Vec<(String, Case)> {
    let mut cases = Vec::new();
    for protocol in [
        0x0000u16, 0x0042, 0x05ff, 0x0600, 0x0800, 0x86dd, 0x0806, 0x8100, 0xffff,
    ] {
        for to in [[0; 6], [0xff; 6], [1, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 1]] {
            for (len, first) in [
                (14, 0),
                (15, 0xff),
                (16, 0xff),
                (33, 0x45),
                (34, 0x45),
                (53, 0x60),
                (54, 0x60),
                (64, 0xff),
            ] {
                let mut packet = bytes(len);
                packet[..6].copy_from_slice(&to);
                packet[12..14].copy_from_slice(&protocol.to_be_bytes());
                packet[14..len.min(16)].fill(first);
                let case = Case {
                    ctx_out: Room::Any,
                    ..Case::packet(packet)
                };
                cases.push(named(
                    format!("protocol {protocol:#x} to {to:x?}, {len} bytes, {first:#x}"),
                    case,
                ));
            }
        }
    }
    cases
}

//! Programs run by themselves on hitless and on the running kernel: the same errno, results, sizes, packets and contexts.
//!
//! Needs `bpf(2)` for the kernel's side, and says that it skips without. Left out is what is about the devices of the host:
//! * interfaces other than the loopback one (index 1): the kernel refuses those that it does not have, with `-ENODEV`; here an
//!   index may be any number;
//! * `xdp_md.ingress_ifindex`, and the queue with it: the kernel wants a device that has registered its receive queues;
//! * `BPF_F_TEST_XDP_LIVE_FRAMES`, which sends frames through devices;
//! * frames in several pieces, which the kernel makes of bytes behind `xdp_md.data_end` and of more than fits in a page: frames
//!   of hitless are in one piece, and it refuses the others with `-EINVAL`, as is checked instead;
//! * for raw tracepoints, processors: slots stand for them.
#![cfg(not(hitless_model))]

#[path = "common/bpf.rs"]
mod bpf;
#[path = "test_run_kernel/case.rs"]
mod case;
#[path = "test_run_kernel/cases.rs"]
mod cases;
#[path = "test_run_kernel/comparison.rs"]
mod comparison;
#[path = "test_run_kernel/kernel.rs"]
mod kernel;

use std::ops::Range;

use case::{Case, Kind, Room, bytes, context, named};
use cases::{context_cases, field_cases, packet_cases, protocol_cases};
use comparison::Comparison;

/// Counts its runs in what stays between them, and tells how long the packet is.
const COUNT_SKB: &str = "\
r2 = *(u32 *)(r1 +48)
r2 += 1
*(u32 *)(r1 +48) = r2
r0 = *(u32 *)(r1 +0)
r0 <<= 16
r0 += r2
exit";

/// `ingress_ifindex` and `ifindex`.
const SKB_DEVICES: Range<usize> = 36..44;

#[test]
fn packets_of_the_network_stack() {
    let Some(mut comparison) = Comparison::new() else {
        return;
    };
    for kind in [Kind::Socket, Kind::Tc] {
        comparison.compare(kind, COUNT_SKB, &packet_cases());
        comparison.compare(
            kind,
            COUNT_SKB,
            &context_cases(192, &context(192, &[(8, 5), (48, 9), (40, 1)])),
        );
        comparison.compare(kind, COUNT_SKB, &field_cases(&[0; 192], SKB_DEVICES));
    }
    for kind in [Kind::CgroupIngress, Kind::CgroupEgress] {
        comparison.compare(kind, "r0 = 1\nexit", &packet_cases());
        comparison.compare(kind, "r0 = 1\nexit", &field_cases(&[0; 192], SKB_DEVICES));
    }
    // What programs read of what may be set.
    for field in [8, 32, 36, 40, 48, 64, 152, 160, 164, 176, 184] {
        let text = match field {
            // Times are read as a whole.
            152 | 184 => format!("r0 = *(u64 *)(r1 +{field})\nr2 = r0\nr2 >>= 32\nr0 ^= r2\nexit"),
            _ => format!("r0 = *(u32 *)(r1 +{field})\nexit"),
        };
        comparison.compare(Kind::Tc, &text, &field_cases(&context(192, &[(40, 1)]), SKB_DEVICES));
    }
    comparison.finish();
}

#[test]
fn what_is_known_of_a_packet() {
    let Some(mut comparison) = Comparison::new() else {
        return;
    };
    // len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority, ingress_ifindex, ifindex,
    // tc_index, hash, tc_classid, napi_id, gso_segs, gso_size; family and addresses.
    for field in [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 68, 164, 176] {
        let text = format!("r0 = *(u32 *)(r1 +{field})\nexit");
        for kind in [Kind::Socket, Kind::Tc] {
            comparison.compare(kind, &text, &protocol_cases());
        }
    }
    for field in [72, 84, 160] {
        let text = format!("r0 = *(u32 *)(r1 +{field})\nexit");
        comparison.compare(Kind::Tc, &text, &protocol_cases());
    }
    comparison.finish();
}

/// Tells how much metadata there is, and how long the packet is.
const MEASURE_XDP: &str = "\
r0 = *(u32 *)(r1 +0)
r2 = *(u32 *)(r1 +8)
r3 = *(u32 *)(r1 +4)
r3 -= r0
r0 -= r2
r0 <<= 16
r0 += r3
exit";

/// Moves a boundary of the packet (helper, bytes), and returns what the helper did.
fn move_xdp(helper: &str, by: i32) -> String {
    format!("r2 = {by}\ncall {helper}\nexit")
}

#[test]
fn frames() {
    let Some(mut comparison) = Comparison::new() else {
        return;
    };
    comparison.compare(Kind::Xdp, MEASURE_XDP, &packet_cases());
    let plain = context(24, &[(4, 64)]);
    comparison.compare(Kind::Xdp, MEASURE_XDP, &context_cases(24, &plain));
    comparison.compare(
        Kind::Xdp,
        MEASURE_XDP,
        &context_cases(24, &context(24, &[(0, 8), (4, 64)])),
    );
    comparison.compare(Kind::Xdp, MEASURE_XDP, &field_cases(&plain, 12..16));
    let mut cases = Vec::new();
    for len in [64, 14, 300, 1500] {
        for data in [
            0, 1, 2, 4, 8, 28, 32, 36, 48, 49, 50, 52, 60, 64, 100, 212, 216, 220, 248, 252, 256, 300,
        ] {
            for end in [0, data, 63, 64, 65, len - 1, len, len + 1] {
                for meta in [0, 1, data] {
                    let ctx: Vec<u8> = [data, end, meta, 0, 0, 0]
                        .iter()
                        .flat_map(|word: &u32| word.to_ne_bytes())
                        .collect();
                    let case = Case {
                        data_in: bytes(len as usize),
                        ..Case::with_context(ctx)
                    };
                    cases.push(named(
                        format!("{len} bytes, data {data}, data_end {end}, data_meta {meta}"),
                        case,
                    ));
                }
            }
        }
    }
    for (len, data) in [(3520, 8), (3528, 8), (3529, 8), (3736, 216), (3737, 216)] {
        let ctx: Vec<u8> = [data, len, 0, 0, 0, 0]
            .iter()
            .flat_map(|word: &u32| word.to_ne_bytes())
            .collect();
        let case = Case {
            data_in: bytes(len as usize),
            ..Case::with_context(ctx)
        };
        cases.push(named(format!("{len} bytes, data {data}"), case));
    }
    comparison.compare(Kind::Xdp, MEASURE_XDP, &cases);
    let meta = context(24, &[(0, 8), (4, 64)]);
    let moved: Vec<_> = [0, 3]
        .iter()
        .flat_map(|&repeat| {
            [
                named(
                    "a packet",
                    Case {
                        repeat,
                        ..Case::packet(bytes(64))
                    },
                ),
                named(
                    "a packet with metadata",
                    Case {
                        repeat,
                        ..Case::with_context(meta.clone())
                    },
                ),
            ]
        })
        .collect();
    for helper in [
        "bpf_xdp_adjust_head#44",
        "bpf_xdp_adjust_meta#54",
        "bpf_xdp_adjust_tail#65",
    ] {
        for by in [
            0, 4, -4, 20, -20, -204, -208, -212, -216, -217, -220, -1000, 1000, 3000, 3456, 3457, 51, -50, -51,
        ] {
            comparison.compare(Kind::Xdp, &move_xdp(helper, by), &moved);
        }
    }
    for field in [12, 16] {
        comparison.compare(Kind::Xdp, &format!("r0 = *(u32 *)(r1 +{field})\nexit"), &moved);
    }
    comparison.finish();
}

#[test]
fn calls() {
    let Some(mut comparison) = Comparison::new() else {
        return;
    };
    let swap = "r2 = *(u32 *)(r1 +4)\n*(u32 *)(r1 +0) = r2\nr0 = 3\nexit";
    let call = |len| Case::call(bytes(len));
    let mut cases = Vec::new();
    for len in [0, 1, 4, 7, 8, 9, 64, 4096, 8192, 65535, 65536] {
        cases.push(named(format!("ctx_in of {len}"), call(len)));
    }
    cases.push(named(
        "no ctx_in",
        Case {
            ctx_in: None,
            ..call(0)
        },
    ));
    cases.push(named(
        "data_in",
        Case {
            data_in: bytes(64),
            ..call(8)
        },
    ));
    cases.push(named(
        "data_out",
        Case {
            data_out: Room::Any,
            ..call(8)
        },
    ));
    cases.push(named(
        "ctx_out",
        Case {
            ctx_out: Room::Any,
            ..call(8)
        },
    ));
    for (repeat, cpu, batch_size, flags) in [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 4)] {
        let case = Case {
            repeat,
            cpu,
            batch_size,
            flags,
            ..call(8)
        };
        cases.push(named(
            format!("repeat {repeat} cpu {cpu} batch_size {batch_size} flags {flags}"),
            case,
        ));
    }
    comparison.compare(Kind::Syscall, swap, &cases);
    comparison.compare(Kind::Syscall, "r0 = -1\nexit", &cases);
    comparison.finish();
}

#[test]
fn raw_tracepoints() {
    let Some(mut comparison) = Comparison::new() else {
        return;
    };
    let call = |len| Case {
        in_place: false,
        ..Case::call(bytes(len))
    };
    let mut cases = Vec::new();
    for len in [0, 1, 7, 8, 15, 16, 17, 96, 97, 104] {
        cases.push(named(format!("ctx_in of {len}"), call(len)));
    }
    cases.push(named(
        "data_in",
        Case {
            data_in: bytes(64),
            ..call(16)
        },
    ));
    cases.push(named(
        "data_out",
        Case {
            data_out: Room::Any,
            ..call(16)
        },
    ));
    cases.push(named(
        "ctx_out",
        Case {
            ctx_out: Room::Any,
            ..call(16)
        },
    ));
    for (repeat, cpu, batch_size, flags) in [
        (1, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 0, 1, 0),
        (0, 0, 0, 1),
        (0, 0, 0, 2),
        (0, 0, 0, 3),
        (0, 1 << 20, 0, 1),
        (0, u32::MAX, 0, 1),
    ] {
        let case = Case {
            repeat,
            cpu,
            batch_size,
            flags,
            ..call(16)
        };
        cases.push(named(
            format!("repeat {repeat} cpu {cpu} batch_size {batch_size} flags {flags}"),
            case,
        ));
    }
    comparison.compare(Kind::RawTracepoint, "r0 = *(u64 *)(r1 +8)\nexit", &cases);
    comparison.finish();
}

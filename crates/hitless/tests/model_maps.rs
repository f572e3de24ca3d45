//! Model check of ring buffers and of maps in maps: the runtime's own code under the interleavings that shuttle chooses. Each
//! rule taken out must be noticed, or the model would prove nothing.
//!
//! Built only with `RUSTFLAGS="--cfg hitless_model"`; `make model` does.
#![cfg(hitless_model)]

mod common;
#[path = "model/explore.rs"]
mod explore;

use std::sync::Arc;

use common::{Host, program, value, with};
use explore::Scenario;
use hitless::model::Fault;
use hitless::{MapDef, MapKind, Packet, UpdateFlags};
use hitless_object::{MapSpec, ObjectSpec};
use shuttle::thread;

/// An object with one map, and an XDP program.
fn object(map: MapSpec, text: &str) -> ObjectSpec {
    with(vec![map], vec![program("program", "xdp", text)])
}

/// Writes the packet's first eight bytes to a ring buffer.
const OUTPUT: &str = "
    r6 = *(u32 *)(r1 +0)
    r7 = *(u32 *)(r1 +4)
    r0 = 1
    r2 = r6
    r2 += 8
    if r2 > r7 goto out
    r3 = *(u64 *)(r6 +0)
    *(u64 *)(r10 -8) = r3
    r1 = map[idx:0]
    r2 = r10
    r2 += -8
    r3 = 8
    r4 = 0
    call bpf_ringbuf_output#130
    r0 = 2
out:
    exit
";

/// Two producers and a reader: each record arrives once, whole, and in its producer's order.
fn records_arrive() {
    let ring = MapSpec {
        name: "events".into(),
        map_type: 27,
        max_entries: 4096,
        ..MapSpec::default()
    };
    let host = Host::new(&object(ring, OUTPUT), Some(4));
    let producers: Vec<_> = (0..2u32)
        .map(|producer| {
            let hook = host.hook.clone();
            thread::spawn(move || {
                for n in 0..2u32 {
                    let mut data = [producer.to_ne_bytes(), n.to_ne_bytes()].concat();
                    hook.run(&mut Packet::new(&mut data)).expect("the program runs");
                }
            })
        })
        .collect();
    let mut seen = [0u32; 2];
    let mut each = |record: &[u8]| {
        let word = |at: usize| u32::from_ne_bytes(record[at..at + 4].try_into().expect("four bytes"));
        let (producer, n) = (word(0) as usize, word(4));
        assert_eq!(seen[producer], n, "a record is out of order, or torn");
        seen[producer] += 1;
    };
    host.map().read_records(10, &mut each).expect("records");
    for producer in producers {
        producer.join().expect("a producer ends");
    }
    host.map().read_records(10, &mut each).expect("records");
    assert_eq!(seen, [2, 2], "a record was lost");
}

/// Adds 1 to element 0 of the map that is element 0.
const ADD: &str = "
    r1 = 0
    *(u32 *)(r10 -4) = r1
    r1 = map[idx:0]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    r1 = r0
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
out:
    r0 = 2
    exit
";

/// When the host's call returns, no program uses the map that it has replaced.
fn replaced_maps_are_drained(map_type: u32) {
    let template = MapSpec {
        name: "outer.inner".into(),
        map_type: 1,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        ..MapSpec::default()
    };
    let outer = MapSpec {
        name: "outer".into(),
        map_type,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        inner: Some(Box::new(template)),
        ..MapSpec::default()
    };
    let host = Host::new(&object(outer, ADD), Some(4));
    let maps = [0, 1].map(|_| {
        let map = host
            .runtime
            .create_map(MapDef::new("inner", MapKind::Hash, 4, 8, 1))
            .expect("a map");
        map.update(&[0; 4], &[0; 8], UpdateFlags::ANY).expect("an insert");
        map
    });
    host.map()
        .insert_map(&[0; 4], &maps[0], UpdateFlags::ANY)
        .expect("it fits");
    let writer = {
        let hook = host.hook.clone();
        thread::spawn(move || {
            for _ in 0..2 {
                hook.run(&mut Packet::new(&mut [0; 16])).expect("the program runs");
            }
        })
    };
    host.map()
        .insert_map(&[0; 4], &maps[1], UpdateFlags::ANY)
        .expect("it fits");
    let drained = value(&maps[0], 0);
    writer.join().expect("the writer ends");
    assert_eq!(value(&maps[0], 0), drained, "a map that was replaced was written");
    assert_eq!(Arc::strong_count(&maps[0]), 1, "somebody holds it still");
    let all = value(&maps[0], 0).zip(value(&maps[1], 0)).map(|(old, new)| old + new);
    assert_eq!(all, Some(2), "an addition was lost");
}

fn in_arrays() {
    replaced_maps_are_drained(12);
}

fn in_hashes() {
    replaced_maps_are_drained(13);
}

const SCENARIOS: [Scenario; 3] = [
    ("records arrive", records_arrive, Fault::NoReserveLock),
    ("in arrays", in_arrays, Fault::NoRetireGrace),
    ("in hashes", in_hashes, Fault::NoRetireGrace),
];

#[test]
fn maps_lose_nothing_and_each_rule_is_needed() {
    explore::each_rule_is_needed(&SCENARIOS);
}

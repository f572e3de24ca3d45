//! Scenarios of map tracing: a mirror that tracers build, and what must not happen to it.

use std::io::Read;
use std::sync::Arc;

use hitless::{Hook, Map, MapDef, MapKind, Options, Packet, Runtime, UpdateFlags};
use hitless_object::MapSpec;
use shuttle::thread;

use super::common::{self, ARRAY, Command, HASH, Host, map, object, program, send, value, with};

/// Tracers that repeat every change on the second map.
const COPY: &str = "
    r2 = *(u64 *)(r1 +0)
    r3 = *(u64 *)(r1 +8)
    r1 = map[idx:1]
    r4 = 0
    call bpf_map_update_elem#2
    r0 = 0
    exit";
const FORGET: &str = "
    r2 = *(u64 *)(r1 +0)
    r1 = map[idx:1]
    call bpf_map_delete_elem#3
    r0 = 0
    exit";

/// Adds 1 to the values of keys 0 to 3, in one run.
const SPRAY: &str = "
    r6 = 0
next:
    *(u32 *)(r10 -4) = r6
    r1 = map[idx:0]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto skip
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
skip:
    r6 += 1
    if r6 < 4 goto next
    r0 = 2
    exit";

/// Adds 1 to the element of the map that is in the first one.
const INTO_INNER: &str = "
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
    exit";

fn runtime() -> Runtime {
    Runtime::new(Options {
        slots: Some(4),
        ..Options::default()
    })
}

fn run(hook: &Hook) {
    hook.run(&mut Packet::new(&mut [0; 16])).expect("the program runs");
}

/// A run whose list is full marks in a bitmap what it writes: nothing is missed, and it is traced before the run returns,
/// whoever takes the mark.
pub fn full_list() {
    let runtime = runtime();
    let spec = with(
        vec![map("state", 4), map("mirror", 8)],
        vec![
            program("spray", "xdp", SPRAY),
            program("copy", "map_trace/state/UPDATE_ELEM", COPY),
        ],
    );
    let object = runtime.load(&spec).expect("the object loads");
    let (state, mirror) = (Arc::clone(&object.maps()[0]), Arc::clone(&object.maps()[1]));
    for key in 0..4u32 {
        state
            .update(&key.to_ne_bytes(), &[0; 8], UpdateFlags::ANY)
            .expect("an update");
    }
    let hook = runtime.hook("xdp");
    let _links = (
        runtime.trace_map(&state, &object.programs()[1]).expect("attaches"),
        runtime.attach(&hook, &object.programs()[0]).expect("attaches"),
    );
    let spray = |hook: Hook, mirror: Arc<Map>| {
        move || {
            run(&hook);
            for key in 0..4 {
                assert!(value(&mirror, key) >= Some(1), "a run returned before it was traced");
            }
        }
    };
    let other = thread::spawn(spray(hook.clone(), Arc::clone(&mirror)));
    spray(hook, Arc::clone(&mirror))();
    other.join().expect("a run ends");
    assert_eq!(common::entries(&mirror), common::entries(&state));
}

/// An element is evicted under its own stripe: who sets its key again comes before or after.
pub fn eviction() {
    let mut spec = object(MapKind::LruHash.number(), 2);
    spec.maps.push(map("mirror", 16));
    for (name, event, text) in [
        ("copy", "UPDATE", COPY),
        ("forget", "DELETE", FORGET),
        ("evict", "EVICT", FORGET),
    ] {
        let section = format!("map_trace/state/{event}_ELEM");
        spec.programs.push(program(name, &section, text));
    }
    let host = Host::new(&spec, Some(4));
    let tracers = host.object.programs()[1..].iter();
    let _links: Vec<_> = tracers
        .map(|tracer| host.runtime.trace_map(host.map(), tracer).expect("attaches"))
        .collect();
    send(&host.hook, Command::Set(0, 1));
    send(&host.hook, Command::Set(1, 1));
    let setter = |keys: [u32; 2]| {
        let hook = host.hook.clone();
        thread::spawn(move || {
            for key in keys {
                send(&hook, Command::Set(key, 7));
            }
        })
    };
    for setter in [setter([0, 1]), setter([2, 0])] {
        setter.join().expect("a writer ends");
    }
    let mirror = &host.object.maps()[1];
    assert_eq!(
        common::entries(mirror),
        common::entries(host.map()),
        "the mirror differs"
    );
}

/// A traced map is put into a map of maps: who finds it there traces what he writes.
pub fn inner_map() {
    let array = MapSpec {
        map_type: ARRAY,
        ..map("outer.inner", 1)
    };
    let outer = MapSpec {
        name: "outer".into(),
        map_type: MapKind::ArrayOfMaps.number(),
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        inner: Some(Box::new(array)),
        ..MapSpec::default()
    };
    let spec = with(
        vec![outer, map("mirror", 8)],
        vec![
            program("writer", "xdp", INTO_INNER),
            program("copy", "map_trace/inner/UPDATE_ELEM", COPY),
        ],
    );
    let runtime = runtime();
    let object = runtime.load(&spec).expect("the object loads");
    let (outer, mirror) = (&object.maps()[0], &object.maps()[1]);
    let def = MapDef::new("inner", MapKind::Array, 4, 8, 1);
    let inner = runtime.create_map(def).expect("a map");
    let hook = runtime.hook("xdp");
    let _links = (
        runtime.trace_map(&inner, &object.programs()[1]).expect("attaches"),
        runtime.attach(&hook, &object.programs()[0]).expect("attaches"),
    );
    let runner = thread::spawn(move || (0..2).for_each(|_| run(&hook)));
    outer.insert_map(&[0; 4], &inner, UpdateFlags::ANY).expect("it fits");
    runner.join().expect("the runs end");
    let found = value(mirror, 0).unwrap_or(0);
    assert_eq!(found, value(&inner, 0).unwrap_or(0), "a change was missed");
}

/// Copies what an iterator shows to the second map.
const BULK_COPY: &str = "
    r2 = *(u64 *)(r1 +16)
    r3 = *(u64 *)(r1 +24)
    if r2 == 0 goto out
    if r3 == 0 goto out
    r1 = map[idx:1]
    r4 = 0
    call bpf_map_update_elem#2
out:
    r0 = 0
    exit";

/// Tracers and an iterator move a map: what the iterator copies neither overwrites what was changed since, nor brings back what
/// was deleted.
pub fn migration() {
    let mut spec = object(HASH, 8);
    spec.maps.push(map("mirror", 8));
    spec.programs.extend([
        program("copy", "map_trace/state/UPDATE_ELEM", COPY),
        program("forget", "map_trace/state/DELETE_ELEM", FORGET),
        program("bulk_copy", "iter/bpf_map_elem", BULK_COPY),
    ]);
    let host = Host::new(&spec, Some(4));
    send(&host.hook, Command::Set(0, 1));
    send(&host.hook, Command::Set(1, 1));
    let [_, copy, forget, bulk_copy] = host.object.programs() else {
        panic!("four programs");
    };
    let _links = [copy, forget].map(|tracer| host.runtime.trace_map(host.map(), tracer).expect("attaches"));
    let iterator = host.runtime.attach_map_iter(bulk_copy, host.map()).expect("attaches");
    let writer = {
        let hook = host.hook.clone();
        thread::spawn(move || {
            send(&hook, Command::Set(0, 2));
            send(&hook, Command::Delete(1));
        })
    };
    let mut walk = iterator.iter().expect("an iterator");
    while walk.read(&mut [0; 16]).expect("it is read") > 0 {}
    drop(walk);
    writer.join().expect("a writer ends");
    let mirror = &host.object.maps()[1];
    assert_eq!(
        common::entries(mirror),
        common::entries(host.map()),
        "the mirror differs"
    );
}

//! Map tracing: programs that run after each change of a map.

mod common;

use std::sync::Arc;
use std::thread;

use common::{Command, HASH, Host, committed, entries, map, object, program, send, value, with};
use hitless::{AttachError, Collection, Hook, LoadError, LoadOptions, Packet, Runtime, UpdateFlags, Xdp, XdpAction};

/// A packet for the `writer` of `trace_mirror`.
fn write(hook: &Hook, op: u8, key: u32, value: u64) -> XdpAction {
    let mut data = [0; 16];
    data[0] = op;
    data[4..8].copy_from_slice(&key.to_ne_bytes());
    data[8..16].copy_from_slice(&value.to_ne_bytes());
    hook.run(&mut Packet::new(&mut data)).expect("the program runs")
}

const UPDATE: u8 = 1;
const DELETE: u8 = 2;
const POKE: u8 = 3;
const ADD: u8 = 4;

struct Mirrored {
    runtime: Runtime,
    object: Collection,
    hook: Hook,
    links: Vec<hitless::Link>,
}

fn mirrored() -> Mirrored {
    let runtime = Runtime::default();
    let object = runtime.load(&committed("trace_mirror")).expect("the object loads");
    let hook = runtime.hook::<Xdp>("xdp");
    let source = object.map("source").unwrap();
    let links = vec![
        runtime.trace_map(source, object.program("on_update").unwrap()).unwrap(),
        runtime.trace_map(source, object.program("on_delete").unwrap()).unwrap(),
        runtime.attach(&hook, object.program("writer").unwrap()).unwrap(),
    ];
    Mirrored {
        runtime,
        object,
        hook,
        links,
    }
}

#[test]
fn every_kind_of_write_is_traced() {
    let Mirrored { object, hook, .. } = &mirrored();
    let (source, mirror) = (object.map("source").unwrap(), object.map("mirror").unwrap());
    assert_eq!(write(hook, UPDATE, 1, 10), XdpAction::Pass);
    assert_eq!(value(mirror, 1), Some(10));
    assert_eq!(write(hook, POKE, 1, 11), XdpAction::Pass);
    assert_eq!(value(mirror, 1), Some(11), "a store through a looked-up pointer");
    assert_eq!(write(hook, ADD, 1, 5), XdpAction::Pass);
    assert_eq!(value(mirror, 1), Some(16), "an atomic through a looked-up pointer");
    assert_eq!(write(hook, DELETE, 1, 0), XdpAction::Pass);
    assert_eq!(value(mirror, 1), None);
    source
        .update(&2u32.to_ne_bytes(), &20u64.to_ne_bytes(), UpdateFlags::ANY)
        .unwrap();
    assert_eq!(value(mirror, 2), Some(20), "an update from the host");
    source.delete(&2u32.to_ne_bytes()).unwrap();
    assert_eq!(value(mirror, 2), None, "a delete from the host");
}

#[test]
fn what_fails_is_not_traced() {
    let Mirrored { object, hook, .. } = &mirrored();
    let bss = object.map(".bss").unwrap();
    let traced = || {
        let value = bss.lookup(&[0; 4]).unwrap().unwrap();
        (
            u64::from_ne_bytes(value[0..8].try_into().unwrap()),
            u64::from_ne_bytes(value[8..16].try_into().unwrap()),
        )
    };
    write(hook, UPDATE, 1, 10);
    assert_eq!(traced(), (1, 0));
    assert_eq!(write(hook, DELETE, 9, 0), XdpAction::Drop);
    assert_eq!(write(hook, POKE, 9, 1), XdpAction::Drop);
    let source = object.map("source").unwrap();
    assert!(
        source
            .update(&1u32.to_ne_bytes(), &[0; 8], UpdateFlags::NOEXIST)
            .is_err()
    );
    assert_eq!(traced(), (1, 0));
}

#[test]
fn the_mirror_equals_the_map_after_a_storm() {
    let Mirrored { object, hook, .. } = &mirrored();
    thread::scope(|scope| {
        for thread in 0..4u32 {
            scope.spawn(move || {
                let mut random = thread + 1;
                for _ in 0..20_000 {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let op = 1 + (random >> 12) as u8 % 4;
                    write(hook, op, (random >> 16) % 40, u64::from(random));
                }
            });
        }
    });
    let (source, mirror) = (object.map("source").unwrap(), object.map("mirror").unwrap());
    assert!(!entries(source).is_empty());
    assert_eq!(entries(mirror), entries(source));
}

#[test]
fn programs_switch_to_the_traced_variant_and_back() {
    let Mirrored {
        runtime, object, links, ..
    } = mirrored();
    let writer = Arc::clone(object.program("writer").unwrap());
    let calls = [
        "bpf_map_trace_update_elem",
        "bpf_map_trace_delete_elem",
        "bpf_map_trace_register_pointer",
        "bpf_map_trace_pointer_update",
    ];
    assert!(writer.is_traced());
    for call in calls {
        assert!(
            writer.disassemble().contains(call),
            "{call} in\n{}",
            writer.disassemble()
        );
    }
    // A tracer writes the untraced map `mirror` only.
    assert!(!object.program("on_update").unwrap().is_traced());
    for link in links {
        link.detach().unwrap();
    }
    assert!(!writer.is_traced());
    assert!(!writer.disassemble().contains("bpf_map_trace"));
    // A program loaded while its map is traced begins with the traced variant.
    let source = object.map("source").unwrap();
    let _link = runtime.trace_map(source, object.program("on_update").unwrap()).unwrap();
    let options = LoadOptions::new().replace_map("source", source);
    let again = runtime.load_with(&committed("trace_mirror"), &options).unwrap();
    assert!(again.program("writer").unwrap().is_traced());
}

#[test]
fn a_detached_tracer_runs_no_more() {
    let Mirrored {
        object,
        hook,
        mut links,
        ..
    } = mirrored();
    write(&hook, UPDATE, 1, 1);
    drop(links.remove(0));
    write(&hook, UPDATE, 1, 2);
    assert_eq!(value(object.map("mirror").unwrap(), 1), Some(1));
    assert_eq!(value(object.map("source").unwrap(), 1), Some(2));
}

#[test]
fn loops_are_refused() {
    let runtime = Runtime::default();
    let object = runtime.load(&committed("trace_loop")).unwrap();
    let (a, b) = (object.map("a").unwrap(), object.map("b").unwrap());
    let (a_to_b, b_to_a) = (object.program("a_to_b").unwrap(), object.program("b_to_a").unwrap());
    let error = runtime.trace_map(a, b_to_a).unwrap_err();
    assert!(
        matches!(error, AttachError::Loop { .. }) && error.errno() == 22,
        "direct: {error}"
    );
    let link = runtime.trace_map(a, a_to_b).unwrap();
    let error = runtime.trace_map(b, b_to_a).unwrap_err();
    assert!(matches!(error, AttachError::Loop { .. }), "indirect: {error}");
    link.detach().unwrap();
    drop(
        runtime
            .trace_map(b, b_to_a)
            .expect("no loop once the other is detached"),
    );
}

#[test]
fn the_seventeenth_tracer_is_refused() {
    let runtime = Runtime::default();
    let object = runtime.load(&committed("trace_mirror")).unwrap();
    let (source, tracer) = (object.map("source").unwrap(), object.program("on_update").unwrap());
    let links: Vec<_> = (0..16).map(|_| runtime.trace_map(source, tracer).unwrap()).collect();
    let error = runtime.trace_map(source, tracer).unwrap_err();
    assert_eq!(error.errno(), 7, "{error}");
    drop(
        runtime
            .trace_map(source, object.program("on_delete").unwrap())
            .expect("another event has its own limit"),
    );
    drop(links);
}

#[test]
fn a_tracer_that_reads_past_the_value_is_refused_at_attach() {
    let reader = "
        r2 = *(u64 *)(r1 +8)
        r0 = *(u64 *)(r2 +8)
        r0 = 0
        exit";
    let runtime = Runtime::default();
    let object = runtime
        .load(&with(
            vec![map("m", 4)],
            vec![program("reader", "map_trace/m/UPDATE_ELEM", reader)],
        ))
        .expect("sizes are checked at attach");
    let error = runtime.trace_map(&object.maps()[0], &object.programs()[0]).unwrap_err();
    assert_eq!(error.errno(), 13);
    assert_eq!(
        error.to_string(),
        "program reader accesses 16 bytes of the value, but in map m it has 8"
    );
}

/// A full stack is accepted, tracing needs none of it; an overfull one is refused.
#[test]
fn tracing_takes_nothing_of_the_stack() {
    let full = |off: i32| {
        format!(
            "r1 = 0
            *(u64 *)(r10 {off}) = r1
            *(u32 *)(r10 -4) = r1
            *(u64 *)(r10 -16) = r1
            r1 = map[idx:0]
            r2 = r10
            r2 += -4
            r3 = r10
            r3 += -16
            r4 = 0
            call bpf_map_update_elem#2
            r0 = 2
            exit"
        )
    };
    let tracer = "r0 = 0\nexit";
    let maps = || vec![map("m", 4)];
    let programs = |off| {
        vec![
            program("full", "xdp", &full(off)),
            program("tracer", "map_trace/m/UPDATE_ELEM", tracer),
        ]
    };
    let runtime = Runtime::default();
    let object = runtime
        .load(&with(maps(), programs(-512)))
        .expect("512 bytes are accepted");
    let hook = runtime.hook::<Xdp>("xdp");
    let _links = (
        runtime.trace_map(&object.maps()[0], &object.programs()[1]).unwrap(),
        runtime.attach(&hook, &object.programs()[0]).unwrap(),
    );
    assert!(object.programs()[0].is_traced());
    assert_eq!(hook.run(&mut Packet::new(&mut [0; 14])), Ok(XdpAction::Pass));
    let error = runtime.load(&with(maps(), programs(-520))).unwrap_err();
    let LoadError::Rejected { source, .. } = error else {
        panic!("{error}")
    };
    assert!(
        source
            .to_string()
            .contains("invalid write to stack R10 off=-520 size=8"),
        "{source}"
    );
}

/// More elements in one run than its list holds: the map's bitmap takes over.
#[test]
fn a_run_may_write_more_elements_than_its_list_holds() {
    let spray = "
        r6 = 0
    next:
        *(u32 *)(r10 -4) = r6
        r1 = map[idx:0]
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem#1
        if r0 == 0 goto skip
        r1 = r6
        r1 += 1000
        *(u64 *)(r0 +0) = r1
    skip:
        r6 += 1
        if r6 < 200 goto next
        r0 = 2
        exit";
    let copy = "
        r2 = *(u64 *)(r1 +0)
        r3 = *(u64 *)(r1 +8)
        r4 = *(u32 *)(r2 +0)
        *(u32 *)(r10 -4) = r4
        r5 = *(u64 *)(r3 +0)
        *(u64 *)(r10 -16) = r5
        r1 = map[idx:1]
        r2 = r10
        r2 += -4
        r3 = r10
        r3 += -16
        r4 = 0
        call bpf_map_update_elem#2
        r0 = 0
        exit";
    let runtime = Runtime::default();
    let maps = vec![map("source", 300), map("mirror", 300)];
    let programs = vec![
        program("spray", "xdp", spray),
        program("copy", "map_trace/source/UPDATE_ELEM", copy),
    ];
    let object = runtime
        .load(&with(maps, programs))
        .unwrap_or_else(|error| panic!("{error:?}"));
    let (source, mirror) = (&object.maps()[0], &object.maps()[1]);
    for key in 0..200u32 {
        source.update(&key.to_ne_bytes(), &[0; 8], UpdateFlags::ANY).unwrap();
    }
    let hook = runtime.hook::<Xdp>("xdp");
    let _links = (
        runtime.trace_map(source, &object.programs()[1]).unwrap(),
        runtime.attach(&hook, &object.programs()[0]).unwrap(),
    );
    hook.run(&mut Packet::new(&mut [0; 14])).unwrap();
    assert_eq!(
        entries(mirror),
        (0..200).map(|key| (key, u64::from(key) + 1000)).collect::<Vec<_>>()
    );
}

/// More maps than entries fit: the one that fills the list becomes a single entry.
#[test]
fn a_full_list_takes_elements_of_another_map() {
    let spray = "
        r6 = 0
    next:
        *(u32 *)(r10 -4) = r6
        r1 = map[idx:0]
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem#1
        if r0 == 0 goto skip
        r1 = 1000
        *(u64 *)(r0 +0) = r1
    skip:
        r6 += 1
        if r6 < 40 goto next
        r1 = map[idx:1]
        r2 = r10
        r2 += -4
        r6 = 1
        *(u32 *)(r10 -4) = r6
        call bpf_map_lookup_elem#1
        if r0 == 0 goto out
        r1 = 2000
        *(u64 *)(r0 +0) = r1
    out:
        r0 = 2
        exit";
    let count = |map: u32| {
        format!(
            "r2 = 0
            *(u32 *)(r10 -4) = r2
            r1 = map[idx:{map}]
            r2 = r10
            r2 += -4
            call bpf_map_lookup_elem#1
            if r0 == 0 goto out
            r1 = 1
            lock *(u64 *)(r0 +0) += r1
        out:
            r0 = 0
            exit"
        )
    };
    let runtime = Runtime::default();
    let maps = vec![
        map("many", 64),
        map("few", 4),
        map("count_many", 1),
        map("count_few", 1),
    ];
    let programs = vec![
        program("spray", "xdp", spray),
        program("on_many", "map_trace/many/UPDATE_ELEM", &count(2)),
        program("on_few", "map_trace/few/UPDATE_ELEM", &count(3)),
    ];
    let object = runtime
        .load(&with(maps, programs))
        .unwrap_or_else(|error| panic!("{error:?}"));
    let [many, few, count_many, count_few] = object.maps() else {
        panic!("four maps")
    };
    for key in 0..40u32 {
        many.update(&key.to_ne_bytes(), &[0; 8], UpdateFlags::ANY).unwrap();
    }
    few.update(&1u32.to_ne_bytes(), &[0; 8], UpdateFlags::ANY).unwrap();
    for counter in [count_many, count_few] {
        counter.update(&0u32.to_ne_bytes(), &[0; 8], UpdateFlags::ANY).unwrap();
    }
    let hook = runtime.hook::<Xdp>("xdp");
    let _links = (
        runtime.trace_map(many, &object.programs()[1]).unwrap(),
        runtime.trace_map(few, &object.programs()[2]).unwrap(),
        runtime.attach(&hook, &object.programs()[0]).unwrap(),
    );
    hook.run(&mut Packet::new(&mut [0; 14])).unwrap();
    assert_eq!((value(count_many, 0), value(count_few, 0)), (Some(40), Some(1)));
    assert_eq!((many.lost_changes(), few.lost_changes()), (0, 0));
}

#[test]
fn what_belongs_to_another_runtime_is_refused() {
    let (one, other) = (Runtime::default(), Runtime::default());
    let (mine, theirs) = (
        one.load(&committed("trace_mirror")).unwrap(),
        other.load(&committed("trace_mirror")).unwrap(),
    );
    let (writer, tracer) = (mine.program("writer").unwrap(), mine.program("on_update").unwrap());
    let foreign = |error: AttachError| assert!(matches!(error, AttachError::OtherRuntime { .. }), "{error}");
    foreign(one.attach(&other.hook::<Xdp>("xdp"), writer).unwrap_err());
    foreign(other.attach(&other.hook::<Xdp>("xdp"), writer).unwrap_err());
    foreign(one.trace_map(theirs.map("source").unwrap(), tracer).unwrap_err());
    let options = LoadOptions::new().replace_map("source", theirs.map("source").unwrap());
    assert!(matches!(
        one.load_with(&committed("trace_mirror"), &options),
        Err(LoadError::OtherRuntime { .. })
    ));
    drop(
        one.attach(&one.hook::<Xdp>("xdp"), writer)
            .expect("what belongs together attaches"),
    );
}

/// A map's elements written by the commands program, without tracing: the numbers that the other tests rely on.
#[test]
fn untraced_programs_run_their_plain_variant() {
    let host = Host::new(&object(HASH, 8), None);
    send(&host.hook, Command::Set(1, 5));
    send(&host.hook, Command::Add(1, 6));
    send(&host.hook, Command::Add(2, 7));
    send(&host.hook, Command::Delete(2));
    assert_eq!(entries(host.map()), [(1, 11)]);
    assert!(!host.object.programs()[0].is_traced());
    assert!(!host.object.programs()[0].disassemble().contains("trace"));
}

//! The rules of map tracing, each by itself: what is refused, what is reported, how often, and what is switched when.

mod common;

use std::sync::{Arc, Barrier};
use std::thread;

use common::{ARRAY, committed, entries, map, program, with};
use hitless::{
    AttachError, Change, Changes, Collection, Hook, LinkTarget, Map, MapDef, MapError, MapHandle, MapKind, Options,
    Packet, Runtime, TraceEvent, UpdateFlags, Xdp, XdpAction,
};
use hitless_object::MapSpec;

const SLOTS: u32 = 4;

fn runtime() -> Runtime {
    Runtime::new(Options {
        slots: Some(SLOTS as usize),
        ..Options::default()
    })
}

fn made(runtime: &Runtime, kind: MapKind, max_entries: u32) -> MapHandle {
    let mut def = MapDef::new("m", kind, 4, 8, max_entries);
    if kind == MapKind::LpmTrie {
        def.key_size = 8;
        def.flags = hitless::MapFlags::NO_PREALLOC;
    }
    runtime.create_map(def).expect("a map")
}

fn put(map: &Map, key: u32, value: u64) {
    map.update(&key.to_ne_bytes(), &value.to_ne_bytes(), UpdateFlags::ANY)
        .expect("an update");
}

fn all(changes: &mut Changes) -> Vec<Change> {
    std::iter::from_fn(|| changes.next().expect("a change, or none")).collect()
}

/// Key and value of updates.
fn updates(changes: &mut Changes) -> Vec<(u32, u64)> {
    let pair = |change: Change| {
        assert_eq!(change.event, TraceEvent::UpdateElem);
        let key = u32::from_ne_bytes(change.key.try_into().expect("four bytes"));
        (key, u64::from_ne_bytes(change.value.try_into().expect("eight bytes")))
    };
    all(changes).into_iter().map(pair).collect()
}

fn run(hook: &Hook) {
    assert_eq!(hook.run(&mut Packet::new(&mut [0; 14])), Ok(XdpAction::Pass));
}

fn load(runtime: &Runtime, maps: Vec<MapSpec>, programs: Vec<hitless_object::ProgramSpec>) -> Collection {
    runtime
        .load(&with(maps, programs))
        .unwrap_or_else(|error| panic!("{error:?}"))
}

/// Stores `value` to the element that key 0 of map `index` has, `times` times.
fn stores(index: usize, value: u64, times: usize) -> String {
    let store = format!("r1 = {value}\n*(u64 *)(r0 +0) = r1\n").repeat(times);
    format!(
        "r1 = 0
         *(u32 *)(r10 -4) = r1
         r1 = map[idx:{index}]
         r2 = r10
         r2 += -4
         call bpf_map_lookup_elem#1
         if r0 == 0 goto out{index}
         {store}
    out{index}:"
    )
}

#[test]
fn only_maps_whose_elements_have_keys_and_values_are_traced() {
    let runtime = runtime();
    let tracer = program("t", "map_trace/m/UPDATE_ELEM", "r0 = 0\nexit");
    let object = load(&runtime, vec![], vec![tracer]);
    for (kind, value_size) in [
        (MapKind::Queue, 8),
        (MapKind::Stack, 8),
        (MapKind::BloomFilter, 8),
        (MapKind::Ringbuf, 0),
    ] {
        let entries = if kind == MapKind::Ringbuf { 4096 } else { 4 };
        let map = runtime
            .create_map(MapDef::new("q", kind, 0, value_size, entries))
            .expect("a map");
        let error = runtime.trace_map(&map, &object.programs()[0]).unwrap_err();
        assert!(
            matches!(error, AttachError::Untraceable { .. }) && error.errno() == 22,
            "{kind:?}"
        );
    }
    for kind in [
        MapKind::Hash,
        MapKind::Array,
        MapKind::PercpuHash,
        MapKind::PercpuArray,
        MapKind::LruHash,
        MapKind::LruPercpuHash,
        MapKind::LpmTrie,
    ] {
        let map = made(&runtime, kind, 4);
        drop(runtime.trace_map(&map, &object.programs()[0]).expect("attaches"));
    }
}

#[test]
fn a_link_says_what_it_attaches() {
    let runtime = runtime();
    let object = runtime.load(&committed("trace_mirror")).unwrap();
    let (source, tracer) = (object.map("source").unwrap(), object.program("on_update").unwrap());
    let link = runtime.trace_map(source, tracer).unwrap();
    let info = link.info().unwrap();
    assert_eq!(info.program_id, Some(tracer.id()));
    let (id, event) = (source.id(), Some(TraceEvent::UpdateElem));
    assert_eq!(info.target, LinkTarget::Map { id, event });
}

#[test]
fn a_link_is_updated_from_the_expected_program_to_one_of_the_same_kind() {
    let runtime = runtime();
    let one = runtime.load(&committed("trace_mirror")).unwrap();
    let options = hitless::LoadOptions::new().replace_map("source", one.map("source").unwrap());
    let two = runtime.load_with(&committed("trace_mirror"), &options).unwrap();
    let update = |object: &Collection| Arc::clone(object.program("on_update").unwrap());
    let source = one.map("source").unwrap();
    let link = runtime.trace_map(source, &update(&one)).unwrap();
    put(source, 1, 10);
    let error = link.update(&update(&two), Some(&update(&two))).unwrap_err();
    assert_eq!(error.errno(), 1, "{error}");
    let error = link.update(two.program("on_delete").unwrap(), None).unwrap_err();
    assert_eq!(error.errno(), 22, "{error}");
    let error = link.update(two.program("writer").unwrap(), None).unwrap_err();
    assert_eq!(error.errno(), 22, "{error}");
    link.update(&update(&two), Some(&update(&one))).unwrap();
    assert_eq!(link.info().unwrap().program_id, Some(update(&two).id()));
    put(source, 2, 20);
    assert_eq!(entries(one.map("mirror").unwrap()), [(1, 10)]);
    assert_eq!(entries(two.map("mirror").unwrap()), [(2, 20)]);
}

#[test]
fn a_link_is_not_updated_to_a_loop() {
    let runtime = runtime();
    let object = runtime.load(&committed("trace_loop")).unwrap();
    let (a, b) = (object.map("a").unwrap(), object.map("b").unwrap());
    let (a_to_b, b_to_a) = (object.program("a_to_b").unwrap(), object.program("b_to_a").unwrap());
    let nothing = load(
        &runtime,
        vec![],
        vec![program("n", "map_trace/b/UPDATE_ELEM", "r0 = 0\nexit")],
    );
    let _first = runtime.trace_map(a, a_to_b).unwrap();
    let second = runtime.trace_map(b, &nothing.programs()[0]).unwrap();
    let error = second.update(b_to_a, None).unwrap_err();
    assert!(
        matches!(error, AttachError::Loop { .. }) && error.errno() == 22,
        "{error}"
    );
    put(a, 0, 1);
}

#[test]
fn of_attachments_that_only_together_form_a_loop_one_fails() {
    for _ in 0..50 {
        let runtime = runtime();
        let object = runtime.load(&committed("trace_loop")).unwrap();
        let barrier = Barrier::new(2);
        let attach = |map: &str, program: &str| {
            barrier.wait();
            runtime.trace_map(object.map(map).unwrap(), object.program(program).unwrap())
        };
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(|| attach("a", "a_to_b"));
            let second = scope.spawn(|| attach("b", "b_to_a"));
            (first.join().unwrap(), second.join().unwrap())
        });
        assert_ne!(first.is_ok(), second.is_ok());
    }
}

#[test]
fn a_value_is_reported_once_however_often_it_was_written() {
    let runtime = runtime();
    let text = format!("{}\nr0 = 2\nexit", stores(0, 7, 5));
    let object = load(&runtime, vec![map("m", 4)], vec![program("p", "xdp", &text)]);
    put(&object.maps()[0], 0, 1);
    let hook = runtime.hook::<Xdp>("xdp");
    let _link = runtime.attach(&hook, &object.programs()[0]).unwrap();
    let mut changes = object.maps()[0].changes(1 << 16).unwrap();
    run(&hook);
    assert_eq!(updates(&mut changes), [(0, 7)]);
    assert_eq!(changes.missed(), 0);
}

/// More maps than the list of a run has entries: the bitmaps of the maps take over.
#[test]
fn no_list_of_a_run_is_ever_full() {
    const MAPS: usize = 48;
    let runtime = runtime();
    let text: String = (0..MAPS).map(|index| stores(index, 100 + index as u64, 1)).collect();
    let maps = (0..MAPS).map(|index| map(&format!("m{index}"), 2)).collect();
    let object = load(
        &runtime,
        maps,
        vec![program("p", "xdp", &format!("{text}\nr0 = 2\nexit"))],
    );
    for map in object.maps() {
        put(map, 0, 1);
    }
    let hook = runtime.hook::<Xdp>("xdp");
    let _link = runtime.attach(&hook, &object.programs()[0]).unwrap();
    let mut feeds: Vec<_> = object.maps().iter().map(|map| map.changes(4096).unwrap()).collect();
    run(&hook);
    for (value, feed) in (100..).zip(&mut feeds) {
        assert_eq!(updates(feed), [(0, value)]);
    }
    assert!(object.maps().iter().all(|map| map.lost_changes() == 0));
}

#[test]
fn an_update_of_all_slots_is_a_change_for_each() {
    for kind in [MapKind::PercpuHash, MapKind::PercpuArray, MapKind::LruPercpuHash] {
        let runtime = runtime();
        let map = made(&runtime, kind, 4);
        let mut changes = map.changes(1 << 16).unwrap();
        let values: Vec<u8> = (0..u64::from(SLOTS))
            .flat_map(|slot| (10 + slot).to_ne_bytes())
            .collect();
        map.update(&[0; 4], &values, UpdateFlags::ANY).unwrap();
        let found: Vec<_> = all(&mut changes)
            .into_iter()
            .map(|change| (change.slot, change.value))
            .collect();
        let expected = (0..SLOTS).map(|slot| (Some(slot), (10 + u64::from(slot)).to_ne_bytes().to_vec()));
        assert_eq!(found, expected.collect::<Vec<_>>(), "{kind:?}");
        map.update(&[0; 4], &[9; 8], UpdateFlags::slot(2)).unwrap();
        let found = all(&mut changes);
        assert_eq!(
            (found.len(), found[0].slot, &found[0].value[..]),
            (1, Some(2), &[9; 8][..])
        );
        map.update(&[0; 4], &[8; 8], UpdateFlags::ALL_CPUS).unwrap();
        assert_eq!(all(&mut changes).len(), SLOTS as usize);
    }
}

#[test]
fn elements_that_are_taken_out_and_batches_are_changes() {
    use TraceEvent::{DeleteElem, UpdateElem};
    let runtime = runtime();
    let map = made(&runtime, MapKind::Hash, 8);
    let mut changes = map.changes(1 << 16).unwrap();
    let mut events = || {
        all(&mut changes)
            .into_iter()
            .map(|change| change.event)
            .collect::<Vec<_>>()
    };
    let keys = [1u32, 2, 3].map(u32::to_ne_bytes);
    map.update_batch(keys.iter().map(|key| (&key[..], &[5u8; 8][..])), UpdateFlags::ANY)
        .unwrap();
    assert_eq!(events(), [UpdateElem; 3]);
    assert_eq!(map.lookup_and_delete(&keys[0]).unwrap(), Some(vec![5; 8]));
    assert_eq!(events(), [DeleteElem]);
    map.delete_batch([&keys[1][..]]).unwrap();
    assert_eq!(events(), [DeleteElem]);
    let mut cursor = hitless::BatchCursor::default();
    assert_eq!(map.lookup_and_delete_batch(&mut cursor, 8).unwrap().len(), 1);
    assert_eq!(events(), [DeleteElem]);
    // What failed is none.
    assert!(map.delete(&keys[0]).is_err());
    assert_eq!(map.lookup_and_delete(&keys[0]).unwrap(), None);
    assert!(events().is_empty());
}

#[test]
fn an_eviction_is_told_before_what_it_made_room_for() {
    let runtime = runtime();
    let map = made(&runtime, MapKind::LruHash, 16);
    let mut changes = map.changes(1 << 16).unwrap();
    let mut held = std::collections::BTreeSet::new();
    let mut evictions = 0;
    for key in 0..200 {
        put(&map, key, 1);
        for change in all(&mut changes) {
            match change.event {
                TraceEvent::EvictElem => {
                    assert!(held.remove(&change.key), "what was not there was evicted");
                    evictions += 1;
                }
                TraceEvent::UpdateElem => assert!(held.insert(change.key)),
                TraceEvent::DeleteElem => panic!("nothing was deleted"),
            }
        }
        assert!(held.len() <= 16);
    }
    assert!(evictions >= 184);
    let found: std::collections::BTreeSet<_> = map.iter().map(|entry| entry.unwrap().0).collect();
    assert_eq!(found, held);
}

#[test]
fn global_data_are_traced() {
    let runtime = runtime();
    let object = runtime.load(&committed("trace_mirror")).unwrap();
    let hook = runtime.hook::<Xdp>("xdp");
    let _link = runtime.attach(&hook, object.program("writer").unwrap()).unwrap();
    let mut changes = object.map(".bss").unwrap().changes(1 << 16).unwrap();
    let refused = object.global::<u64>("refused").unwrap();
    // A packet with no command, which the program counts.
    assert_eq!(hook.run(&mut Packet::new(&mut [0; 16])), Ok(XdpAction::Drop));
    refused.set(&7).unwrap();
    let found: Vec<_> = all(&mut changes).into_iter().map(|change| change.value).collect();
    assert_eq!(found.len(), 2);
    assert!(found[0].chunks(8).any(|word| word == 1u64.to_ne_bytes()));
    assert!(found[1].chunks(8).any(|word| word == 7u64.to_ne_bytes()));
}

/// What is written before a tail call is reported before the next program, and at its end what that has written.
#[test]
fn a_tail_call_is_an_exit() {
    let runtime = runtime();
    let first = format!(
        "r6 = r1\n{}\nr1 = r6\nr2 = map[idx:1]\nr3 = 0\ncall bpf_tail_call#12\nr0 = 1\nexit",
        stores(0, 7, 1)
    );
    let second = format!("{}\nr0 = 2\nexit", stores(0, 8, 1));
    let programs = MapSpec {
        name: "programs".into(),
        map_type: MapKind::ProgArray.number(),
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        ..MapSpec::default()
    };
    let object = load(
        &runtime,
        vec![map("m", 4), programs],
        vec![program("first", "xdp", &first), program("second", "xdp", &second)],
    );
    object.maps()[1].insert_program(0, &object.programs()[1]).unwrap();
    put(&object.maps()[0], 0, 1);
    let hook = runtime.hook::<Xdp>("xdp");
    let _link = runtime.attach(&hook, &object.programs()[0]).unwrap();
    let mut changes = object.maps()[0].changes(1 << 16).unwrap();
    run(&hook);
    assert_eq!(updates(&mut changes), [(0, 7), (0, 8)]);
}

/// An array of maps that programs find an array in, and one program that writes what it finds.
fn holder(runtime: &Runtime) -> (Collection, Hook) {
    let array = MapSpec {
        map_type: ARRAY,
        ..map("outer.inner", 1)
    };
    let outer = MapSpec {
        name: "outer".into(),
        map_type: MapKind::ArrayOfMaps.number(),
        key_size: 4,
        value_size: 4,
        max_entries: 2,
        inner: Some(Box::new(array)),
        ..MapSpec::default()
    };
    let text = "
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
        r0 = ";
    let programs = vec![
        program("writer", "xdp", &format!("{text}2\nexit")),
        program("tracer", "map_trace/m/UPDATE_ELEM", &format!("{text}0\nexit")),
    ];
    let object = load(runtime, vec![outer], programs);
    let hook = runtime.hook::<Xdp>("xdp");
    (object, hook)
}

#[test]
fn who_holds_a_map_of_maps_writes_every_map_in_it() {
    let runtime = runtime();
    let (object, hook) = holder(&runtime);
    let (outer, writer) = (&object.maps()[0], &object.programs()[0]);
    let _link = runtime.attach(&hook, writer).unwrap();
    let (first, second) = (made(&runtime, MapKind::Array, 1), made(&runtime, MapKind::Array, 1));
    outer.insert_map(&[0; 4], &first, UpdateFlags::ANY).unwrap();
    let mut of_first = first.changes(4096).unwrap();
    assert!(writer.is_traced(), "a map in there is traced");
    let mut of_outer = outer.changes(4096).unwrap();
    run(&hook);
    assert_eq!(updates(&mut of_first), [(0, 1)]);
    // A map that was traced before it is put in.
    drop(of_first);
    assert!(!writer.is_traced());
    let mut of_second = second.changes(4096).unwrap();
    assert!(!writer.is_traced());
    outer.insert_map(&[0; 4], &second, UpdateFlags::ANY).unwrap();
    assert!(writer.is_traced());
    run(&hook);
    assert_eq!(updates(&mut of_second), [(0, 1)]);
    // The value of a map of maps is the id of the map in it.
    let found = all(&mut of_outer);
    assert_eq!((found.len(), &found[0].value[..]), (1, &second.id().to_ne_bytes()[..]));
    outer.insert_map(&[0; 4], &first, UpdateFlags::ANY).unwrap();
    assert!(!writer.is_traced(), "no traced map is left in there");
}

#[test]
fn a_map_whose_tracer_writes_what_is_in_a_map_of_maps_is_not_put_there() {
    let runtime = runtime();
    let (object, _) = holder(&runtime);
    let (outer, tracer) = (&object.maps()[0], &object.programs()[1]);
    let inner = made(&runtime, MapKind::Array, 1);
    let link = runtime.trace_map(&inner, tracer).unwrap();
    let error = outer.insert_map(&[0; 4], &inner, UpdateFlags::ANY).unwrap_err();
    assert_eq!((error, error.errno()), (MapError::TraceLoop, 22));
    link.detach().unwrap();
    outer.insert_map(&[0; 4], &inner, UpdateFlags::ANY).unwrap();
    let error = runtime.trace_map(&inner, tracer).unwrap_err();
    assert!(matches!(error, AttachError::Loop { .. }), "{error}");
    outer.delete(&[0; 4]).unwrap();
    drop(
        runtime
            .trace_map(&inner, tracer)
            .expect("no loop once it was taken out"),
    );
}

#[test]
fn a_feed_counts_what_did_not_fit() {
    let runtime = runtime();
    let map = made(&runtime, MapKind::Hash, 8);
    let mut changes = map.changes(4096).unwrap();
    for value in 0..1000 {
        put(&map, 1, value);
    }
    let told = all(&mut changes);
    assert_eq!(told.len() as u64 + changes.missed(), 1000);
    assert!(changes.missed() > 0);
    assert_eq!(
        told.iter().map(|change| change.missed).sum::<u64>(),
        0,
        "what was missed came later"
    );
    put(&map, 1, 1);
    assert_eq!(all(&mut changes)[0].missed, changes.missed());
}

//! Maps and variables with Rust types: what is read is what was written, and what does not fit is refused by name.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::{ARRAY, HASH, committed, object};
use hitless::maps::{
    Array, BloomFilter, GetMapError, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerCpuHashMap, PerCpuValues, Prefix,
    Queue, RingBuf, Stack, TypedMap,
};
use hitless::{
    BatchCursor, Collection, Map, MapDef, MapError, MapFlags, MapHandle, MapKind, Object, OpenError, Options, Packet,
    Runtime, UpdateFlags, Value,
};

const PERCPU_HASH: u32 = 5;
const PERCPU_ARRAY: u32 = 6;
const LRU_HASH: u32 = 9;
const LRU_PERCPU_HASH: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Value)]
#[repr(C)]
struct FlowKey {
    saddr: [u32; 4],
    daddr: [u32; 4],
    sport: u16,
    dport: u16,
    proto: u8,
    pad: [u8; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
#[repr(C)]
struct FlowStats {
    packets: u32,
    bytes: u32,
}

fn flows() -> Collection {
    Object::from(committed("flows_v1"))
        .load(&Runtime::default())
        .expect("it loads")
}

fn key(n: u32) -> FlowKey {
    FlowKey {
        saddr: [n; 4],
        daddr: [2; 4],
        sport: 80,
        dport: 90,
        proto: 6,
        pad: [0; 3],
    }
}

fn refusal<M: hitless::maps::TypedMap>(object: &Collection, name: &str) -> String {
    match object.get::<M>(name) {
        Ok(_) => panic!("map {name} was given away"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_hash_gives_back_what_was_put_in() {
    let object = flows();
    let map: HashMap<FlowKey, FlowStats> = object.get("flows").unwrap();
    let stats = |n| FlowStats {
        packets: n,
        bytes: 64 * n,
    };
    for n in 0..100 {
        map.insert(&key(n), &stats(n), UpdateFlags::NOEXIST).unwrap();
    }
    assert_eq!(
        map.insert(&key(7), &stats(7), UpdateFlags::NOEXIST),
        Err(MapError::Exists)
    );
    assert_eq!(map.get(&key(7)), Ok(Some(stats(7))));
    assert_eq!(map.get(&key(100)), Ok(None));
    assert_eq!(map.remove(&key(7)), Ok(()));
    assert_eq!(map.remove(&key(7)), Err(MapError::NotFound));
    let found: BTreeMap<_, _> = map.iter().collect::<Result<_, _>>().unwrap();
    let expected: BTreeMap<_, _> = (0..100).filter(|n| *n != 7).map(|n| (key(n), stats(n))).collect();
    assert_eq!(found, expected);
}

#[test]
fn an_array_has_all_its_values() {
    let object = Object::from(object(ARRAY, 5)).load(&Runtime::default()).unwrap();
    let map: Array<u64> = object.get("state").unwrap();
    map.set(4, &7, UpdateFlags::ANY).unwrap();
    assert_eq!((map.len(), map.iter().len()), (5, 5));
    assert_eq!(map.iter().collect::<Result<Vec<_>, _>>().unwrap(), [0, 0, 0, 0, 7]);
    let beyond = MapError::IndexTooLarge {
        index: 5,
        max_entries: 5,
    };
    assert_eq!(
        (map.get(5), map.set(5, &0, UpdateFlags::ANY)),
        (Err(beyond), Err(beyond))
    );
}

fn of_type(map_type: u32, max_entries: u32) -> Collection {
    let mut spec = object(HASH, max_entries);
    spec.maps[0].map_type = map_type;
    let runtime = Runtime::new(Options {
        slots: Some(3),
        ..Options::default()
    });
    Object::from(spec).load(&runtime).expect("it loads")
}

#[test]
fn a_per_cpu_hash_has_a_value_for_each_slot() {
    for map_type in [PERCPU_HASH, LRU_PERCPU_HASH] {
        let object = of_type(map_type, 8);
        let map: PerCpuHashMap<u32, u64> = object.get("state").unwrap();
        let values = PerCpuValues::from(vec![1, 2, 3]);
        map.insert(&7, &values, UpdateFlags::NOEXIST).unwrap();
        map.insert_slot(&7, 1, &20, UpdateFlags::EXIST).unwrap();
        map.insert_slot(&8, 2, &5, UpdateFlags::ANY).unwrap();
        let found = map.get(&7).unwrap().unwrap();
        assert_eq!(
            (&*found, found.sum::<u64>(), found.max()),
            (&[1, 20, 3][..], 24, Some(20))
        );
        assert_eq!(map.get(&8).unwrap().unwrap()[..], [0, 0, 5]);
        let all: BTreeMap<_, _> = map.iter().collect::<Result<_, _>>().unwrap();
        let total = all.values().map(|values| values.sum::<u64>()).sum::<u64>();
        assert_eq!((all.len(), total), (2, 29));
        let two = PerCpuValues::from(vec![1, 2]);
        assert!(matches!(
            map.insert(&7, &two, UpdateFlags::ANY),
            Err(MapError::ValueSize { .. })
        ));
        let beyond = MapError::NoSlot { slot: 3, slots: 3 };
        assert_eq!(map.insert_slot(&7, 3, &1, UpdateFlags::ANY), Err(beyond));
        map.remove(&7).unwrap();
        assert_eq!(map.get(&7), Ok(None));
    }
}

#[test]
fn a_per_cpu_array_has_values_for_each_index() {
    let object = of_type(PERCPU_ARRAY, 2);
    let map: PerCpuArray<u64> = object.get("state").unwrap();
    map.set(1, &PerCpuValues::from(vec![1, 2, 3])).unwrap();
    map.set_slot(1, 0, &10).unwrap();
    let all: Vec<_> = map.iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(
        (map.len(), &all[0][..], &all[1][..]),
        (2, &[0, 0, 0][..], &[10, 2, 3][..])
    );
    assert!(matches!(map.get(2), Err(MapError::IndexTooLarge { .. })));
    assert_eq!(
        refusal::<PerCpuArray<[u64; 2]>>(&object, "state"),
        "map state: value size 8, expected 16"
    );
}

#[test]
fn an_lru_hash_is_a_hash() {
    let map: LruHashMap<u32, u64> = of_type(LRU_HASH, 4).get("state").unwrap();
    for n in 0..4 {
        map.insert(&n, &1, UpdateFlags::ANY).unwrap();
    }
    assert_eq!((map.iter().count(), map.get(&3)), (4, Ok(Some(1))));
}

fn made(kind: MapKind, key_size: u32, value_size: u32) -> MapHandle {
    let runtime = Runtime::default();
    let mut def = MapDef::new("made", kind, key_size, value_size, 3);
    if kind == MapKind::LpmTrie {
        def.flags = MapFlags::NO_PREALLOC;
    }
    runtime.create_map(def).unwrap()
}

#[test]
fn queues_and_stacks_differ_in_their_order() {
    let queue = Queue::<u64>::from_map(&made(MapKind::Queue, 0, 8)).unwrap();
    let stack = Stack::<u64>::from_map(&made(MapKind::Stack, 0, 8)).unwrap();
    for n in [1, 2, 3] {
        queue.push(&n, UpdateFlags::ANY).unwrap();
        stack.push(&n, UpdateFlags::ANY).unwrap();
    }
    assert_eq!(queue.push(&4, UpdateFlags::ANY), Err(MapError::Full { max_entries: 3 }));
    queue.push(&4, UpdateFlags::EXIST).unwrap();
    assert_eq!((queue.peek(), stack.peek()), (Ok(Some(2)), Ok(Some(3))));
    let rest = std::iter::from_fn(|| queue.pop().unwrap()).collect::<Vec<_>>();
    assert_eq!((rest, stack.pop()), (vec![2, 3, 4], Ok(Some(3))));
    let error = Queue::<u64>::from_map(&made(MapKind::Stack, 0, 8)).unwrap_err();
    assert_eq!(error.to_string(), "map made: type stack, expected queue");
}

#[test]
fn keys_are_taken_and_set_many_at_once() {
    let object = Object::from(object(HASH, 500)).load(&Runtime::default()).unwrap();
    let map: HashMap<u32, u64> = object.get("state").unwrap();
    let entries: Vec<(u32, u64)> = (0..500).map(|n| (n, 2 * u64::from(n))).collect();
    map.insert_batch(entries.iter().map(|(key, value)| (key, value)), UpdateFlags::ANY)
        .unwrap();
    assert_eq!((map.take(&7), map.take(&7)), (Ok(Some(14)), Ok(None)));
    let mut cursor = BatchCursor::default();
    let mut found = Vec::new();
    while !cursor.is_done() {
        found.extend(map.get_batch(&mut cursor, 64).unwrap());
    }
    found.sort_unstable();
    assert_eq!(found.len(), 499);
    assert!(
        found
            .iter()
            .all(|(key, value)| *value == 2 * u64::from(*key) && *key != 7)
    );
    map.remove_batch(&[1, 2, 3]).unwrap();
    let error = map.remove_batch(&[4, 7, 5]).unwrap_err();
    assert_eq!((error.done, error.source), (1, MapError::NotFound));
    let taken = map.take_batch(&mut BatchCursor::default(), usize::MAX).unwrap();
    assert_eq!((taken.len(), map.iter().count()), (495, 0));
}

/// Records of a program that runs on another thread, read as they come.
#[test]
fn records_of_programs_are_waited_for() {
    let runtime = Runtime::default();
    let object = Object::from(committed("helpers_maps")).load(&runtime).unwrap();
    let hook = runtime.hook::<hitless::Xdp>("xdp");
    let _link = runtime.attach(&hook, object.program("records").unwrap()).unwrap();
    let mut reader = object.get::<RingBuf>("ring").unwrap().reader().unwrap();
    // Four times: reserve a record of (turn, number), submit it if the number is even, else discard it.
    let mut packet = [0; 256];
    for (turn, number) in [2u32, 3, 4, 6].into_iter().enumerate() {
        packet[8 * turn..][..4].copy_from_slice(&1u32.to_ne_bytes());
        packet[8 * turn + 4..][..4].copy_from_slice(&number.to_ne_bytes());
    }
    let records: Vec<[u64; 2]> = std::thread::scope(|scope| {
        scope.spawn(|| hook.run(&mut Packet::new(&mut packet)).unwrap());
        let record = |_| reader.next_within(Duration::from_secs(60)).unwrap().expect("a record");
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap());
        let pair = |record: Box<[u8]>| [number(&record[..8]), number(&record[8..])];
        (0..3).map(record).map(pair).collect()
    });
    assert_eq!(records, [[0, 2], [2, 4], [3, 6]]);
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn a_bloom_filter_has_what_was_added() {
    let filter = BloomFilter::<[u32; 2]>::from_map(&made(MapKind::BloomFilter, 0, 8)).unwrap();
    filter.insert(&[1, 2]).unwrap();
    assert_eq!(filter.contains(&[1, 2]), Ok(true));
    let found = (0..100).filter(|n| filter.contains(&[9, *n]).unwrap()).count();
    assert!(found < 50, "{found} of 100 that were not added");
}

#[test]
fn a_trie_has_prefixes() {
    let routes = LpmTrie::<[u8; 4], u64>::from_map(&made(MapKind::LpmTrie, 8, 8)).unwrap();
    routes
        .insert(Prefix::new(8, [10, 0, 0, 0]), &1, UpdateFlags::NOEXIST)
        .unwrap();
    routes
        .insert(Prefix::new(24, [10, 1, 2, 0]), &2, UpdateFlags::NOEXIST)
        .unwrap();
    assert_eq!(routes.get(Prefix::whole([10, 1, 2, 3])), Ok(Some(2)));
    assert_eq!(routes.get(Prefix::new(16, [10, 1, 0, 0])), Ok(Some(1)));
    let all: BTreeMap<_, _> = routes.iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(all.into_values().collect::<Vec<_>>(), [1, 2]);
    routes.remove(Prefix::new(24, [10, 1, 2, 0])).unwrap();
    assert_eq!(routes.get(Prefix::whole([10, 1, 2, 3])), Ok(Some(1)));
    let error = LpmTrie::<[u8; 16], u64>::from_map(&made(MapKind::LpmTrie, 8, 8)).unwrap_err();
    assert_eq!(error.to_string(), "map made: key size 8, expected 20");
}

#[test]
fn a_walk_goes_on_while_elements_come_and_go() {
    let object = Object::from(object(HASH, 64)).load(&Runtime::default()).unwrap();
    let map: HashMap<u32, u64> = object.get("state").unwrap();
    for n in 0..64 {
        map.insert(&n, &1, UpdateFlags::ANY).unwrap();
    }
    let mut seen = 0;
    for entry in &map {
        let (key, value) = entry.unwrap();
        assert_eq!((value, key < 64), (1, true));
        map.remove(&key).unwrap();
        seen += 1;
    }
    assert_eq!((seen, map.iter().count()), (64, 0));
}

#[test]
fn what_a_map_does_not_hold_is_refused_by_name() {
    let object = flows();
    assert_eq!(
        refusal::<HashMap<FlowKey, [u64; 3]>>(&object, "flows"),
        "map flows: value size 8, expected 24"
    );
    assert_eq!(
        refusal::<HashMap<u64, FlowStats>>(&object, "flows"),
        "map flows: key size 40, expected 8"
    );
    assert_eq!(
        refusal::<Array<FlowStats>>(&object, "flows"),
        "map flows: type hash, expected array"
    );
    let error = object.get::<HashMap<FlowKey, FlowStats>>("flow").unwrap_err();
    assert!(matches!(&error, GetMapError::NotFound { known, .. } if known.contains(&"flows".to_owned())));
    assert!(
        error.to_string().starts_with("no map flow, expected one of: flows, "),
        "{error}"
    );
}

#[test]
fn fields_are_compared_where_there_is_btf() {
    #[derive(Clone, Copy, Value)]
    #[repr(C)]
    struct Swapped {
        bytes: u32,
        packets: u32,
    }
    #[derive(Clone, Copy, Value)]
    #[repr(C)]
    struct Wide {
        packets: u64,
    }
    #[derive(Clone, Copy, Value)]
    #[repr(C)]
    #[hitless(name = "any_name_will_do")]
    struct Partly {
        packets: u32,
        _bytes: u32,
    }
    let object = flows();
    assert_eq!(
        refusal::<HashMap<FlowKey, Swapped>>(&object, "flows"),
        "map flows: value field bytes: u32 at offset 4 (4 bytes), expected u32 at offset 0 (4 bytes)"
    );
    assert_eq!(
        refusal::<HashMap<FlowKey, Wide>>(&object, "flows"),
        "map flows: value field packets: u32 at offset 0 (4 bytes), expected u64 at offset 0 (8 bytes)"
    );
    let error = refusal::<HashMap<FlowKey, Partly>>(&object, "flows");
    assert_eq!(
        error,
        "map flows: value field bytes: u32 at offset 4 (4 bytes), expected none"
    );
    // As bytes a value may always be read.
    object.get::<HashMap<[u8; 40], [u8; 8]>>("flows").unwrap();
}

#[test]
fn a_map_without_types_is_known_by_its_sizes() {
    let object = Object::from(object(HASH, 4)).load(&Runtime::default()).unwrap();
    object.get::<HashMap<u32, FlowStats>>("state").unwrap();
    let untyped: Arc<Map> = object.get("state").unwrap();
    assert_eq!(untyped.def().value_size, 8);
}

#[test]
fn variables_are_set_before_and_after_loading() {
    let mut object = Object::from(committed("flows_v1"));
    object.set_global("failed_packets", 3u64).unwrap();
    let error = object.set_global("packets_seen", 5u32).unwrap_err();
    assert_eq!(error.to_string(), "variable packets_seen: size 8, expected 4");
    let loaded = object.load(&Runtime::default()).unwrap();
    let failed = loaded.global::<u64>("failed_packets").unwrap();
    let seen = loaded.global::<u64>("packets_seen").unwrap();
    assert_eq!((failed.get(), seen.get()), (Ok(3), Ok(0)));
    seen.set(&(1 << 40)).unwrap();
    assert_eq!((failed.get(), seen.get()), (Ok(3), Ok(1 << 40)), "neighbours stay");
    let error = loaded.global::<u32>("packets_seen").unwrap_err();
    assert_eq!(error.to_string(), "variable packets_seen: size 8, expected 4");
    let error = loaded.global::<u64>("packets").unwrap_err();
    assert!(
        error.to_string().starts_with("no variable packets, expected one of: "),
        "{error}"
    );
}

#[test]
fn an_object_is_changed_before_it_is_loaded() {
    let runtime = Runtime::default();
    let mut object = Object::from(committed("flows_v1"));
    object
        .set_max_entries("flows", 8)
        .unwrap()
        .set_autoload("count_flows", false)
        .unwrap();
    let first = object.load(&runtime).unwrap();
    assert_eq!(first.map("flows").unwrap().def().max_entries, 8);
    assert!(first.programs().is_empty());

    object.set_autoload("count_flows", true).unwrap();
    object.replace_map("flows", first.map("flows").unwrap()).unwrap();
    let second = object.load(&runtime).unwrap();
    assert_eq!(second.map("flows").unwrap().id(), first.map("flows").unwrap().id());
    assert!(second.program("count_flows").is_some());

    let error = object.set_max_entries("flaws", 8).unwrap_err();
    assert!(
        error.to_string().starts_with("no map flaws, expected one of: flows"),
        "{error}"
    );
    let error = object.set_autoload("count", false).unwrap_err();
    assert_eq!(error.to_string(), "no program count, expected one of: count_flows");
}

#[test]
fn what_is_no_object_is_not_opened() {
    let error = Object::open("does/not/exist.bpf.o").unwrap_err();
    assert_eq!(error.to_string(), "cannot read does/not/exist.bpf.o");
    assert!(matches!(
        Object::from_bytes(b"text"),
        Err(OpenError::Parse { path: None, .. })
    ));
}

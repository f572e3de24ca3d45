//! Maps through the host's calls: the kernel's results and errno, alone and under concurrency.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use hitless::MapKind;
use hitless::{MapCreateError, MapDef, MapError, MapFlags, MapHandle, MemoryLimit, Options, Runtime, UpdateFlags};
use proptest::prelude::*;

fn def(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapDef {
    MapDef::new("m", kind, key_size, value_size, max_entries)
}

fn map(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapHandle {
    Runtime::default()
        .create_map(def(kind, key_size, value_size, max_entries))
        .expect("a map")
}

#[derive(Clone, Debug)]
enum Call {
    Update(u8, u8, u64),
    Delete(u8),
    Lookup(u8),
}

/// Calls on twice as many keys as the map takes, mostly insertions at first, so that it gets full.
fn calls(entries: u8) -> impl Strategy<Value = Vec<Call>> {
    let keys = entries + entries / 2;
    let call = move || {
        prop_oneof![
            4 => (0..keys, any::<u8>(), 0..4u64).prop_map(|(key, value, flags)| Call::Update(key, value, flags)),
            2 => (0..keys).prop_map(Call::Delete),
            2 => (0..keys).prop_map(Call::Lookup),
        ]
    };
    prop::collection::vec(call(), 1..8 * usize::from(entries))
}

fn errno<T>(result: &Result<T, MapError>) -> i32 {
    result.as_ref().map_or_else(MapError::errno, |_| 0)
}

const ENOENT: i32 = 2;
const E2BIG: i32 = 7;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;

/// Key and value sizes that lead to each layout and each way of reading a key.
const SIZES: [(u32, u32); 9] = [
    (4, 8),
    (8, 8),
    (3, 5),
    (6, 4),
    (1, 1),
    (4, 64),
    (8, 9),
    (16, 64),
    (512, 1),
];

proptest! {
    /// A hash map behaves as one whose state is written down.
    #[test]
    fn a_hash_behaves_as_its_model(
        (entries, calls) in prop_oneof![Just(1u8), Just(8), Just(100)].prop_flat_map(|n| (Just(n), calls(n))),
        (key_size, value_size) in prop::sample::select(&SIZES[..]),
        kind in prop_oneof![Just(MapKind::Hash), Just(MapKind::PercpuHash)],
    ) {
        let map = map(kind, key_size, value_size, entries.into());
        let key_bytes = |key: u8| { let mut bytes = vec![0; key_size as usize]; bytes[key_size as usize - 1] = key; bytes };
        let value_bytes = |value: u8| vec![value; value_size as usize];
        let slot_3 = if kind == MapKind::PercpuHash { UpdateFlags::slot(3).bits() } else { 0 };
        let lookup = |key: u8| match kind {
            MapKind::PercpuHash => map.lookup_slot(&key_bytes(key), 3),
            _ => map.lookup(&key_bytes(key)),
        };
        let mut model = HashMap::new();
        for call in calls {
            match call {
                Call::Update(key, value, flags) => {
                    let expected = match (flags, model.contains_key(&key)) {
                        (3.., _) => EINVAL,
                        (1, true) => EEXIST,
                        (2, false) => ENOENT,
                        (_, false) if model.len() == usize::from(entries) => E2BIG,
                        _ => { model.insert(key, value); 0 }
                    };
                    let flags = UpdateFlags::from_bits(flags | slot_3);
                    let result = map.update(&key_bytes(key), &value_bytes(value), flags);
                    prop_assert_eq!(errno(&result), expected);
                }
                Call::Delete(key) => {
                    let expected = if model.remove(&key).is_some() { 0 } else { ENOENT };
                    prop_assert_eq!(errno(&map.delete(&key_bytes(key))), expected);
                }
                Call::Lookup(key) => {
                    let expected = model.get(&key).map(|value| value_bytes(*value));
                    prop_assert_eq!(lookup(key), Ok(expected));
                }
            }
        }
        let mut keys: Vec<_> = map.entries().unwrap().into_iter().map(|(key, _)| key).collect();
        keys.sort();
        let mut expected: Vec<_> = model.keys().map(|key| key_bytes(*key)).collect();
        expected.sort();
        prop_assert_eq!(keys, expected);
        for (key, value) in model {
            prop_assert_eq!(lookup(key), Ok(Some(value_bytes(value))));
        }
    }

    /// An LRU map holds the latest value of each key that it has not evicted, and never too many.
    #[test]
    fn an_lru_map_forgets_and_nothing_else(
        (entries, calls) in prop_oneof![Just(1u8), Just(8), Just(100)].prop_flat_map(|n| (Just(n), calls(n))),
        (key_size, value_size) in prop::sample::select(&SIZES[..]),
    ) {
        let map = map(MapKind::LruHash, key_size, value_size, entries.into());
        let key_bytes = |key: u8| { let mut bytes = vec![0; key_size as usize]; bytes[key_size as usize - 1] = key; bytes };
        let value_bytes = |value: u8| vec![value; value_size as usize];
        let mut model = HashMap::new();
        for call in calls {
            match call {
                Call::Update(key, value, _) => {
                    prop_assert_eq!(map.update(&key_bytes(key), &value_bytes(value), UpdateFlags::ANY), Ok(()));
                    prop_assert_eq!(map.lookup(&key_bytes(key)), Ok(Some(value_bytes(value))));
                    model.insert(key, value);
                }
                Call::Delete(key) => {
                    let result = errno(&map.delete(&key_bytes(key)));
                    prop_assert!(result == ENOENT || result == 0 && model.contains_key(&key));
                    model.remove(&key);
                }
                Call::Lookup(key) => {
                    let found = map.lookup(&key_bytes(key)).unwrap();
                    prop_assert!(found.is_none() || found == model.get(&key).map(|value| value_bytes(*value)));
                }
            }
            prop_assert!(map.entries().unwrap().len() <= usize::from(entries));
        }
    }

    #[test]
    fn an_array_behaves_as_its_model(calls in calls(8), value_size in 1..20u32) {
        let map = map(MapKind::Array, 4, value_size, 8);
        let value_bytes = |value: u8| vec![value; value_size as usize];
        let mut model = [0; 8];
        for call in calls {
            match call {
                Call::Update(key, value, flags) => {
                    let expected = match (flags, key) {
                        (3.., _) => EINVAL,
                        (_, 8..) => E2BIG,
                        (1, _) => EEXIST,
                        _ => { model[usize::from(key)] = value; 0 }
                    };
                    let key = u32::from(key).to_ne_bytes();
                    let result = map.update(&key, &value_bytes(value), UpdateFlags::from_bits(flags));
                    prop_assert_eq!(errno(&result), expected);
                }
                Call::Delete(key) => {
                    prop_assert_eq!(errno(&map.delete(&u32::from(key).to_ne_bytes())), EINVAL);
                }
                Call::Lookup(key) => {
                    let expected = model.get(usize::from(key)).map(|value| value_bytes(*value));
                    prop_assert_eq!(map.lookup(&u32::from(key).to_ne_bytes()), Ok(expected));
                }
            }
        }
    }
}

#[test]
fn sizes_are_checked() {
    let map = map(MapKind::Hash, 4, 8, 8);
    assert_eq!(map.lookup(&[0; 3]), Err(MapError::KeySize { found: 3, expected: 4 }));
    let short = map.update(&[0; 4], &[0; 7], UpdateFlags::ANY).unwrap_err();
    assert_eq!(short.to_string(), "value size 7, expected 8");
    // BPF_F_LOCK needs a spin lock in the value.
    assert_eq!(errno(&map.update(&[0; 4], &[0; 8], UpdateFlags::from_bits(4))), EINVAL);
}

#[test]
fn impossible_maps_are_refused_before_anything_is_reserved() {
    let refused = |def: MapDef| Runtime::default().create_map(def).unwrap_err();
    let error = refused(def(MapKind::Array, 8, 8, 1));
    assert_eq!(error.to_string(), "map m: key_size is 8, expected 4 for an array");
    assert!(matches!(
        refused(def(MapKind::Hash, 0, 8, 1)),
        MapCreateError::Invalid { .. }
    ));
    assert!(matches!(
        refused(def(MapKind::Hash, 513, 8, 1)),
        MapCreateError::Invalid { .. }
    ));
    assert!(matches!(
        refused(def(MapKind::Hash, 4, 0, 1)),
        MapCreateError::Invalid { .. }
    ));
    assert!(matches!(
        refused(def(MapKind::Hash, 4, 8, 0)),
        MapCreateError::Invalid { .. }
    ));
    assert!(matches!(
        refused(def(MapKind::Hash, 4, 8, u32::MAX)),
        MapCreateError::TooLarge { .. }
    ));
    assert!(matches!(
        refused(def(MapKind::Array, 4, u32::MAX, u32::MAX)),
        MapCreateError::TooLarge { .. }
    ));
}

/// Replacing values puts elements back into the chains that readers are on; no reader may miss a key because of that.
#[test]
fn a_key_that_is_there_throughout_is_always_found() {
    const KEYS: u64 = 64;
    let map = map(MapKind::Hash, 8, 16, KEYS as u32);
    for key in 0..KEYS {
        map.update(&key.to_ne_bytes(), &[1; 16], UpdateFlags::NOEXIST).unwrap();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for thread in 0..2u64 {
            let (map, done) = (&map, &done);
            scope.spawn(move || {
                let mut key = thread;
                while !done.load(Relaxed) {
                    key = (key * 5 + 3) % KEYS;
                    map.update(&key.to_ne_bytes(), &[2; 16], UpdateFlags::EXIST).unwrap();
                }
            });
        }
        for n in 0..400_000u64 {
            let key = n % KEYS;
            assert!(
                map.lookup(&key.to_ne_bytes()).unwrap().is_some(),
                "key {key} was missed"
            );
        }
        done.store(true, Relaxed);
    });
}

#[test]
fn concurrent_histories_stay_within_the_rules() {
    concurrent_histories::<16>();
    concurrent_histories::<8>();
}

/// Values always belong to their keys and are whole when they fit a word; `max_entries` holds; nothing leaks.
fn concurrent_histories<const VALUE: usize>() {
    const KEYS: u64 = 96;
    const LIMIT: u32 = 64;
    let map = map(MapKind::Hash, 8, VALUE as u32, LIMIT);
    let tagged = |key: u64, n: u64| {
        let mut value = [0; VALUE];
        value[VALUE - 8..].copy_from_slice(&n.to_ne_bytes());
        value[..8].copy_from_slice(&key.to_ne_bytes());
        value
    };
    thread::scope(|scope| {
        for thread in 0..4u64 {
            let map = &map;
            scope.spawn(move || {
                let mut random = thread + 1;
                for n in 0..30_000 {
                    random = random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let key = (random >> 33) % KEYS;
                    match (random >> 60) % 4 {
                        0 => {
                            let result = map.delete(&key.to_ne_bytes());
                            assert!(matches!(errno(&result), 0 | ENOENT), "{result:?}");
                        }
                        1 => {
                            let flags = UpdateFlags::from_bits((random >> 50) % 3);
                            let result = map.update(&key.to_ne_bytes(), &tagged(key, n), flags);
                            assert!(matches!(errno(&result), 0 | ENOENT | EEXIST | E2BIG), "{result:?}");
                        }
                        _ => {
                            if let Some(value) = map.lookup(&key.to_ne_bytes()).unwrap() {
                                // An element may be recycled between its lookup and its copy, as in Linux; but its key
                                // is one that somebody uses.
                                assert!(u64::from_ne_bytes(value[..8].try_into().unwrap()) < KEYS);
                            }
                        }
                    }
                }
            });
        }
    });
    let entries = map.entries().unwrap();
    for (key, value) in &entries {
        assert_eq!(key[..], value[..8], "a value under another key");
    }
    // All elements are still there: the map can be filled to its limit, exactly.
    for (key, _) in entries {
        map.delete(&key).unwrap();
    }
    for key in 0..u64::from(LIMIT) {
        map.update(&key.to_ne_bytes(), &tagged(key, 0), UpdateFlags::NOEXIST)
            .unwrap();
    }
    let over = map.update(&u64::MAX.to_ne_bytes(), &[0; VALUE], UpdateFlags::ANY);
    assert_eq!(over, Err(MapError::Full { max_entries: LIMIT }));
    // A full map still takes updates of what it holds.
    map.update(&0u64.to_ne_bytes(), &tagged(0, 9), UpdateFlags::EXIST)
        .unwrap();
    assert_eq!(map.lookup(&0u64.to_ne_bytes()).unwrap(), Some(tagged(0, 9).to_vec()));
}

fn per_cpu(kind: MapKind, max_entries: u32) -> MapHandle {
    let options = Options {
        slots: Some(4),
        ..Options::default()
    };
    Runtime::new(options)
        .create_map(MapDef::new("m", kind, 4, 12, max_entries))
        .expect("a map")
}

/// The host sees the values of all slots side by side, each at a multiple of eight bytes, and may take one alone.
#[test]
fn the_host_reads_and_writes_the_values_of_all_slots() {
    for kind in [MapKind::PercpuArray, MapKind::PercpuHash, MapKind::LruPercpuHash] {
        let map = per_cpu(kind, 8);
        let key = 3u32.to_ne_bytes();
        assert_eq!(map.host_value_size(), 4 * 16);
        let mut all = vec![0; 64];
        for slot in 0..4 {
            all[slot * 16..slot * 16 + 12].fill(slot as u8 + 1);
        }
        map.update(&key, &all, UpdateFlags::ANY).unwrap();
        assert_eq!(map.lookup(&key).unwrap(), Some(all.clone()), "{kind:?}");
        assert_eq!(map.lookup_slot(&key, 2).unwrap(), Some(vec![3; 12]));
        map.update(&key, &[9; 12], UpdateFlags::slot(2)).unwrap();
        all[32..44].fill(9);
        assert_eq!(map.lookup(&key).unwrap(), Some(all), "{kind:?}");
        map.update(&key, &[7; 12], UpdateFlags::ALL_CPUS).unwrap();
        for slot in 0..4 {
            assert_eq!(map.lookup_slot(&key, slot).unwrap(), Some(vec![7; 12]));
        }
        let missing = Err(MapError::NoSlot { slot: 4, slots: 4 });
        assert_eq!(map.lookup_slot(&key, 4), missing);
        assert_eq!(errno(&map.update(&key, &[0; 12], UpdateFlags::ANY)), EINVAL);
    }
}

/// An element that is new has nothing of what its memory held before.
#[test]
fn the_values_of_other_slots_begin_as_zero() {
    let map = per_cpu(MapKind::PercpuHash, 1);
    map.update(&1u32.to_ne_bytes(), &[5; 12], UpdateFlags::ALL_CPUS)
        .unwrap();
    map.delete(&1u32.to_ne_bytes()).unwrap();
    let key = 2u32.to_ne_bytes();
    map.update(&key, &[6; 12], UpdateFlags::slot(1)).unwrap();
    assert_eq!(map.lookup_slot(&key, 1).unwrap(), Some(vec![6; 12]));
    assert_eq!(map.lookup_slot(&key, 0).unwrap(), Some(vec![0; 12]));
}

/// An LRU map is never full.
#[test]
fn an_lru_map_makes_room() {
    let map = map(MapKind::LruHash, 4, 8, 64);
    for key in 0..1000u32 {
        map.update(&key.to_ne_bytes(), &u64::from(key).to_ne_bytes(), UpdateFlags::NOEXIST)
            .unwrap();
        let found = map.lookup(&key.to_ne_bytes()).unwrap();
        assert_eq!(found, Some(u64::from(key).to_ne_bytes().to_vec()));
    }
    let entries = map.entries().unwrap();
    assert!((32..=64).contains(&entries.len()), "{}", entries.len());
}

/// A cache keeps what is asked for again and again: of requests whose frequency falls with the rank of their key, by Zipf's law
/// with exponent 0.9, it has more than one that only knows what was asked for last, which has 57 %.
#[test]
fn an_lru_map_keeps_what_is_used() {
    const ENTRIES: u32 = 16_384;
    const KEYS: u32 = 16 * ENTRIES;
    let map = map(MapKind::LruHash, 4, 8, ENTRIES);
    let weights = (1..=KEYS).scan(0.0, |sum, rank| {
        *sum += f64::from(rank).powf(-0.9);
        Some(*sum)
    });
    let below: Vec<f64> = weights.collect();
    let mut seed = 1u64;
    let mut hits = 0;
    for request in 0..2 * KEYS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = (seed >> 11) as f64 / (1u64 << 53) as f64 * below[KEYS as usize - 1];
        let key = (below.partition_point(|below| *below < at) as u32).to_ne_bytes();
        // To the host's lookups, unlike those of programs, nothing is used.
        let found = map.update(&key, &[0; 8], UpdateFlags::EXIST).is_ok();
        if !found {
            map.update(&key, &[0; 8], UpdateFlags::NOEXIST).unwrap();
        }
        hits += u32::from(found && request >= KEYS);
    }
    let ratio = f64::from(hits) / f64::from(KEYS);
    assert!(ratio > 0.61, "{ratio}");
}

/// Nor is a small one, which may have a single bucket, and fewer elements than there are slots.
#[test]
fn a_small_lru_map_makes_room() {
    for kind in [MapKind::LruHash, MapKind::LruPercpuHash] {
        for (slots, max_entries) in (2..8).flat_map(|slots| (1..=24).map(move |entries| (slots, entries))) {
            let runtime = Runtime::new(Options {
                slots: Some(slots),
                ..Options::default()
            });
            let map = runtime.create_map(def(kind, 4, 8, max_entries)).expect("a map");
            let value = vec![1; map.host_value_size()];
            for key in 0..100u32 {
                let key = key.to_ne_bytes();
                map.update(&key, &value, UpdateFlags::NOEXIST)
                    .unwrap_or_else(|error| panic!("{kind:?}, {slots} slots, {max_entries} entries: {error}"));
                assert_eq!(map.lookup(&key).unwrap().as_ref(), Some(&value));
                assert!(map.entries().unwrap().len() <= max_entries as usize);
            }
        }
    }
}

#[test]
fn keys_are_walked_one_after_the_other() {
    let map = map(MapKind::Hash, 4, 8, 64);
    for key in 0..50u32 {
        map.update(&key.to_ne_bytes(), &[0; 8], UpdateFlags::ANY).unwrap();
    }
    let first = map.next_key(None).unwrap();
    assert_eq!(map.next_key(Some(&1000u32.to_ne_bytes())).unwrap(), first);
    let walk = std::iter::successors(first, |key| map.next_key(Some(key)).unwrap());
    let mut keys: Vec<u32> = walk.map(|key| u32::from_ne_bytes(key.try_into().unwrap())).collect();
    keys.sort_unstable();
    assert_eq!(keys, (0..50).collect::<Vec<_>>());
}

/// Refused before anything is reserved, with what would be needed; what a map took up is given back with it.
#[test]
fn memory_is_counted_before_it_is_reserved_and_given_back() {
    let def = |max_entries| MapDef::new("m", MapKind::Hash, 4, 8, max_entries);
    let runtime = Runtime::new(Options {
        memory: MemoryLimit::Bytes(3 << 20),
        ..Options::default()
    });
    for _ in 0..100 {
        let map = runtime.create_map(def(65_536)).expect("there is room for one");
        let used = runtime.memory_used();
        let most = 65_536 * (4 + 8 + 20) + 65_536;
        assert!((65_536 * 12..most).contains(&used), "{used}");
        let error = runtime.create_map(def(100_000)).expect_err("there is none for another");
        assert_eq!(error.errno(), 1);
        let MapCreateError::Limit {
            bytes,
            used: before,
            limit,
            ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!((before, limit), (used, 3 << 20));
        assert!(bytes + used > limit);
        drop(map);
        assert_eq!(runtime.memory_used(), 0);
    }
}

/// Nothing is paid for before there are elements.
#[test]
fn a_map_without_preallocation_pays_by_page() {
    let pages = |flags| {
        let def = MapDef {
            flags,
            ..MapDef::new("m", MapKind::Hash, 8, 64, 100_000)
        };
        let before = resident_kib();
        let map = Runtime::default().create_map(def).expect("a map");
        map.update(&[1; 8], &[1; 64], UpdateFlags::ANY).unwrap();
        resident_kib().saturating_sub(before)
    };
    // Seven million bytes of elements, of which one is used; other tests of the process may take some meanwhile.
    assert!(pages(MapFlags::NO_PREALLOC) < 6000);
    assert!(pages(MapFlags::default()) > 6000, "what others are paid with is seen");
}

/// Resident private memory of the process, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .expect("a figure")
}

//! Kinds of maps beside hashes and arrays, through the host's calls.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hitless::{Map, MapDef, MapError, MapFlags, MapHandle, MapKind, Runtime, UpdateFlags, WaitError, WaitEvent};
use hitless_object::{Element, InitialValue, MapSpec, ObjectSpec, ProgramSpec};
use proptest::prelude::*;

fn make(runtime: &Runtime, def: MapDef) -> MapHandle {
    runtime.create_map(def).expect("a map")
}

fn def(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapDef {
    MapDef::new("m", kind, key_size, value_size, max_entries)
}

fn errno<T>(result: Result<T, MapError>) -> i32 {
    result.map_or_else(|error| error.errno(), |_| 0)
}

proptest! {
    /// A queue and a stack behave as a deque.
    #[test]
    fn queues_and_stacks_behave_as_their_model(
        calls in prop::collection::vec((0..4u8, any::<u8>(), 0..4u64), 1..100),
        stack in any::<bool>(),
        value_size in 1..20u32,
    ) {
        let kind = if stack { MapKind::Stack } else { MapKind::Queue };
        let map = make(&Runtime::default(), def(kind, 0, value_size, 4));
        let bytes = |value| vec![value; value_size as usize];
        let mut model = VecDeque::new();
        for (call, value, flags) in calls {
            match call {
                0 | 1 => {
                    let expected = match flags {
                        0 if model.len() == 4 => libc::E2BIG,
                        0 | 2 => {
                            if model.len() == 4 {
                                model.pop_front();
                            }
                            model.push_back(value);
                            0
                        }
                        _ => libc::EINVAL,
                    };
                    prop_assert_eq!(errno(map.push(&bytes(value), UpdateFlags::from_bits(flags))), expected);
                }
                2 => {
                    let expected = if stack { model.back() } else { model.front() };
                    prop_assert_eq!(map.lookup(&[]), Ok(expected.copied().map(bytes)));
                }
                _ => {
                    let expected = if stack { model.pop_back() } else { model.pop_front() };
                    prop_assert_eq!(map.pop(), Ok(expected.map(bytes)));
                }
            }
        }
    }

    /// A trie behaves as a table of prefixes that is searched from the longest one.
    #[test]
    fn tries_behave_as_their_model(
        calls in prop::collection::vec((0..4u8, 0..18u32, any::<u16>(), any::<u8>(), 0..4u64), 1..200),
    ) {
        let def = MapDef { flags: MapFlags::NO_PREALLOC, ..def(MapKind::LpmTrie, 6, 1, 8) };
        let map = make(&Runtime::default(), def);
        let mut model: BTreeMap<(u32, u16), ([u8; 6], u8)> = BTreeMap::new();
        let masked = |len: u32, bits: u16| if len == 0 { 0 } else { bits & !0 << (16 - len.min(16)) };
        for (call, len, bits, value, flags) in calls {
            // Few prefixes, so that they meet.
            let bits = bits & 0xc003;
            let mut key = [0; 6];
            key[..4].copy_from_slice(&len.to_ne_bytes());
            key[4..].copy_from_slice(&bits.to_be_bytes());
            let id = (len, masked(len, bits));
            match call {
                0 | 1 => {
                    let expected = match (flags, model.contains_key(&id)) {
                        (3.., _) => libc::EINVAL,
                        _ if len > 16 => libc::EINVAL,
                        (1, true) => libc::EEXIST,
                        (2, false) => libc::ENOENT,
                        (_, false) if model.len() == 8 => libc::ENOSPC,
                        _ => { model.insert(id, (key, value)); 0 }
                    };
                    prop_assert_eq!(errno(map.update(&key, &[value], UpdateFlags::from_bits(flags))), expected);
                }
                2 => {
                    let expected = match model.remove(&id) {
                        _ if len > 16 => libc::EINVAL,
                        None => libc::ENOENT,
                        Some(_) => 0,
                    };
                    prop_assert_eq!(errno(map.delete(&key)), expected);
                }
                _ => {
                    let fits = |at: u32| model.get(&(at, masked(at, bits))).map(|(_, value)| vec![*value]);
                    let expected = if len > 16 { None } else { (0..=len).rev().find_map(fits) };
                    prop_assert_eq!(map.lookup(&key), Ok(expected));
                }
            }
        }
        let mut entries = map.entries().unwrap();
        entries.sort();
        let mut expected: Vec<_> = model.values().map(|(key, value)| (key.to_vec(), vec![*value])).collect();
        expected.sort();
        prop_assert_eq!(entries, expected);
    }
}

#[test]
fn a_bloom_filter_finds_what_was_pushed_and_little_else() {
    let map = make(&Runtime::default(), def(MapKind::BloomFilter, 0, 12, 1000));
    let value = |n: u32| {
        let mut value = [0; 12];
        value[4..8].copy_from_slice(&n.to_ne_bytes());
        value
    };
    for n in 0..1000 {
        map.push(&value(n), UpdateFlags::ANY).unwrap();
    }
    assert!((0..1000).all(|n| map.contains(&value(n)).unwrap()));
    let false_positives = (1000..11_000).filter(|n| map.contains(&value(*n)).unwrap()).count();
    // 7000 bits are rounded up to 8192: five of them each, 1000 times, set 46 %; 0.46 ^ 5 is 2 %.
    assert!(false_positives < 400, "{false_positives} of 10000");
    assert_eq!(errno(map.push(&value(0), UpdateFlags::EXIST)), libc::EINVAL);
    assert_eq!(errno(map.delete(&[])), libc::EOPNOTSUPP);
    assert_eq!(errno(map.pop()), libc::EOPNOTSUPP);
}

fn inner(max_entries: u32) -> MapDef {
    MapDef::new("inner", MapKind::Hash, 4, 8, max_entries)
}

fn outer(kind: MapKind, max_entries: u32) -> MapDef {
    MapDef {
        inner: Some(Box::new(inner(4))),
        ..MapDef::new("outer", kind, 4, 4, max_entries)
    }
}

fn id_of(map: &Map, key: u32) -> Option<u32> {
    let value = map.lookup(&key.to_ne_bytes()).unwrap()?;
    Some(u32::from_ne_bytes(value.try_into().unwrap()))
}

#[test]
fn maps_in_maps_are_like_their_template() {
    for kind in [MapKind::ArrayOfMaps, MapKind::HashOfMaps] {
        let runtime = Runtime::default();
        let outer = make(&runtime, outer(kind, 4));
        let first = make(&runtime, inner(4));
        let larger = make(&runtime, inner(8));
        let array = make(&runtime, MapDef::new("array", MapKind::Array, 4, 8, 4));
        let key = 1u32.to_ne_bytes();
        outer.insert_map(&key, &first, UpdateFlags::ANY).unwrap();
        assert_eq!(id_of(&outer, 1), Some(first.id()));
        assert_eq!(id_of(&outer, 2), None);
        assert_eq!(outer.inner_map(&key).unwrap().map(|map| map.id()), Some(first.id()));
        // A hash may have another size, an array not.
        outer.insert_map(&key, &larger, UpdateFlags::ANY).unwrap();
        assert_eq!(id_of(&outer, 1), Some(larger.id()));
        let refused = outer.insert_map(&key, &array, UpdateFlags::ANY).unwrap_err();
        assert_eq!(refused.to_string(), "type of the inner map is 2, expected 1");
        let elsewhere = make(&Runtime::default(), inner(4));
        let refused = outer.insert_map(&key, &elsewhere, UpdateFlags::ANY);
        assert_eq!(refused, Err(MapError::OtherRuntime));
        assert_eq!(
            errno(outer.update(&key, &first.id().to_ne_bytes(), UpdateFlags::ANY)),
            libc::EBADF
        );
        let noexist = errno(outer.insert_map(&key, &first, UpdateFlags::NOEXIST));
        assert_eq!(
            noexist,
            if kind == MapKind::ArrayOfMaps {
                libc::EINVAL
            } else {
                libc::EEXIST
            }
        );
        assert_eq!(
            outer.entries().unwrap(),
            [(key.to_vec(), larger.id().to_ne_bytes().to_vec())]
        );
        outer.delete(&key).unwrap();
        assert_eq!(errno(outer.delete(&key)), libc::ENOENT);
        assert_eq!(id_of(&outer, 1), None);
    }
}

#[test]
fn replaced_maps_are_let_go() {
    for kind in [MapKind::ArrayOfMaps, MapKind::HashOfMaps] {
        let runtime = Runtime::default();
        let outer = make(&runtime, outer(kind, 2));
        let maps: Vec<_> = (0..3).map(|_| make(&runtime, inner(4))).collect();
        let references = |n: usize| std::sync::Arc::strong_count(&maps[n]);
        let key = 0u32.to_ne_bytes();
        outer.insert_map(&key, &maps[0], UpdateFlags::ANY).unwrap();
        assert_eq!(references(0), 2);
        outer.insert_map(&key, &maps[1], UpdateFlags::ANY).unwrap();
        assert_eq!((references(0), references(1)), (1, 2));
        outer.delete(&key).unwrap();
        assert_eq!(references(1), 1);
        // As many as there may be, again and again.
        for n in 0..10u32 {
            for key in [n, n + 1] {
                outer
                    .insert_map(&(key % 2).to_ne_bytes(), &maps[2], UpdateFlags::ANY)
                    .unwrap();
            }
            outer.delete(&(n % 2).to_ne_bytes()).unwrap();
        }
        drop(outer);
        assert_eq!(references(2), 1);
    }
}

#[test]
fn a_hash_of_maps_is_full_at_its_limit() {
    let runtime = Runtime::default();
    let outer = make(&runtime, outer(MapKind::HashOfMaps, 2));
    let map = make(&runtime, inner(4));
    for key in 0..3u32 {
        let result = outer.insert_map(&key.to_ne_bytes(), &map, UpdateFlags::ANY);
        assert_eq!(errno(result), if key < 2 { 0 } else { libc::E2BIG });
    }
}

#[test]
fn templates_are_checked() {
    let runtime = Runtime::default();
    let refused = |inner| {
        let def = MapDef {
            inner,
            ..outer(MapKind::ArrayOfMaps, 1)
        };
        runtime.create_map(def).unwrap_err().to_string()
    };
    assert_eq!(refused(None), "map outer: what the maps in it are like is not said");
    assert_eq!(
        refused(Some(Box::new(outer(MapKind::HashOfMaps, 1)))),
        "map outer: type of the inner maps is 13, expected no map of maps"
    );
    let programs = MapDef::new("programs", MapKind::ProgArray, 4, 4, 1);
    assert_eq!(
        refused(Some(Box::new(programs))),
        "map outer: maps of type prog_array cannot be in others"
    );
}

#[test]
fn maps_of_redirects_hold_numbers() {
    let map = make(&Runtime::default(), def(MapKind::Devmap, 4, 4, 2));
    let key = 1u32.to_ne_bytes();
    assert_eq!(map.lookup(&key), Ok(None));
    map.update(&key, &7u32.to_ne_bytes(), UpdateFlags::ANY).unwrap();
    assert_eq!(map.lookup(&key), Ok(Some(7u32.to_ne_bytes().to_vec())));
    assert_eq!(errno(map.update(&key, &[0; 4], UpdateFlags::NOEXIST)), libc::EEXIST);
    map.update(&key, &[0; 4], UpdateFlags::ANY).unwrap();
    assert_eq!(map.lookup(&key), Ok(None));
    assert_eq!(errno(map.delete(&2u32.to_ne_bytes())), libc::EINVAL);
}

#[test]
fn frozen_maps_are_only_read() {
    let map = make(&Runtime::default(), def(MapKind::Array, 4, 4, 1));
    map.freeze().unwrap();
    assert_eq!(errno(map.freeze()), libc::EPERM);
    assert_eq!(errno(map.update(&[0; 4], &[1; 4], UpdateFlags::ANY)), libc::EPERM);
    assert_eq!(map.lookup(&[0; 4]), Ok(Some(vec![0; 4])));
}

#[test]
fn access_is_what_the_flags_say() {
    let with = |flags| {
        make(
            &Runtime::default(),
            MapDef {
                flags,
                ..def(MapKind::Queue, 0, 4, 1)
            },
        )
    };
    let readable = with(MapFlags::RDONLY);
    assert_eq!(errno(readable.push(&[0; 4], UpdateFlags::ANY)), libc::EPERM);
    assert_eq!(readable.peek(), Ok(None));
    let writable = with(MapFlags::WRONLY);
    assert_eq!(errno(writable.push(&[0; 4], UpdateFlags::ANY)), 0);
    assert_eq!(errno(writable.peek()), libc::EPERM);
}

/// `Freed` means that the memory is there again: ten thousand times a map as large as there may be one of.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(20);

#[test]
fn whoever_holds_a_map_is_named() {
    let runtime = Runtime::default();
    let outer = make(&runtime, outer(MapKind::HashOfMaps, 4));
    let inner = make(&runtime, inner(4));
    inner.wait(WaitEvent::Drained, LONG).unwrap();
    outer.insert_map(&[0; 4], &inner, UpdateFlags::ANY).unwrap();
    let (second, id) = (inner.clone(), inner.id());
    let error = inner.wait(WaitEvent::Drained, SHORT).unwrap_err();
    let WaitError::TimedOut { holders, event, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*event, WaitEvent::Drained);
    assert_eq!(
        holders,
        &[
            format!("map outer (id {})", outer.id()),
            "a handle of the host".to_owned()
        ]
    );
    assert_eq!(error.errno(), libc::ETIMEDOUT);
    drop(second);
    outer.delete(&[0; 4]).unwrap();
    // No flag asked for it: what the delete took out is drained at once.
    inner.wait(WaitEvent::Drained, Duration::ZERO).unwrap();
    assert_eq!(
        inner.wait(WaitEvent::Freed, LONG),
        Err(WaitError::OwnHandle { map: id })
    );
    let other = runtime.map_by_id(id).expect("it is there");
    let error = inner.wait_freed(SHORT).unwrap_err().to_string();
    assert!(error.ends_with("for freed; held by a handle of the host"), "{error}");
    other.wait_freed(LONG).unwrap();
    runtime.wait_freed(id, LONG).unwrap();
}

#[test]
fn maps_are_found_by_id() {
    let runtime = Runtime::default();
    let maps: Vec<_> = (0..3).map(|_| make(&runtime, inner(1))).collect();
    let ids: Vec<u32> = maps.iter().map(|map| map.id()).collect();
    assert_eq!(runtime.map_ids(), ids);
    assert_eq!(runtime.map_by_id(ids[1]).map(|map| map.id()), Some(ids[1]));
    drop(maps);
    assert_eq!(runtime.map_ids(), []);
    assert!(runtime.map_by_id(ids[1]).is_none());
}

/// An object with a prog array that holds the object's own program, which holds the array.
fn cycle() -> ObjectSpec {
    let array = MapSpec {
        name: "programs".into(),
        map_type: 3,
        key_size: 4,
        value_size: 4,
        max_entries: 4,
        values: vec![InitialValue {
            index: 2,
            element: Element::Program(0),
        }],
        ..MapSpec::default()
    };
    let program = |name: &str, section: &str| ProgramSpec {
        name: name.into(),
        section: section.into(),
        insns: hitless_isa::asm::assemble("r0 = 1\nexit").expect("the program assembles"),
        ..ProgramSpec::default()
    };
    ObjectSpec {
        license: "GPL".into(),
        maps: vec![array],
        programs: vec![program("one", "xdp"), program("other", "socket")],
        ..ObjectSpec::default()
    }
}

#[test]
fn prog_arrays_hold_programs_of_one_type() {
    let runtime = Runtime::default();
    let object = runtime.load(&cycle()).unwrap();
    let (array, programs) = (&object.maps()[0], object.programs());
    assert_eq!(id_of(array, 2), Some(programs[0].id()));
    array.insert_program(3, &programs[0]).unwrap();
    let refused = array.insert_program(0, &programs[1]);
    assert_eq!(refused, Err(MapError::IncompatibleProgram));
    assert_eq!(errno(array.insert_program(4, &programs[0])), libc::E2BIG);
    assert_eq!(errno(array.delete(&0u32.to_ne_bytes())), libc::ENOENT);
    array.delete(&3u32.to_ne_bytes()).unwrap();
    let expected = (2u32.to_ne_bytes().to_vec(), programs[0].id().to_ne_bytes().to_vec());
    assert_eq!(array.entries().unwrap(), [expected]);
}

/// What would be a leak for ever: an array that holds a program that holds the array.
#[test]
fn a_prog_array_is_emptied_with_its_last_user_reference() {
    let runtime = Runtime::default();
    let object = runtime.load(&cycle()).unwrap();
    let array = object.maps()[0].clone();
    let program = std::sync::Arc::downgrade(&object.programs()[0]);
    let id = array.id();
    drop(object);
    assert_eq!(
        id_of(&array, 2),
        program.upgrade().map(|program| program.id()),
        "there is a handle"
    );
    drop(array);
    assert!(program.upgrade().is_none());
    runtime.wait_freed(id, LONG).unwrap();
}

/// The array is empty for those that still hold it, and takes programs again from whoever gets a new handle.
#[test]
fn an_emptied_prog_array_can_be_filled_again() {
    let runtime = Runtime::default();
    let object = runtime.load(&cycle()).unwrap();
    let program = std::sync::Arc::clone(&object.programs()[0]);
    let id = object.maps()[0].id();
    drop(object);
    let array = runtime.map_by_id(id).expect("the program holds it");
    assert_eq!(id_of(&array, 2), None);
    array.insert_program(1, &program).unwrap();
    assert_eq!(id_of(&array, 1), Some(program.id()));
}

#[test]
fn many_inner_maps_are_replaced_at_once() {
    let runtime = Runtime::default();
    let outers = [MapKind::ArrayOfMaps, MapKind::HashOfMaps].map(|kind| make(&runtime, outer(kind, 4)));
    let maps: Vec<_> = (0..4).map(|_| make(&runtime, inner(4))).collect();
    let keys = [0u32.to_ne_bytes(), 1u32.to_ne_bytes()];
    for outer in &outers {
        outer.insert_maps(keys.iter().map(|key| (&key[..], &*maps[0]))).unwrap();
    }
    let swaps = outers.iter().flat_map(|outer| keys.iter().map(move |key| (outer, key)));
    let swaps = swaps.map(|(outer, key)| (&***outer, &key[..], &*maps[1]));
    runtime.replace_many(swaps).unwrap();
    assert_eq!(std::sync::Arc::strong_count(&maps[0]), 1);
    assert_eq!(std::sync::Arc::strong_count(&maps[1]), 5);
    let wrong = make(&runtime, MapDef::new("array", MapKind::Array, 4, 8, 4));
    let swaps = [(&keys[0], &maps[2]), (&keys[1], &wrong)];
    let error = outers[0]
        .insert_maps(swaps.map(|(key, map)| (&key[..], &**map)))
        .unwrap_err();
    assert_eq!((error.done, error.source.errno()), (1, libc::EINVAL));
    assert_eq!(id_of(&outers[0], 0), Some(maps[2].id()));
    outers[1].delete_batch(keys.iter().map(|key| &key[..])).unwrap();
    assert_eq!(outers[1].entries().unwrap(), []);
}

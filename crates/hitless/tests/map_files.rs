//! Maps that are kept in files: what was in them is there again, whoever has it open is alone, and what is no map is refused.
#![cfg(not(hitless_model))]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hitless::{
    Audit, FindingKind, Map, MapCreateError, MapDef, MapError, MapFlags, MapHandle, MapKind, MapOpenReason, Options,
    Runtime, UpdateFlags, check_map, repair_map,
};
use tempfile::TempDir;

const SLOTS: usize = 4;

fn runtime() -> Runtime {
    Runtime::new(Options {
        slots: Some(SLOTS),
        ..Options::default()
    })
}

fn dir() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory")
}

/// Maps with keys: of each kind and each layout.
fn keyed() -> Vec<MapDef> {
    let map = |name, kind, key_size, value_size| MapDef::new(name, kind, key_size, value_size, 100);
    vec![
        map("array", MapKind::Array, 4, 12),
        map("percpu_array", MapKind::PercpuArray, 4, 12),
        map("inline", MapKind::Hash, 4, 8),
        map("inline_wide", MapKind::Hash, 7, 3),
        map("tagged", MapKind::Hash, 16, 64),
        MapDef {
            flags: MapFlags::NO_PREALLOC,
            ..map("sparse", MapKind::Hash, 20, 9)
        },
        MapDef {
            spin_lock: Some(4),
            ..map("locked", MapKind::Hash, 4, 16)
        },
        map("percpu_hash", MapKind::PercpuHash, 8, 8),
        map("lru", MapKind::LruHash, 4, 8),
        map("percpu_lru", MapKind::LruPercpuHash, 4, 24),
        MapDef {
            flags: MapFlags::NO_PREALLOC,
            ..map("trie", MapKind::LpmTrie, 8, 8)
        },
    ]
}

/// The key with a number: with a prefix as long as the key, in a trie.
fn key(map: &Map, number: u32) -> Vec<u8> {
    let mut key = match map.def().kind {
        MapKind::LpmTrie => [32u32.to_ne_bytes(), number.to_be_bytes()].concat(),
        _ => number.to_ne_bytes().to_vec(),
    };
    key.resize(map.def().key_size as usize, 0);
    key
}

/// A value of all slots, made of a number; the lock in it is free.
fn value(map: &Map, number: u32) -> Vec<u8> {
    let size = map.def().value_size as usize;
    let stride = map.host_value_size() / size;
    let mut value: Vec<u8> = (0..map.host_value_size())
        .map(|at| (number as usize * 7 + at) as u8)
        .collect();
    if let Some(off) = map.def().spin_lock {
        value[off as usize..off as usize + 4].fill(0);
    }
    if stride > 1 {
        // What is between the values is nobody's.
        for (at, byte) in value.iter_mut().enumerate() {
            if at % size.next_multiple_of(8) >= size {
                *byte = 0;
            }
        }
    }
    value
}

fn contents(map: &Map) -> BTreeMap<Vec<u8>, Vec<u8>> {
    map.entries().unwrap().into_iter().collect()
}

fn open(path: &Path) -> (Runtime, MapHandle, Audit) {
    let runtime = runtime();
    let opened = runtime.open_map(path).unwrap();
    (runtime, opened.map, opened.audit)
}

#[test]
fn maps_hold_what_they_held() {
    let dir = dir();
    for def in keyed() {
        let path = dir.path().join(&def.name);
        let runtime = runtime();
        let map = runtime.create_map_in(def.clone(), &path).unwrap();
        for number in 0..80 {
            map.update(&key(&map, number), &value(&map, number), UpdateFlags::ANY)
                .unwrap();
        }
        for number in (0..80).step_by(3) {
            map.update(&key(&map, number), &value(&map, number + 1), UpdateFlags::EXIST)
                .unwrap();
            let is_array = matches!(def.kind, MapKind::Array | MapKind::PercpuArray);
            if !is_array {
                map.delete(&key(&map, number + 1)).unwrap();
            }
        }
        let before = contents(&map);
        drop(map);
        assert_eq!(runtime.memory_used(), 0);
        let audit = check_map(&path).unwrap();
        assert_eq!(audit.findings, [], "{}", def.name);
        let (_runtime, map, found) = open(&path);
        assert_eq!((&found, map.def()), (&audit, &def));
        assert_eq!(contents(&map), before, "{}", def.name);
        assert_eq!(audit.elements, before.len() as u64, "{}", def.name);
        fill(&map);
    }
}

/// Puts in as many as the map may hold, after all that there is was taken out.
fn fill(map: &Map) {
    let kind = map.def().kind;
    if matches!(kind, MapKind::Array | MapKind::PercpuArray) {
        return;
    }
    let present: Vec<u32> = (0..100)
        .filter(|number| map.lookup(&key(map, *number)).unwrap().is_some())
        .collect();
    for number in &present {
        map.delete(&key(map, *number)).unwrap();
    }
    assert_eq!(map.entries().unwrap(), []);
    for number in 1000..1100 {
        map.update(&key(map, number), &value(map, number), UpdateFlags::NOEXIST)
            .unwrap();
        // Elements that replace others come from what was free.
        map.update(&key(map, number), &value(map, number + 1), UpdateFlags::EXIST)
            .unwrap();
    }
    let is_lru = matches!(kind, MapKind::LruHash | MapKind::LruPercpuHash);
    let one_more = map.update(&key(map, 2000), &value(map, 1), UpdateFlags::NOEXIST);
    assert_eq!(one_more.is_ok(), is_lru, "{}: {one_more:?}", map.name());
    let len = map.entries().unwrap().len();
    assert!(len == 100 || is_lru && len > 50, "{}: {len}", map.name());
}

#[test]
fn a_full_map_is_full_again() {
    let dir = dir();
    for def in keyed() {
        let path = dir.path().join(&def.name);
        let runtime = runtime();
        let map = runtime.create_map_in(def.clone(), &path).unwrap();
        for number in 0..100 {
            map.update(&key(&map, number), &value(&map, number), UpdateFlags::ANY)
                .unwrap();
        }
        let before = contents(&map);
        drop(map);
        let (_runtime, map, found) = open(&path);
        assert_eq!(found.findings, [], "{}", def.name);
        assert_eq!(contents(&map), before, "{}", def.name);
        // A replacement needs a spare element.
        for number in 0..100 {
            let replaced = map.update(&key(&map, number), &value(&map, number + 5), UpdateFlags::ANY);
            assert_eq!(replaced, Ok(()), "{}", def.name);
        }
        fill(&map);
    }
}

#[test]
fn values_without_keys_are_there_in_order() {
    let dir = dir();
    for kind in [MapKind::Queue, MapKind::Stack] {
        let path = dir.path().join(format!("{kind:?}"));
        let runtime = runtime();
        let map = runtime
            .create_map_in(MapDef::new("values", kind, 0, 5, 10), &path)
            .unwrap();
        for number in 0..25u8 {
            map.push(&[number; 5], UpdateFlags::EXIST).unwrap();
        }
        let next = map.pop().unwrap();
        drop(map);
        let (_runtime, map, audit) = open(&path);
        assert_eq!((audit.elements, &audit.findings[..]), (9, &[][..]));
        let mut popped: Vec<u8> = next.into_iter().map(|value| value[0]).collect();
        while let Some(value) = map.pop().unwrap() {
            popped.push(value[0]);
        }
        popped.sort_unstable();
        assert_eq!(popped, (15..25).collect::<Vec<u8>>(), "{kind:?}");
    }
    let path = dir.path().join("bloom");
    let runtime = runtime();
    let map = runtime
        .create_map_in(MapDef::new("values", MapKind::BloomFilter, 0, 4, 100), &path)
        .unwrap();
    for number in 0..100u32 {
        map.push(&number.to_ne_bytes(), UpdateFlags::ANY).unwrap();
    }
    drop(map);
    let (_runtime, map, _) = open(&path);
    assert!((0..100u32).all(|number| map.contains(&number.to_ne_bytes()).unwrap()));
    let wrong = (1000..2000u32).filter(|number| map.contains(&number.to_ne_bytes()).unwrap());
    assert!(wrong.count() < 100, "the seed is the same");
}

#[test]
fn records_are_read_and_written_on() {
    let dir = dir();
    let path = dir.path().join("commands");
    let runtime = runtime();
    let map = runtime
        .create_map_in(MapDef::new("commands", MapKind::UserRingbuf, 0, 0, 4096), &path)
        .unwrap();
    assert!(map.ring_files().is_none());
    for number in 0..100u8 {
        map.write_record(&[number; 20]).unwrap();
    }
    drop(map);
    let (_runtime, map, audit) = open(&path);
    assert_eq!((audit.elements, &audit.findings[..]), (100, &[][..]));
    // Each takes 32 bytes with its header.
    for number in 100..128u8 {
        map.write_record(&[number; 20]).unwrap();
    }
    assert_eq!(map.write_record(&[0; 20]), Err(MapError::NoSpace));
}

#[test]
fn who_has_a_map_open_is_alone() {
    let dir = dir();
    let path = dir.path().join("map");
    let def = MapDef::new("map", MapKind::Hash, 4, 8, 10);
    let (one, other) = (runtime(), runtime());
    let map = one.create_map_in(def.clone(), &path).unwrap();
    let reason = |opened: Result<_, hitless::MapOpenError>| opened.map(drop).unwrap_err().reason;
    assert!(matches!(reason(other.open_map(&path)), MapOpenReason::InUse));
    assert!(matches!(check_map(&path).unwrap_err().reason, MapOpenReason::InUse));
    let again = other.create_map_in(def, &path);
    assert!(matches!(again, Err(MapCreateError::File { .. })), "{again:?}");
    drop(map);
    let map = other.open_map(&path).unwrap().map;
    assert!(matches!(reason(one.open_map(&path)), MapOpenReason::InUse));
    map.update(&[1; 4], &[1; 8], UpdateFlags::ANY).unwrap();
    // The name is not the file.
    fs::remove_file(&path).unwrap();
    map.update(&[2; 4], &[1; 8], UpdateFlags::ANY).unwrap();
    assert_eq!(map.entries().unwrap().len(), 2);
}

#[test]
fn a_frozen_map_stays_frozen() {
    let dir = dir();
    let path = dir.path().join("map");
    let one = runtime();
    let map = one
        .create_map_in(MapDef::new("map", MapKind::Array, 4, 8, 1), &path)
        .unwrap();
    map.update(&[0; 4], &[7; 8], UpdateFlags::ANY).unwrap();
    map.freeze().unwrap();
    drop(map);
    let (_runtime, map, _) = open(&path);
    assert_eq!(map.update(&[0; 4], &[1; 8], UpdateFlags::ANY), Err(MapError::Frozen));
    assert_eq!(map.freeze(), Err(MapError::Frozen));
    assert_eq!(map.lookup(&[0; 4]).unwrap(), Some(vec![7; 8]));
}

#[test]
fn what_refers_to_the_process_cannot_be_kept() {
    let dir = dir();
    let runtime = runtime();
    let path = dir.path().join("map");
    for kind in [
        MapKind::ProgArray,
        MapKind::PerfEventArray,
        MapKind::ArrayOfMaps,
        MapKind::HashOfMaps,
        MapKind::TaskStorage,
        MapKind::Devmap,
        MapKind::Cpumap,
    ] {
        let made = runtime.create_map_in(MapDef::new("map", kind, 4, 4, 1), &path);
        assert!(
            matches!(made, Err(MapCreateError::NotKept { .. })),
            "{kind:?}: {made:?}"
        );
    }
    assert!(!path.exists());
    let made = runtime.create_map_in(MapDef::new("map", MapKind::Hash, 0, 4, 1), &path);
    assert!(matches!(made, Err(MapCreateError::Invalid { .. })), "{made:?}");
    assert!(!path.exists(), "nothing half-made is left");
    let nowhere = dir.path().join("missing/map");
    let made = runtime.create_map_in(MapDef::new("map", MapKind::Hash, 4, 4, 1), nowhere);
    assert!(matches!(made, Err(MapCreateError::File { .. })), "{made:?}");
    assert_eq!(runtime.memory_used(), 0);
}

#[test]
fn a_map_with_something_for_each_slot_wants_as_many() {
    let dir = dir();
    let other = Runtime::new(Options {
        slots: Some(SLOTS + 3),
        ..Options::default()
    });
    for def in keyed() {
        let path = dir.path().join(&def.name);
        drop(runtime().create_map_in(def.clone(), &path).unwrap());
        let opened = other.open_map(&path);
        let depends = !matches!(def.kind, MapKind::Array | MapKind::LpmTrie) && !def.name.starts_with("inline");
        match opened {
            Ok(opened) => {
                assert!(!depends, "{}", def.name);
                fill(&opened.map);
            }
            Err(error) => {
                let expected = MapOpenReason::Slots {
                    found: SLOTS as u32,
                    expected: SLOTS as u32 + 3,
                };
                assert!(depends, "{}", def.name);
                assert_eq!(error.reason.to_string(), expected.to_string(), "{}", def.name);
            }
        }
    }
}

/// A map in a file, whose bytes are then changed.
fn file_of(dir: &TempDir, def: MapDef) -> PathBuf {
    let path = dir.path().join(&def.name);
    let runtime = runtime();
    let map = runtime.create_map_in(def, &path).unwrap();
    for number in 0..50 {
        map.update(&key(&map, number), &value(&map, number), UpdateFlags::ANY)
            .unwrap();
    }
    path
}

#[test]
fn what_is_no_map_is_refused_by_reason() {
    let dir = dir();
    let path = file_of(&dir, MapDef::new("map", MapKind::Hash, 4, 8, 50));
    let good = fs::read(&path).unwrap();
    let reason = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let reason = check_map(&path).unwrap_err().reason;
        let opened = runtime().open_map(&path).unwrap_err().reason;
        assert_eq!(reason.to_string(), opened.to_string());
        assert_eq!(fs::read(&path).unwrap(), bytes, "the file is as it was");
        reason
    };
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    assert!(matches!(reason(&[]), MapOpenReason::Length { found: 0, .. }));
    assert!(matches!(reason(&good[..100]), MapOpenReason::Length { found: 100, .. }));
    assert!(matches!(reason(&good[..good.len() - 8]), MapOpenReason::Length { .. }));
    assert!(matches!(
        reason(&[&good[..], &[0; 8]].concat()),
        MapOpenReason::Length { .. }
    ));
    assert!(matches!(reason(&vec![0; 9000]), MapOpenReason::Magic));
    assert!(matches!(
        reason(&changed(8, 9)),
        MapOpenReason::Version { found: 9, expected: 1 }
    ));
    assert!(matches!(reason(&changed(12, 0)), MapOpenReason::ByteOrder));
    assert!(matches!(reason(&changed(40, 0)), MapOpenReason::Checksum { .. }));
    assert!(matches!(
        check_map(dir.path()).unwrap_err().reason,
        MapOpenReason::NotAFile
    ));
    let missing = check_map(dir.path().join("missing")).unwrap_err();
    assert!(matches!(missing.reason, MapOpenReason::System(_)));
    assert_eq!(missing.reason.errno(), libc::ENOENT);
    fs::write(&path, &good).unwrap();
    assert_eq!(check_map(&path).unwrap().elements, 50);
}

/// A change to the bytes of a region.
type Damage = Box<dyn Fn(&mut [u8])>;

/// Damage is found, keeps a map from being opened, and is mended if that is asked for: by giving up what is in doubt.
#[test]
fn damage_is_found_and_given_up() {
    const REGION: usize = 4096;
    let dir = dir();
    let mut damages: Vec<(&str, MapDef, Damage)> = Vec::new();
    let hash = |name| MapDef {
        flags: MapFlags::ZERO_SEED,
        ..MapDef::new(name, MapKind::Hash, 4, 16, 50)
    };
    // Indices in the buckets of a tagged hash lead to nowhere.
    damages.push(("index", hash("index"), Box::new(|region| region[24..28].fill(0xee))));
    // The tags of the first bucket are others'.
    damages.push(("tags", hash("tags"), Box::new(|region| region[8..18].fill(0x55))));
    damages.push(("link", hash("link"), Box::new(|region| region[20..24].fill(0x7f))));
    let inline = MapDef {
        flags: MapFlags::ZERO_SEED,
        ..MapDef::new("keys", MapKind::Hash, 4, 8, 50)
    };
    damages.push((
        "keys",
        inline,
        Box::new(|region| {
            for bucket in region.chunks_exact_mut(64) {
                bucket[0] |= 0xf;
                bucket[16..32].fill(7);
            }
        }),
    ));
    let trie = MapDef {
        flags: MapFlags::NO_PREALLOC,
        ..MapDef::new("trie", MapKind::LpmTrie, 8, 8, 50)
    };
    damages.push(("trie", trie, Box::new(|region| region[68..72].fill(0x33))));
    for (name, def, damage) in damages {
        let path = file_of(&dir, def);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes[REGION..]);
        fs::write(&path, &bytes).unwrap();
        let found = check_map(&path).unwrap();
        assert!(found.is_damaged(), "{name}: {found}");
        let error = runtime().open_map(&path).unwrap_err();
        assert!(
            matches!(&error.reason, MapOpenReason::Damaged(audit) if *audit == found),
            "{error:?}"
        );
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name}");
        assert_eq!(repair_map(&path).unwrap(), found, "{name}");
        assert_eq!(check_map(&path).unwrap().findings, [], "{name}");
        let (_runtime, map, audit) = open(&path);
        assert_eq!(audit.elements, found.elements);
        assert_eq!(map.entries().unwrap().len() as u64, found.elements, "{name}");
        // Nothing was behind the bucket.
        assert!(found.elements < 50 || name == "link", "{name}: something was lost");
        for (key, _) in map.entries().unwrap() {
            map.delete(&key).unwrap();
        }
        for number in 0..50 {
            map.update(&key(&map, number), &value(&map, number), UpdateFlags::NOEXIST)
                .unwrap();
        }
    }
}

/// What a killed process leaves is mended, and told.
#[test]
fn locks_and_records_of_the_dead_are_released() {
    const REGION: usize = 4096;
    let dir = dir();
    let locked = MapDef {
        spin_lock: Some(4),
        ..MapDef::new("locked", MapKind::Array, 4, 16, 50)
    };
    let path = file_of(&dir, locked);
    let mut bytes = fs::read(&path).unwrap();
    bytes[REGION + 16 * 3 + 4] = 1;
    fs::write(&path, &bytes).unwrap();
    let (_runtime, map, audit) = open(&path);
    assert_eq!(audit.to_string(), "spin lock held (1, first at 3)");
    map.update(&key(&map, 3), &value(&map, 9), UpdateFlags::LOCK).unwrap();
    let path = file_of(&dir, MapDef::new("hash", MapKind::Hash, 4, 8, 50));
    let mut bytes = fs::read(&path).unwrap();
    bytes[REGION + 64 + 2] = 1;
    fs::write(&path, &bytes).unwrap();
    let audit = check_map(&path).unwrap();
    assert_eq!((audit.findings[0].kind, audit.findings.len()), (FindingKind::Lock, 1));
    let (_runtime, map, _) = open(&path);
    for number in 0..50 {
        map.delete(&key(&map, number)).unwrap();
    }
}

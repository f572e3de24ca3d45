//! Maps that are kept in files.

use std::fs;
use std::os::fd::AsRawFd;
use std::sync::LazyLock;

use hitless::{Map, MapDef, MapFlags, MapKind, Options, Runtime, UpdateFlags, check_map, repair_map};
use rustix::fs::{MemfdFlags, memfd_create};

/// Where a header has its checksum, and where what it covers ends.
const CHECKSUM: usize = 16;
const COVERED: usize = 2048;

fn runtime() -> Runtime {
    Runtime::new(Options {
        slots: Some(2),
        ..Options::default()
    })
}

/// A file of each kind of map, with something in it.
pub(crate) fn files() -> Vec<(String, Vec<u8>)> {
    let map =
        |name, kind, key_size, value_size, max_entries| MapDef::new(name, kind, key_size, value_size, max_entries);
    let trie = MapDef {
        flags: MapFlags::NO_PREALLOC,
        ..map("trie", MapKind::LpmTrie, 8, 8, 30)
    };
    let locked = MapDef {
        spin_lock: Some(0),
        ..map("locked", MapKind::Hash, 4, 16, 30)
    };
    let defs = [
        map("array", MapKind::Array, 4, 8, 30),
        map("percpu_array", MapKind::PercpuArray, 4, 8, 30),
        map("inline", MapKind::Hash, 4, 8, 30),
        map("wide", MapKind::Hash, 8, 8, 30),
        map("tagged", MapKind::Hash, 12, 24, 30),
        map("percpu", MapKind::PercpuHash, 4, 8, 30),
        map("lru", MapKind::LruHash, 4, 8, 30),
        map("queue", MapKind::Queue, 0, 8, 30),
        map("stack", MapKind::Stack, 0, 8, 30),
        map("bloom", MapKind::BloomFilter, 0, 8, 30),
        map("ring", MapKind::Ringbuf, 0, 0, 4096),
        map("commands", MapKind::UserRingbuf, 0, 0, 4096),
        trie,
        locked,
    ];
    let (runtime, dir) = (runtime(), tempfile::tempdir().expect("a directory"));
    let file = |def: MapDef| {
        let (name, path) = (def.name.clone(), dir.path().join(&def.name));
        let map = runtime.create_map_in(def, &path).expect("a map");
        fill(&map, 20);
        drop(map);
        (name, fs::read(path).expect("its file"))
    };
    defs.into_iter().map(file).collect()
}

/// Puts in so many elements, values or records, or fewer. That a map refuses some is its right.
fn fill(map: &Map, count: u32) {
    let def = map.def();
    for number in 0..count {
        let mut key = match def.kind {
            MapKind::LpmTrie => [(number % 33).to_ne_bytes(), (number << 24 | number).to_be_bytes()].concat(),
            _ => number.to_ne_bytes().to_vec(),
        };
        key.resize(def.key_size as usize, 0);
        let value = vec![0; map.host_value_size()];
        let _ = map.update(&key, &value, UpdateFlags::ANY);
        let _ = map.push(&value, UpdateFlags::ANY);
        let _ = map.write_record(&[number as u8; 21]);
    }
}

/// Makes the checksum of a header right, as whoever forges one does.
fn forge(bytes: &mut [u8]) {
    if bytes.len() >= COVERED {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&bytes[..CHECKSUM]);
        sum.update(&bytes[CHECKSUM + 4..COVERED]);
        bytes[CHECKSUM..CHECKSUM + 4].copy_from_slice(&sum.finalize().to_le_bytes());
    }
}

/// A file is checked, mended, opened and used.
pub(crate) fn map_file(bytes: &[u8]) -> bool {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(runtime);
    let mut bytes = bytes.to_vec();
    forge(&mut bytes);
    let file = memfd_create("map", MemfdFlags::CLOEXEC).expect("a memory file");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::write(&path, &bytes).expect("a memory file is written");
    let Ok(found) = check_map(&path) else {
        assert!(RUNTIME.open_map(&path).is_err());
        return false;
    };
    let opened = RUNTIME.open_map(&path);
    assert!(opened.is_err() || !found.is_damaged(), "{found}");
    drop(opened);
    let mended = repair_map(&path).expect("what can be checked can be mended");
    assert_eq!(mended.elements, found.elements);
    assert_eq!(check_map(&path).expect("it was mended").findings, [], "after {found}");
    // The number of slots may be another one.
    let Ok(opened) = RUNTIME.open_map(&path) else {
        return false;
    };
    let map = opened.map;
    let entries = map.entries();
    if let Ok(entries) = &entries
        && map.def().key_size > 0
    {
        assert_eq!(entries.len() as u64, opened.audit.elements);
    }
    fill(&map, 10);
    let _ = (map.read_records(100, |_| ()), map.pop(), map.peek());
    for (key, _) in entries.unwrap_or_default() {
        let _ = map.delete(&key);
    }
    fill(&map, 40);
    drop(map);
    assert_eq!(check_map(&path).expect("it was used").findings, [], "after {found}");
    true
}

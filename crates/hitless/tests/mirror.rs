//! A mirror that tracers build equals the map whenever nobody changes it: for every type of map, and every way to change one.

mod common;

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

use common::committed;
use hitless::{Collection, Hook, Link, Map, MapKind, Object, Options, Packet, Runtime, UpdateFlags, Xdp, XdpAction};

const SLOTS: usize = 8;
const THREADS: u32 = 4;
/// Elements that there may be; LRU maps are asked for more.
const ELEMENTS: u32 = 64;

const KINDS: [MapKind; 7] = [
    MapKind::Hash,
    MapKind::Array,
    MapKind::PercpuHash,
    MapKind::PercpuArray,
    MapKind::LruHash,
    MapKind::LruPercpuHash,
    MapKind::LpmTrie,
];

/// A way to change a map; those of the program have the numbers that it knows them by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Update = 0,
    Delete = 1,
    Store = 2,
    Add = 3,
    Helper = 4,
    Function = 5,
    Callback = 6,
    Twice = 7,
    Dynptr = 9,
    /// Deletes while it looks at all elements, by a program of its own.
    Erase = 99,
    HostUpdate = 100,
    HostDelete,
    HostTake,
    HostUpdateBatch,
    HostDeleteBatch,
    HostSlot,
    HostEverySlot,
}

use Source::*;

const SOURCES: [Source; 17] = [
    Update,
    Delete,
    Store,
    Add,
    Helper,
    Function,
    Callback,
    Twice,
    Dynptr,
    Erase,
    HostUpdate,
    HostDelete,
    HostTake,
    HostUpdateBatch,
    HostDeleteBatch,
    HostSlot,
    HostEverySlot,
];

const fn is_per_cpu(kind: MapKind) -> bool {
    matches!(
        kind,
        MapKind::PercpuHash | MapKind::PercpuArray | MapKind::LruPercpuHash
    )
}

const fn is_array(kind: MapKind) -> bool {
    matches!(kind, MapKind::Array | MapKind::PercpuArray)
}

const fn is_lru(kind: MapKind) -> bool {
    matches!(kind, MapKind::LruHash | MapKind::LruPercpuHash)
}

fn has(kind: MapKind, source: Source) -> bool {
    match source {
        Delete | HostDelete | HostDeleteBatch => !is_array(kind),
        HostTake | Erase => !is_array(kind) && kind != MapKind::LpmTrie,
        HostSlot | HostEverySlot => is_per_cpu(kind),
        _ => true,
    }
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }
}

struct Mirrored {
    kind: MapKind,
    object: Collection,
    hook: Hook,
    /// Where elements are erased.
    eraser: Hook,
    _links: Vec<Link>,
}

/// What is under a key in a slot: the numbers and the bytes of a value.
type Content = BTreeMap<([u32; 2], u32), [u64; 3]>;

impl Mirrored {
    fn new(name: &str, kind: MapKind) -> Mirrored {
        let runtime = Runtime::new(Options {
            slots: Some(SLOTS),
            ..Options::default()
        });
        let mut spec = committed(name);
        let map = spec.maps.iter_mut().find(|map| map.name == "source").expect("a map");
        map.map_type = kind.number();
        map.max_entries = ELEMENTS;
        if is_array(kind) {
            map.key_size = 4;
            map.key_type = None;
        }
        if kind == MapKind::LpmTrie {
            map.flags = hitless::MapFlags::NO_PREALLOC.bits();
        }
        spec.programs
            .retain(|program| program.name != "eraser" || has(kind, Erase));
        let mut object = Object::from(spec);
        let slots = if is_per_cpu(kind) { SLOTS as u32 } else { 0 };
        object.set_global("slots", slots).expect("a constant");
        object
            .set_global("key_size", if is_array(kind) { 4u32 } else { 8 })
            .expect("a constant");
        let object = object
            .load(&runtime)
            .unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        let hook = runtime.hook::<Xdp>("xdp");
        let eraser = runtime.hook::<Xdp>("eraser");
        let source = object.map("source").expect("a map");
        let tracer = |name| runtime.trace_map(source, object.program(name).expect("a tracer"));
        let mut links = vec![
            tracer("on_update").expect("attaches"),
            tracer("on_delete").expect("attaches"),
            tracer("on_evict").expect("attaches"),
            runtime
                .attach(&hook, object.program("writer").expect("a program"))
                .expect("attaches"),
        ];
        if let Some(program) = object.program("eraser") {
            links.push(runtime.attach(&eraser, program).expect("attaches"));
        }
        Mirrored {
            kind,
            object,
            hook,
            eraser,
            _links: links,
        }
    }

    fn map(&self) -> &Map {
        self.object.map("source").expect("a map")
    }

    fn global(&self, name: &str) -> u64 {
        self.object
            .global::<u64>(name)
            .expect("a variable")
            .get()
            .expect("a read")
    }

    /// As programs have it.
    fn key(&self, number: u32) -> [u32; 2] {
        match self.kind {
            MapKind::Array | MapKind::PercpuArray => [number % ELEMENTS, 0],
            MapKind::LpmTrie => [64 - 32, number],
            _ => [7, number],
        }
    }

    /// As the host has it.
    fn key_bytes(&self, number: u32) -> Vec<u8> {
        let key = self.key(number);
        let words = if is_array(self.kind) { &key[..1] } else { &key };
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn value(number: u64) -> [u8; 32] {
        let words = [0, number, number + 1, number.rotate_left(7)];
        let mut value = [0; 32];
        for (to, word) in value.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        value
    }

    fn host_value(&self, number: u64) -> Vec<u8> {
        let slots = if is_per_cpu(self.kind) { SLOTS as u64 } else { 1 };
        (0..slots).flat_map(|slot| Self::value(number + slot)).collect()
    }

    /// Changes the map, or tries to: a key may not be there, or the map be full.
    fn change(&self, source: Source, number: u32, value: u64) {
        let map = self.map();
        match source {
            HostUpdate => {
                let _ = map.update(&self.key_bytes(number), &self.host_value(value), UpdateFlags::ANY);
            }
            HostDelete => {
                let _ = map.delete(&self.key_bytes(number));
            }
            HostTake => {
                let _ = map.lookup_and_delete(&self.key_bytes(number));
            }
            HostUpdateBatch => {
                let entries: Vec<_> = (0..3)
                    .map(|i| (self.key_bytes(number + i), self.host_value(value + u64::from(i))))
                    .collect();
                let entries = entries.iter().map(|(key, value)| (&key[..], &value[..]));
                let _ = map.update_batch(entries, UpdateFlags::ANY);
            }
            HostDeleteBatch => {
                let keys: Vec<_> = (0..3).map(|i| self.key_bytes(number + i)).collect();
                let _ = map.delete_batch(keys.iter().map(|key| &key[..]));
            }
            HostSlot => {
                let flags = UpdateFlags::slot(value as u32 % SLOTS as u32);
                let _ = map.update(&self.key_bytes(number), &Self::value(value), flags);
            }
            // Others make elements meanwhile: now and then is often enough.
            Erase if number.is_multiple_of(16) => {
                let verdict = self.eraser.run(&mut Packet::new(&mut [0; 14]));
                assert_eq!(verdict, Ok(XdpAction::Pass));
            }
            Erase => {}
            HostEverySlot => {
                let _ = map.update(&self.key_bytes(number), &Self::value(value), UpdateFlags::ALL_CPUS);
            }
            _ => {
                let mut packet = Vec::with_capacity(24);
                for word in [source as u32, self.key(number)[0], self.key(number)[1], 0] {
                    packet.extend(word.to_ne_bytes());
                }
                packet.extend(value.to_ne_bytes());
                let verdict = self.hook.run(&mut Packet::new(&mut packet)).expect("the program runs");
                assert_ne!(verdict, XdpAction::Aborted);
            }
        }
    }

    /// Makes changes from several threads, half of them of one source, and compares when all are done.
    fn hammer(&self, source: Source, changes: u32, seed: u64) {
        let barrier = Barrier::new(THREADS as usize);
        let keys = if is_lru(self.kind) { 3 * ELEMENTS } else { ELEMENTS };
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut random = Random(seed << 8 | u64::from(thread));
                    barrier.wait();
                    for _ in 0..changes / THREADS {
                        let (roll, number, value) = (random.next(), random.next() % keys, random.next().into());
                        let source = match roll % 8 {
                            0..4 => source,
                            4..6 => Update,
                            6 if has(self.kind, Delete) => Delete,
                            _ => Twice,
                        };
                        self.change(source, number, value);
                    }
                });
            }
        });
        assert_eq!(
            self.global("failed"),
            0,
            "{:?}, {source:?}: the mirror is full",
            self.kind
        );
        assert_eq!(self.map().lost_changes(), 0, "{:?}, {source:?}", self.kind);
        let (map, mirror) = (self.content(), self.mirror());
        assert!(
            map == mirror,
            "{:?}, {source:?}: {}",
            self.kind,
            differences(&map, &mirror)
        );
    }

    /// What the map holds. Where elements have many values or are always there, zeros count as none.
    fn content(&self) -> Content {
        let mut content = Content::new();
        for entry in self.map() {
            let (key, value) = entry.expect("an entry");
            let word = |at: usize| u32::from_ne_bytes(key[at..at + 4].try_into().expect("four bytes"));
            let key = [word(0), if key.len() > 4 { word(4) } else { 0 }];
            for (slot, value) in (0..).zip(value.chunks_exact(32)) {
                content.insert((key, slot), numbers(&value[8..]));
            }
        }
        self.without_zeros(content)
    }

    fn mirror(&self) -> Content {
        let mut content = Content::new();
        for entry in self.object.map("mirror").expect("a map").iter() {
            let (key, value) = entry.expect("an entry");
            let word = |at: usize| u32::from_ne_bytes(key[at..at + 4].try_into().expect("four bytes"));
            content.insert(([word(0), word(4)], word(8)), numbers(&value));
        }
        self.without_zeros(content)
    }

    fn without_zeros(&self, mut content: Content) -> Content {
        if is_array(self.kind) || is_per_cpu(self.kind) {
            content.retain(|_, value| *value != [0; 3]);
        }
        content
    }
}

fn numbers(value: &[u8]) -> [u64; 3] {
    let word = |at: usize| u64::from_ne_bytes(value[at..at + 8].try_into().expect("eight bytes"));
    [word(0), word(8), word(16)]
}

fn differences(map: &Content, mirror: &Content) -> String {
    let keys: std::collections::BTreeSet<_> = map.keys().chain(mirror.keys()).collect();
    let differing = keys.into_iter().filter(|key| map.get(key) != mirror.get(key));
    let lines: Vec<_> = differing
        .map(|key| {
            format!(
                "\n  {key:?}: the map has {:?}, the mirror {:?}",
                map.get(key),
                mirror.get(key)
            )
        })
        .collect();
    format!("{} differences{}", lines.len(), lines[..lines.len().min(10)].concat())
}

/// Rounds of so many changes for each type and source.
fn hammer_all(kind: MapKind, rounds: u64, changes: u32) {
    let mirrored = Mirrored::new("trace_kinds", kind);
    for round in 0..rounds {
        for source in SOURCES.into_iter().filter(|source| has(kind, *source)) {
            mirrored.hammer(source, changes, round << 8 | source as u64);
        }
    }
    if is_lru(kind) {
        assert!(mirrored.global("evicted") > 0, "{kind:?} has evicted nothing");
    }
}

#[test]
fn a_hash_is_mirrored() {
    hammer_all(MapKind::Hash, 3, 2000);
}

#[test]
fn an_array_is_mirrored() {
    hammer_all(MapKind::Array, 3, 2000);
}

#[test]
fn the_values_of_all_slots_of_a_hash_are_mirrored() {
    hammer_all(MapKind::PercpuHash, 3, 2000);
}

#[test]
fn the_values_of_all_slots_of_an_array_are_mirrored() {
    hammer_all(MapKind::PercpuArray, 3, 2000);
}

#[test]
fn an_lru_hash_is_mirrored_with_its_evictions() {
    hammer_all(MapKind::LruHash, 3, 2000);
}

#[test]
fn an_lru_hash_with_values_for_slots_is_mirrored() {
    hammer_all(MapKind::LruPercpuHash, 3, 2000);
}

#[test]
fn a_trie_is_mirrored() {
    hammer_all(MapKind::LpmTrie, 3, 2000);
}

/// With a lock in the values: a tracer sees none in the middle of a change, and the mirror equals the map.
#[test]
fn a_tracer_sees_no_locked_value_in_the_middle_of_a_change() {
    for kind in [MapKind::Hash, MapKind::Array] {
        let mirrored = Mirrored::new("trace_kinds_locked", kind);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let mirrored = &mirrored;
                scope.spawn(move || {
                    let mut random = Random(thread.into());
                    for _ in 0..5000 {
                        let source = if random.next().is_multiple_of(2) { Update } else { Twice };
                        // Few keys, so that threads meet.
                        mirrored.change(source, random.next() % 4, 1 + u64::from(random.next()));
                    }
                });
            }
        });
        assert_eq!(mirrored.global("torn"), 0, "{kind:?}");
        let (map, mirror) = (mirrored.content(), mirrored.mirror());
        assert!(!map.is_empty());
        assert!(map == mirror, "{kind:?}: {}", differences(&map, &mirror));
    }
}

/// `SOAK_CHANGES` changes, 100 million if it does not say, shared out among types and sources.
#[test]
#[ignore = "takes minutes; make soak"]
fn a_hundred_million_changes_are_mirrored() {
    let wanted: u64 = std::env::var("SOAK_CHANGES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(100_000_000);
    const CHANGES: u32 = 20_000;
    let pairs: u64 = KINDS
        .iter()
        .map(|kind| SOURCES.iter().filter(|source| has(*kind, **source)).count() as u64)
        .sum();
    let rounds = wanted.div_ceil(pairs * u64::from(CHANGES));
    for kind in KINDS {
        hammer_all(kind, rounds, CHANGES);
    }
}

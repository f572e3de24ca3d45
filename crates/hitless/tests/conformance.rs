//! One suite over all types of maps, run on hitless and on the running kernel: the same results and errno, call by call.
//!
//! What a map holds is compared as a set where the order is nobody's business. Needs `bpf(2)` for the kernel's side, and says
//! that it skips without.

#[path = "common/bpf.rs"]
mod bpf;
#[path = "conformance/calls.rs"]
mod calls;
#[path = "conformance/kernel.rs"]
mod kernel;
#[path = "conformance/ours.rs"]
mod ours;
#[path = "common/processor.rs"]
mod processor;
#[path = "conformance/programs.rs"]
mod programs;

use calls::{Call, Maps};
use hitless::{MapDef, MapFlags, MapKind};
use kernel::KernelMap;
use ours::OurMap;
use processor::stay_on_one_processor;
use programs::{Op, Runs, packet};
use proptest::prelude::*;

/// Whether there is a kernel to compare with; else says why not.
fn has_kernel() -> bool {
    match kernel::probe() {
        Ok(()) => true,
        Err(reason) => {
            eprintln!("skipped: {reason}");
            false
        }
    }
}

fn def(kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapDef {
    MapDef::new("m", kind, key_size, value_size, max_entries)
}

fn inner() -> Option<Box<MapDef>> {
    Some(Box::new(def(MapKind::Array, 4, 8, 2)))
}

/// A map of each type, small enough to be filled.
fn maps() -> Vec<MapDef> {
    let no_prealloc = |map: MapDef| MapDef {
        flags: MapFlags::NO_PREALLOC,
        ..map
    };
    vec![
        def(MapKind::Hash, 4, 12, 4),
        no_prealloc(def(MapKind::Hash, 3, 5, 4)),
        def(MapKind::Array, 4, 5, 4),
        def(MapKind::PercpuHash, 4, 12, 4),
        def(MapKind::PercpuArray, 4, 12, 4),
        // An LRU map never fills up; the kernel may evict early if there is little room.
        def(MapKind::LruHash, 4, 8, 1024),
        def(MapKind::LruPercpuHash, 4, 8, 1024),
        no_prealloc(def(MapKind::LpmTrie, 8, 8, 4)),
        def(MapKind::Queue, 0, 8, 4),
        def(MapKind::Stack, 0, 5, 4),
        // Large enough that nothing is found by accident.
        def(MapKind::BloomFilter, 0, 8, 4096),
        def(MapKind::Ringbuf, 0, 0, 4096),
        def(MapKind::UserRingbuf, 0, 0, 4096),
        def(MapKind::ProgArray, 4, 4, 4),
        def(MapKind::PerfEventArray, 4, 4, 4),
        def(MapKind::Devmap, 4, 4, 4),
        def(MapKind::DevmapHash, 4, 4, 4),
        MapDef {
            inner: inner(),
            ..def(MapKind::ArrayOfMaps, 4, 4, 4)
        },
        MapDef {
            inner: inner(),
            ..def(MapKind::HashOfMaps, 4, 4, 4)
        },
    ]
}

/// Keys, some of which are there, some the same but for bits that do not matter, some no keys at all.
fn key(def: &MapDef, n: u8) -> Vec<u8> {
    let mut key = vec![0; def.key_size as usize];
    match def.kind {
        MapKind::LpmTrie => {
            let lens = [0u32, 8, 9, 16, 24, 32, 33];
            key[..4].copy_from_slice(&lens[usize::from(n) % lens.len()].to_ne_bytes());
            key[4] = [0, 10, 0x80][usize::from(n) % 3];
            key[5] = n & 1;
        }
        _ if key.is_empty() => {}
        _ => key[0] = n % 6,
    }
    key
}

fn value(def: &MapDef, n: u8) -> Vec<u8> {
    if matches!(def.kind, MapKind::Devmap | MapKind::DevmapHash) {
        // The loopback device, which every host has, or none.
        return u32::from(n % 2).to_ne_bytes().to_vec();
    }
    let one = def.value_size as usize;
    let len = if def.is_per_cpu() {
        one.next_multiple_of(8) * kernel::possible_cpus()
    } else {
        one
    };
    // The padding of per-CPU values is zero, as it reads.
    (0..len)
        .map(|at| if at % one.next_multiple_of(8) < one { n } else { 0 })
        .collect()
}

/// Does a call on both sides and compares.
fn compare(def: &MapDef, (ours, theirs): (&mut OurMap, &mut KernelMap), call: &Call) -> Result<(), TestCaseError> {
    let (ours, theirs) = (ours.call(call), theirs.call(call));
    prop_assert_eq!(ours, theirs, "{:?}: {:?}: hitless left, Linux right", def.kind, call);
    Ok(())
}

/// Calls of which every type gets those that its keys and values are right for.
fn calls(def: &MapDef, numbers: &[(u8, u8, u8, u64)]) -> Vec<Call> {
    let holds_objects = def.inner.is_some() || def.kind == MapKind::ProgArray;
    let bloom = def.kind == MapKind::BloomFilter;
    let mut calls = Vec::new();
    for (call, k, v, flags) in numbers {
        let key = key(def, *k);
        calls.push(match call {
            0 if bloom => Call::Contains(value(def, *v)),
            0 => Call::Lookup(key),
            // Those that are put into prog arrays have no flags: there is nothing to say.
            1 | 2 if def.kind == MapKind::ProgArray => Call::Insert(key, usize::from(*v % 3), 0),
            1 | 2 if holds_objects => Call::Insert(key, usize::from(*v % 3), *flags),
            1 | 2 if def.kind == MapKind::PerfEventArray => Call::Lookup(key),
            1 | 2 => Call::Update(key, value(def, *v), *flags),
            3 => Call::Delete(key),
            4 if bloom => Call::Contains(value(def, *v)),
            4 => Call::Take(key),
            5 => Call::Next(None),
            6 => Call::Walk,
            7 if def.key_size > 0 => Call::Batch { delete: false },
            8 if def.key_size > 0 => Call::Batch { delete: true },
            9 if !holds_objects && def.key_size > 0 && def.kind != MapKind::PerfEventArray => Call::UpdateBatch(
                vec![
                    (key.clone(), value(def, *v)),
                    (self::key(def, k + 1), value(def, v + 1)),
                ],
                flags & 3,
            ),
            9 if def.inner.is_some() => Call::InsertBatch(vec![
                (key.clone(), usize::from(v % 2)),
                (self::key(def, k + 1), usize::from(v % 3)),
            ]),
            10 if def.key_size > 0 => Call::DeleteBatch(vec![key.clone(), self::key(def, k + 1)]),
            _ => Call::Walk,
        });
    }
    calls.push(Call::Freeze);
    calls.push(Call::Freeze);
    calls.push(Call::Delete(key(def, 0)));
    calls.push(Call::Walk);
    calls
}

/// Every sort of call with every flag, first on an empty map, then on one that is filled, then on a frozen one.
#[test]
fn each_call() {
    if !has_kernel() {
        return;
    }
    let mut differ = Vec::new();
    for def in maps() {
        let mut sides = (OurMap::make(&def).unwrap(), KernelMap::make(&def).unwrap());
        let mut numbers = Vec::new();
        for round in 0..2 {
            for call in (0..11u8).rev() {
                // Linux waits for a grace period with each map that is put into another.
                let flags = if def.inner.is_some() { 0..2 } else { 0..9 };
                for flags in flags {
                    for k in 0..7 {
                        numbers.push((call, k + round, k % 3, flags));
                    }
                }
            }
        }
        let mut all = calls(&def, &numbers);
        all.extend(calls(&def, &numbers));
        for call in all {
            let (ours, theirs) = (sides.0.call(&call), sides.1.call(&call));
            if ours != theirs {
                differ.push(format!("{:?}: {call:?}: {ours:?}, Linux: {theirs:?}", def.kind));
                // What follows from it is no news.
                break;
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

fn numbers() -> impl Strategy<Value = Vec<(u8, u8, u8, u64)>> {
    prop::collection::vec((0..11u8, 0..12u8, 0..4u8, 0..5u64), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_calls(numbers in numbers()) {
        if !has_kernel() {
            return Ok(());
        }
        for def in maps() {
            let (ours, theirs) = (OurMap::make(&def), KernelMap::make(&def));
            let (Ok(mut ours), Ok(mut theirs)) = (ours, theirs) else { panic!("{def:?}") };
            for call in calls(&def, &numbers) {
                compare(&def, (&mut ours, &mut theirs), &call)?;
            }
        }
    }
}

/// Attributes of which each type refuses other ones.
#[test]
fn creation() {
    if !has_kernel() {
        return;
    }
    let errno = |made: Result<(), i32>| made.err().unwrap_or(0);
    let mut differ = Vec::new();
    for base in maps() {
        let mut defs = vec![base.clone()];
        let with = |change: &dyn Fn(&mut MapDef)| {
            let mut def = base.clone();
            change(&mut def);
            def
        };
        for size in [0, 1, 4, 5, 8, 12, 16, 260, 261, 512, 513, 40_000] {
            // Larger keys than a program's stack are left out: no program could use them.
            defs.push(with(&|def| def.key_size = size.min(512)));
            defs.push(with(&|def| def.value_size = size));
        }
        for entries in [0, 1, 3, 4096, 8192, 12288] {
            defs.push(with(&|def| def.max_entries = entries));
        }
        for bit in 0..16 {
            defs.push(with(&|def| {
                def.flags = MapFlags::from_bits(def.flags.bits() ^ 1 << bit)
            }));
        }
        for extra in [1, 15, 16] {
            defs.push(with(&|def| def.map_extra = extra));
        }
        if base.inner.is_some() {
            defs.push(with(&|def| def.inner = None));
            for kind in [
                MapKind::ProgArray,
                MapKind::Ringbuf,
                MapKind::Queue,
                MapKind::PerfEventArray,
                MapKind::LpmTrie,
            ] {
                let template = maps().into_iter().find(|def| def.kind == kind).expect("one of each");
                defs.push(with(&|def| def.inner = Some(Box::new(template.clone()))));
            }
        }
        for def in defs {
            let ours = errno(OurMap::make(&def).map(|_| ()));
            let theirs = errno(KernelMap::make(&def).map(|_| ()));
            if ours != theirs {
                differ.push(format!("{def:?}: {ours}, Linux: {theirs}"));
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Does on both sides what programs may do, and in between what descriptors may.
fn compare_programs(def: &MapDef, numbers: &[(u8, u8, u8, u64)]) -> Result<(), TestCaseError> {
    let mut ours = OurMap::make(def).expect("it can be made");
    let mut theirs = KernelMap::make(def).expect("it can be made");
    let ops = Op::of(def);
    let host = calls(def, numbers);
    for ((op, k, v, flags), call) in numbers.iter().zip(&host) {
        let Some(op) = ops.get(usize::from(*op) % (ops.len() + 1)) else {
            compare(def, (&mut ours, &mut theirs), call)?;
            continue;
        };
        // Of a lock that there is none of, Linux speaks behind the index.
        let flags = match (def.kind, op) {
            (MapKind::Array | MapKind::PercpuArray, Op::Update) => *flags & 3,
            _ => *flags,
        };
        let packet = packet(def, &key(def, *k), &value(def, *v), flags);
        let (here, there) = (ours.run(*op, &packet), theirs.run(*op, &packet));
        let explain = || format!("{:?}: {op:?} of {k}, {v}, {flags}: hitless left, Linux right", def.kind);
        // Both say why a program is refused, in words of their own.
        prop_assert_eq!(here.is_ok(), there.is_ok(), "{}: {:?}, {:?}", explain(), here, there);
        prop_assert_eq!(here.ok(), there.ok(), "{}", explain());
    }
    compare(def, (&mut ours, &mut theirs), &Call::Walk)?;
    if def.key_size > 0 {
        compare(def, (&mut ours, &mut theirs), &Call::Batch { delete: false })?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs(numbers in numbers()) {
        if !has_kernel() {
            return Ok(());
        }
        stay_on_one_processor();
        for def in maps().iter().filter(|def| !Op::of(def).is_empty()) {
            compare_programs(def, &numbers)?;
        }
    }
}

/// Each helper with each flag, on an empty map and on one that is filled.
#[test]
fn each_helper() {
    if !has_kernel() {
        return;
    }
    stay_on_one_processor();
    let mut differ = Vec::new();
    for def in maps() {
        let ops = Op::of(&def).len() as u8;
        let flags = if def.inner.is_some() { 0..4 } else { 0..9 };
        let all = |op: u8| {
            flags
                .clone()
                .flat_map(move |flags| (0..7).map(move |k| (op, k, k % 3, flags)))
        };
        let numbers: Vec<_> = (0..=ops).chain((0..=ops).rev()).flat_map(all).collect();
        if ops > 0
            && let Err(error) = compare_programs(&def, &numbers)
        {
            differ.push(error.to_string());
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

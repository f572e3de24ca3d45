//! Threads that make and free maps at the limit of memory: what does not fit is refused, what fits is there, and in the end
//! nothing is left.
#![cfg(not(hitless_model))]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use hitless::{MapCreateError, MapDef, MapFlags, MapKind, MemoryLimit, Options, Runtime, UpdateFlags};

const LIMIT: u64 = 256 << 10;
const LONG: Duration = Duration::from_secs(60);

fn runtime(limit: u64) -> Runtime {
    Runtime::new(Options {
        memory: MemoryLimit::Bytes(limit),
        slots: Some(4),
        ..Options::default()
    })
}

/// Maps of several kinds and sizes, none of which exceeds the limit alone.
fn def(number: u64) -> MapDef {
    let entries = 1 + (number * 37 % 900) as u32;
    match number % 5 {
        0 => MapDef::new("storm", MapKind::Hash, 4, 8, entries),
        1 => MapDef::new("storm", MapKind::Hash, 16, 40, entries),
        2 => MapDef::new("storm", MapKind::LruHash, 4, 16, entries),
        3 => MapDef::new("storm", MapKind::Array, 4, 24, entries),
        _ => MapDef {
            flags: MapFlags::NO_PREALLOC,
            ..MapDef::new("storm", MapKind::LpmTrie, 8, 8, entries)
        },
    }
}

#[test]
fn threads_at_the_limit_lose_and_leak_nothing() {
    let runtime = runtime(LIMIT);
    let (made, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for thread in 0..4u64 {
            let (runtime, made, refused) = (&runtime, &made, &refused);
            scope.spawn(move || {
                let mut held = Vec::new();
                for turn in 0..1500u64 {
                    let def = def(turn * 4 + thread);
                    assert!(runtime.memory_used() <= LIMIT);
                    match runtime.create_map(def.clone()) {
                        Ok(map) => {
                            made.fetch_add(1, Relaxed);
                            let key = [&32u32.to_ne_bytes()[..], &[7; 12]].concat();
                            let key = match def.kind {
                                MapKind::Array => vec![0; 4],
                                _ => key[..def.key_size as usize].to_vec(),
                            };
                            let value = vec![thread as u8; def.value_size as usize];
                            map.update(&key, &value, UpdateFlags::ANY).unwrap();
                            held.push((map, key, value));
                        }
                        Err(MapCreateError::Limit { bytes, used, limit, .. }) => {
                            refused.fetch_add(1, Relaxed);
                            assert!(limit == LIMIT && used <= LIMIT && used + bytes > LIMIT);
                            // What holds others up is let go.
                            held.drain(..).for_each(|(map, key, value)| {
                                assert_eq!(map.lookup(&key).unwrap(), Some(value));
                                map.wait_freed(LONG).unwrap();
                            });
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert!(
        made.load(Relaxed) > 1000 && refused.load(Relaxed) > 10,
        "{made:?} made, {refused:?} refused"
    );
    assert_eq!((runtime.memory_used(), runtime.map_ids()), (0, Vec::new()));
}

/// The memory of one map, in which ten thousand follow one another: each is there when the one before was said to be gone.
#[test]
fn a_map_as_large_can_be_made_at_once() {
    let def = MapDef::new("one", MapKind::Hash, 4, 8, 256);
    let probe = runtime(u64::MAX);
    let map = probe.create_map(def.clone()).unwrap();
    let runtime = runtime(probe.memory_used());
    drop(map);
    for turn in 0..10_000u32 {
        let map = runtime.create_map(def.clone()).unwrap();
        assert!(turn % 100 != 0 || matches!(runtime.create_map(def.clone()), Err(MapCreateError::Limit { .. })));
        let id = map.id();
        if turn % 2 == 0 {
            map.wait_freed(LONG).unwrap();
        } else {
            drop(map);
            runtime.wait_freed(id, LONG).unwrap();
        }
        assert!(runtime.map_by_id(id).is_none());
    }
    assert_eq!((runtime.memory_used(), runtime.map_ids()), (0, Vec::new()));
}

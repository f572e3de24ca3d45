//! Histories of threads that use the same keys: each has an order that could have been, one operation after the other.
//!
//! Every operation is noted with when it was called and when it returned, by one clock. Keys have nothing to do with each other,
//! so each key's history is looked at by itself: is there an order of its operations in which every result is right, and
//! none comes before one that had returned when it was called? The search goes on with any operation that may come next, and
//! remembers where it was; with few threads that is seldom far from a straight line.
#![cfg(not(hitless_model))]

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use hitless::{Map, MapDef, MapError, MapFlags, MapKind, Runtime, UpdateFlags};

const THREADS: usize = 3;
const KEYS: u64 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Lookup {
        found: Option<u64>,
    },
    /// `BPF_ANY`.
    Set(u64),
    /// `BPF_NOEXIST`; whether it was done.
    Create(u64, bool),
    /// `BPF_EXIST`; whether it was done.
    Replace(u64, bool),
    /// Whether it was there.
    Delete(bool),
    /// `lookup_and_delete`.
    Take {
        found: Option<u64>,
    },
}

/// An operation on a key.
#[derive(Clone, Copy, Debug)]
struct Op {
    called: u64,
    returned: u64,
    what: What,
}

impl What {
    /// What the key is after it, if its result is right for what the key was before.
    fn apply(self, before: Option<u64>) -> Option<Option<u64>> {
        let (is_right, after) = match self {
            What::Lookup { found } => (found == before, before),
            What::Set(value) => (true, Some(value)),
            What::Create(value, done) => (done == before.is_none(), if done { Some(value) } else { before }),
            What::Replace(value, done) => (done == before.is_some(), if done { Some(value) } else { before }),
            What::Delete(done) => (done == before.is_some(), None),
            What::Take { found } => (found == before, None),
        };
        is_right.then_some(after)
    }
}

/// Whether there is an order; else how far it went at best.
fn check(threads: &[Vec<Op>], initial: Option<u64>) -> Result<(), Vec<usize>> {
    let mut stack = vec![(vec![0; threads.len()], initial)];
    let mut seen = HashSet::new();
    let mut best = vec![0; threads.len()];
    while let Some((done, value)) = stack.pop() {
        if !seen.insert((done.clone(), value)) {
            continue;
        }
        if done.iter().sum::<usize>() > best.iter().sum() {
            best.clone_from(&done);
        }
        let next = |thread: usize| threads[thread].get(done[thread]);
        let Some(first_return) = (0..threads.len()).filter_map(next).map(|op| op.returned).min() else {
            return Ok(());
        };
        for thread in 0..threads.len() {
            // None that is still to come had returned when it was called.
            if let Some(op) = next(thread).filter(|op| op.called <= first_return)
                && let Some(after) = op.what.apply(value)
            {
                let mut done = done.clone();
                done[thread] += 1;
                stack.push((done, after));
            }
        }
    }
    Err(best)
}

fn key(map: &Map, number: u64) -> Vec<u8> {
    let mut key = match map.def().kind {
        MapKind::LpmTrie => [32u32.to_ne_bytes(), (number as u32).to_be_bytes()].concat(),
        _ => (number as u32).to_ne_bytes().to_vec(),
    };
    key.resize(map.def().key_size as usize, 0);
    key
}

/// The number that a value is made of: all its words are the same.
fn number(value: &[u8]) -> u64 {
    let words: Vec<u64> = value
        .chunks_exact(8)
        .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
        .collect();
    assert!(
        words.iter().all(|word| *word == words[0]),
        "a mixture of two values: {words:?}"
    );
    words[0]
}

fn operate(map: &Map, key: &[u8], random: u64, value: u64) -> What {
    let bytes: Vec<u8> = value
        .to_ne_bytes()
        .into_iter()
        .cycle()
        .take(map.def().value_size as usize)
        .collect();
    let update = |flags| match map.update(key, &bytes, flags) {
        Ok(()) => true,
        Err(MapError::Exists | MapError::NotFound) => false,
        Err(error) => panic!("{}: {error}", map.name()),
    };
    let is_array = map.def().kind == MapKind::Array;
    match random % 8 {
        0..=2 => What::Lookup {
            found: map.lookup(key).unwrap().map(|value| number(&value)),
        },
        3 if !is_array => What::Delete(map.delete(key).is_ok()),
        4 if matches!(map.def().kind, MapKind::Hash | MapKind::LruHash) => What::Take {
            found: map.lookup_and_delete(key).unwrap().map(|value| number(&value)),
        },
        5 => What::Create(value, update(UpdateFlags::NOEXIST)),
        6 => What::Replace(value, update(UpdateFlags::EXIST)),
        _ => {
            assert!(update(UpdateFlags::ANY));
            What::Set(value)
        }
    }
}

/// What each thread did to each key.
fn record(map: &Map, operations: u64, seed: u64) -> Vec<Vec<Vec<Op>>> {
    let (clock, start) = (AtomicU64::new(0), Barrier::new(THREADS));
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS as u64)
            .map(|thread| {
                let (clock, start) = (&clock, &start);
                scope.spawn(move || {
                    let mut random = (seed << 8 | thread).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                    let mut history = vec![Vec::new(); KEYS as usize];
                    start.wait();
                    for turn in 0..operations {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        let which = random >> 40 & 0xff;
                        let (number, key) = (which % KEYS, key(map, which % KEYS));
                        let called = clock.fetch_add(1, SeqCst);
                        let what = operate(map, &key, random >> 20, turn << 8 | thread);
                        let returned = clock.fetch_add(1, SeqCst);
                        history[number as usize].push(Op { called, returned, what });
                    }
                    history
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn storm(operations: u64, rounds: u64) {
    let map = |name, kind, key_size, value_size| MapDef::new(name, kind, key_size, value_size, 40);
    let defs = [
        map("inline", MapKind::Hash, 4, 8),
        map("tagged", MapKind::Hash, 12, 64),
        map("tagged word", MapKind::Hash, 12, 8),
        // With so many free elements, none is evicted.
        MapDef::new("lru", MapKind::LruHash, 4, 24, 4096),
        map("array", MapKind::Array, 4, 8),
        MapDef {
            flags: MapFlags::NO_PREALLOC,
            ..map("trie", MapKind::LpmTrie, 8, 8)
        },
    ];
    for seed in 0..rounds {
        for def in &defs {
            let runtime = Runtime::default();
            let map = runtime.create_map(def.clone()).unwrap();
            let initial = (def.kind == MapKind::Array).then_some(0);
            let histories = record(&map, operations, seed);
            for number in 0..KEYS as usize {
                let threads: Vec<Vec<Op>> = histories.iter().map(|history| history[number].clone()).collect();
                if let Err(at) = check(&threads, initial) {
                    let next: Vec<_> = threads
                        .iter()
                        .zip(at)
                        .map(|(ops, at)| &ops[at.saturating_sub(3)..ops.len().min(at + 2)])
                        .collect();
                    panic!("{}, key {number}, seed {seed}: no order explains {next:#?}", def.name);
                }
            }
        }
    }
}

#[test]
fn every_history_has_an_order() {
    storm(3000, 2);
}

#[test]
#[ignore = "takes minutes: make soak"]
fn every_long_history_has_an_order() {
    storm(200_000, 20);
}

#[test]
fn a_history_without_an_order_is_found() {
    let op = |called, returned, what| Op { called, returned, what };
    let set = op(0, 1, What::Set(1));
    let stale = op(2, 3, What::Lookup { found: None });
    assert!(
        check(&[vec![set], vec![stale]], None).is_err(),
        "a lookup after the update returned"
    );
    let early = op(0, 3, What::Lookup { found: None });
    assert!(
        check(&[vec![op(1, 2, What::Set(1))], vec![early]], None).is_ok(),
        "they overlap"
    );
    let twice = [vec![op(0, 5, What::Delete(true))], vec![op(1, 4, What::Delete(true))]];
    assert!(check(&twice, Some(1)).is_err(), "deleted twice");
    let back = [
        vec![op(0, 1, What::Set(1)), op(2, 3, What::Set(2))],
        vec![op(4, 5, What::Lookup { found: Some(1) })],
    ];
    assert!(check(&back, None).is_err(), "an old value comes back");
}

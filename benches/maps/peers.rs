//! Concurrent maps of Rust, beside hash maps as programs use them.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use dashmap::DashMap;
use foldhash::fast::RandomState;
use hitless_benches::Table;
use hitless_benches::maps::{Hitless, State, TIMES};
use hitless_benches::table::figure;
use hitless_benches::thread::{cpus, pin};

use super::FULL;

/// How often everything is measured, in turns.
const ROUNDS: usize = 7;
/// Runs of `TIMES` operations at once.
const RUNS: u32 = 2048;

const OPERATIONS: [&str; 3] = ["lookup", "update", "update, lookup, delete"];

/// Does one of [`OPERATIONS`] with each key.
trait Peer: Sync {
    fn lookup(&self, keys: Keys<'_>) -> u64;
    fn update(&self, keys: Keys<'_>);
    fn come_and_go(&self, keys: Keys<'_>) -> u64;
}

impl Peer for DashMap<u32, u64, RandomState> {
    fn lookup(&self, keys: Keys<'_>) -> u64 {
        keys.map(|key| self.get(&key).map_or(0, |value| *value)).sum()
    }

    fn update(&self, keys: Keys<'_>) {
        keys.for_each(|key| {
            self.insert(key, 1);
        });
    }

    fn come_and_go(&self, keys: Keys<'_>) -> u64 {
        keys.map(|key| {
            self.insert(key, 1);
            let found = self.get(&key).map_or(0, |value| *value);
            self.remove(&key);
            found
        })
        .sum()
    }
}

impl Peer for papaya::HashMap<u32, u64, RandomState> {
    fn lookup(&self, keys: Keys<'_>) -> u64 {
        let map = self.pin();
        keys.map(|key| map.get(&key).copied().unwrap_or_default()).sum()
    }

    fn update(&self, keys: Keys<'_>) {
        let map = self.pin();
        keys.for_each(|key| {
            map.insert(key, 1);
        });
    }

    fn come_and_go(&self, keys: Keys<'_>) -> u64 {
        let map = self.pin();
        keys.map(|key| {
            map.insert(key, 1);
            let found = map.get(&key).copied().unwrap_or_default();
            map.remove(&key);
            found
        })
        .sum()
    }
}

impl Peer for scc::HashMap<u32, u64, RandomState> {
    fn lookup(&self, keys: Keys<'_>) -> u64 {
        keys.map(|key| self.read_sync(&key, |_, value| *value).unwrap_or_default())
            .sum()
    }

    fn update(&self, keys: Keys<'_>) {
        keys.for_each(|key| {
            self.upsert_sync(key, 1);
        });
    }

    fn come_and_go(&self, keys: Keys<'_>) -> u64 {
        keys.map(|key| {
            self.upsert_sync(key, 1);
            let found = self.read_sync(&key, |_, value| *value).unwrap_or_default();
            self.remove_sync(&key);
            found
        })
        .sum()
    }
}

/// The keys of one run, as the programs choose them.
struct Keys<'a> {
    seed: &'a mut u64,
    mask: u32,
    first: u32,
    left: u32,
}

impl Iterator for Keys<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        *self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Some(self.first.wrapping_add((*self.seed >> 33) as u32 & self.mask))
    }
}

/// Which keys an operation is done with: how many, and the first. Those that come and go are not there before.
fn keys(operation: usize) -> (u32, u32) {
    if operation == 2 {
        (FULL / 2, FULL / 2)
    } else {
        (FULL, 0)
    }
}

/// Nanoseconds of an operation of a peer, which one or two threads do.
fn of_peer(maps: &[&dyn Peer; 2], operation: usize, threads: u32) -> f64 {
    let (count, first) = keys(operation);
    together(threads, |index| {
        let mut seed = 42 + u64::from(index);
        let start = Instant::now();
        for _ in 0..RUNS {
            let keys = Keys {
                seed: &mut seed,
                mask: count - 1,
                first,
                left: TIMES,
            };
            match operation {
                0 => drop(black_box(maps[0].lookup(keys))),
                1 => maps[0].update(keys),
                _ => drop(black_box(maps[1].come_and_go(keys))),
            }
        }
        start.elapsed().as_nanos() as f64 / f64::from(RUNS)
    })
}

/// Likewise of hitless.
fn of_hitless(hitless: &Hitless, operation: usize, threads: u32) -> f64 {
    let (count, first) = keys(operation);
    let program = ["hash_lookup", "hash_update", "half_update_lookup_delete"][operation];
    together(threads, |index| {
        let mut state = State::new(count, first);
        state.set_word(0, 42 + u64::from(index));
        hitless.run(program, &mut state, RUNS)
    })
}

/// Nanoseconds of an operation while so many threads do it: the mean of them.
fn together(threads: u32, run: impl Fn(u32) -> f64 + Sync) -> f64 {
    let (cpus, begin) = (cpus(), Barrier::new(threads as usize));
    let thread = |index: u32| {
        pin(cpus[index as usize % cpus.len()]);
        begin.wait();
        run(index) / f64::from(TIMES)
    };
    let sum: f64 = std::thread::scope(|scope| {
        let thread = &thread;
        let threads: Vec<_> = (0..threads).map(|index| scope.spawn(move || thread(index))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread ends"))
            .sum()
    });
    sum / f64::from(threads)
}

/// A full map, and one that is half full.
fn filled<P: Peer>(new: impl Fn() -> P) -> [P; 2] {
    [FULL, FULL / 2].map(|count| {
        let map = new();
        // So many draws leave out next to none.
        let mut seed = 0;
        map.update(Keys {
            seed: &mut seed,
            mask: count - 1,
            first: 0,
            left: 16 * count,
        });
        map
    })
}

/// Prints what operations of each cost, with the choice of keys.
pub fn print(hitless: &Hitless) {
    let capacity = FULL as usize;
    let dash = filled(|| DashMap::with_capacity_and_hasher(capacity, RandomState::default()));
    let papaya = filled(|| papaya::HashMap::with_capacity_and_hasher(capacity, RandomState::default()));
    let scc = filled(|| scc::HashMap::with_capacity_and_hasher(capacity, RandomState::default()));
    let peers: [[&dyn Peer; 2]; 3] = [[&dash[0], &dash[1]], [&papaya[0], &papaya[1]], [&scc[0], &scc[1]]];
    let mut least = [[f64::INFINITY; 4]; 6];
    for _ in 0..ROUNDS {
        for (row, least) in least.iter_mut().enumerate() {
            let (operation, threads) = (row / 2, row as u32 % 2 + 1);
            least[0] = least[0].min(of_hitless(hitless, operation, threads));
            for (peer, least) in peers.iter().zip(&mut least[1..]) {
                *least = least.min(of_peer(peer, operation, threads));
            }
        }
    }
    let mut table = Table::new(&["ns", "threads", "hitless", "dashmap", "papaya", "scc"]);
    for (row, least) in least.iter().enumerate() {
        let head = [OPERATIONS[row / 2].to_owned(), (row % 2 + 1).to_string()];
        table.row(head.into_iter().chain(least.iter().map(|ns| figure(Some(*ns)))));
    }
    for threads in 0..2 {
        let mean = |column: usize| {
            let logs = least.iter().skip(threads).step_by(2).map(|row| row[column].ln());
            (logs.sum::<f64>() / 3.0).exp()
        };
        let head = ["geometric mean".to_owned(), (threads + 1).to_string()];
        table.row(head.into_iter().chain((0..4).map(|column| figure(Some(mean(column))))));
    }
    println!("{table}");
}

//! Several threads on one map, in hitless and in Linux.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use hitless_benches::Table;
use hitless_benches::maps::{Hitless, State, TIMES};
use hitless_benches::table::figure;
use hitless_benches::thread::{cpu_time, cpus, pin};

use super::FULL;
use super::linux::Linux;

/// How often all of them are measured.
const ROUNDS: usize = 2;
/// Runs of each thread, so that it takes many turns on a processor that it shares.
const RUNS: u32 = 8192;
const LINUX_RUNS: u32 = 1024;

/// What threads do: a program, with so many keys for each; those of the next thread begin so much further on.
struct Case {
    name: &'static str,
    program: &'static str,
    threads: u32,
    keys: u32,
    apart: u32,
}

fn cases() -> Vec<Case> {
    let case = |name, program, threads, keys, apart| Case {
        name,
        program,
        threads,
        keys,
        apart,
    };
    let mut cases = Vec::new();
    for threads in [1, 2] {
        cases.push(case("hash lookup", "hash_lookup", threads, FULL, 0));
    }
    for threads in [1, 2, 8] {
        cases.push(case(
            "hash update, own keys",
            "hash_update",
            threads,
            FULL / 8,
            FULL / 8,
        ));
    }
    for threads in [1, 2, 8] {
        cases.push(case("hash update, the same 16 keys", "hash_update", threads, 16, 0));
    }
    for threads in [1, 2, 4, 8, 32] {
        let name = "hash update, lookup, delete";
        cases.push(case(name, "half_update_lookup_delete", threads, FULL / 64, FULL / 64));
    }
    cases
}

/// Prints what threads do together in a microsecond: the most of all rounds.
pub fn print(hitless: &Hitless, linux: Option<&Linux>) {
    let mut table = Table::new(&["operations / us", "threads", "hitless", "Linux", "hitless / Linux"]);
    for case in cases() {
        let ours = most(&case, RUNS, |state, runs| {
            hitless.run(case.program, state, runs);
        });
        let theirs = linux.map(|linux| {
            most(&case, LINUX_RUNS, |state, runs| {
                linux.run_each(case.program, state, runs)
            })
        });
        let ratio = theirs.map_or_else(|| "-".to_owned(), |theirs| format!("{:.2}", ours / theirs));
        let row = [
            case.name.to_owned(),
            case.threads.to_string(),
            figure(Some(ours)),
            figure(theirs),
            ratio,
        ];
        table.row(row);
    }
    println!("{table}");
}

/// The most operations in a microsecond of all rounds.
fn most(case: &Case, runs: u32, run: impl Fn(&mut State, u32) + Sync) -> f64 {
    let rounds = (0..ROUNDS).map(|_| together(case, runs, &run));
    rounds.fold(0.0, f64::max)
}

/// Operations in a microsecond, of all threads. Threads that have a processor each are timed by its time, others by the clock,
/// until the slowest is done.
fn together(case: &Case, runs: u32, run: impl Fn(&mut State, u32) + Sync) -> f64 {
    let (cpus, begin) = (cpus(), Barrier::new(case.threads as usize));
    let thread = |index: u32| {
        pin(cpus[index as usize % cpus.len()]);
        let mut state = State::new(case.keys, case.apart * index);
        // Threads use the same keys in another order.
        state.set_word(0, 42 + u64::from(index));
        run(&mut state, 64);
        begin.wait();
        let (start, busy) = (Instant::now(), cpu_time());
        run(&mut state, runs);
        if case.threads as usize <= cpus.len() {
            cpu_time() - busy
        } else {
            start.elapsed()
        }
    };
    let slowest = std::thread::scope(|scope| {
        let thread = &thread;
        let threads: Vec<_> = (0..case.threads)
            .map(|index| scope.spawn(move || thread(index)))
            .collect();
        let times = threads.into_iter().map(|thread| thread.join().expect("a thread ends"));
        times.fold(Duration::ZERO, Duration::max)
    });
    f64::from(case.threads) * f64::from(TIMES) * f64::from(runs) / (slowest.as_nanos() as f64 / 1000.0)
}

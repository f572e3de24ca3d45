//! What entering and leaving a run costs, and what is left of it in a batch.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use hitless_benches::thread::{cpu_time, cpus, pin};
use hitless_benches::{Calibration, Case, Table, budget, hook};

/// Calls in a measurement.
const CALLS: u32 = 20_000;
/// Calls of each of two threads.
const TOGETHER: u32 = 400_000;

fn main() {
    let Some(budget) = budget(10) else { return };
    let cases = hook::cases();
    let start = Instant::now();
    println!("{}", Calibration::measure());
    let mut least = vec![f64::INFINITY; cases.len()];
    let mut pairs = vec![[f64::INFINITY; 2]; cases.len()];
    let mut rounds = 0;
    while rounds < 3 || start.elapsed() < budget {
        for (case, least) in cases.iter().zip(&mut least) {
            let start = Instant::now();
            case.run(CALLS);
            *least = least.min(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
        }
        if rounds % 20 == 0 && cpus().len() > 1 {
            for (case, pair) in cases.iter().zip(&mut pairs) {
                for (threads, least) in (1..).zip(pair) {
                    *least = least.min(together(case, threads));
                }
            }
        }
        rounds += 1;
    }
    println!("{}; {rounds} rounds of every case in turns\n", Calibration::measure());
    println!(
        "A call with a program that does nothing, ns: least of all rounds. Two threads: processor time of the slower."
    );
    let mut table = Table::new(&["case", "1 thread", "2 threads", "scaling"]);
    for ((case, least), [one, two]) in cases.iter().zip(least).zip(pairs) {
        let scaling = 2.0 * one / two;
        table.row([
            case.name.to_owned(),
            format!("{least:.2}"),
            format!("{two:.2}"),
            format!("{scaling:.2}"),
        ]);
    }
    print!("{table}");
}

/// Processor time of a call, with so many threads doing the same, each on a processor of its own; that of the slower one.
fn together(case: &Case, threads: usize) -> f64 {
    let (cpus, begin) = (cpus(), Barrier::new(threads));
    let run = |cpu: usize| {
        pin(cpu);
        case.run(TOGETHER / 10);
        begin.wait();
        let start = cpu_time();
        case.run(TOGETHER);
        cpu_time() - start
    };
    let slowest = std::thread::scope(|scope| {
        let threads: Vec<_> = cpus[..threads]
            .iter()
            .map(|&cpu| scope.spawn(move || run(cpu)))
            .collect();
        let times = threads.into_iter().map(|thread| thread.join().expect("a thread ends"));
        times.fold(Duration::ZERO, Duration::max)
    });
    slowest.as_nanos() as f64 / f64::from(TOGETHER)
}

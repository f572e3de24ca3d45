//! What an upgrade costs, and what the traffic notices of it.

mod scene;

use std::time::{Duration, Instant};

use hitless_benches::table::{figure, micros};
use hitless_benches::{Calibration, Table, budget, quantile};

use scene::{Sample, Scene};

/// Every case is measured so often, a part of its time at once.
const ROUNDS: u32 = 3;
/// The shares of the time that go to the grace periods and, by case, to the upgrades.
const GRACE_SHARE: f64 = 0.1;
/// Longer than this, a pause of the gate is looked into.
const LONG: Duration = Duration::from_micros(100);

fn main() {
    let Some(budget) = budget(50) else { return };
    println!("{}", Calibration::measure());
    let mut results = Vec::new();
    for kind in scene::KINDS {
        results.extend(scene::THREADS.map(|threads| (kind, threads, Vec::new())));
    }
    let mut grace = scene::THREADS.map(|threads| (threads, Vec::new()));
    let slice = budget.mul_f64((1.0 - GRACE_SHARE) / f64::from(ROUNDS) / results.len() as f64);
    let grace_slice = budget.mul_f64(GRACE_SHARE / f64::from(ROUNDS) / grace.len() as f64);
    for _ in 0..ROUNDS {
        for (kind, threads, samples) in &mut results {
            Scene::new(kind, *threads).upgrade_for(slice, samples);
        }
        for (threads, times) in &mut grace {
            grace_periods(*threads, grace_slice, times);
        }
    }
    println!("{}; {ROUNDS} rounds of every case in turns\n", Calibration::measure());

    println!("The copy, and what one upgrade mirrored meanwhile");
    let heads = [
        "map, threads",
        "upgrades",
        "entries",
        "copy least µs",
        "p50",
        "ns/entry",
        "entries/s",
        "mirrored p50",
        "max",
    ];
    let mut table = Table::new(&heads);
    for (kind, threads, samples) in &results {
        let per_entry = |sample: &Sample| sample.copy.as_nanos() as f64 / sample.copied.max(1) as f64;
        let best = sorted(samples, per_entry).first().copied();
        let copy = sorted(samples, |sample| sample.copy.as_secs_f64() * 1e6);
        let (copied, mirrored) = (
            sorted(samples, |s| s.copied as f64),
            sorted(samples, |s| s.mirrored as f64),
        );
        let count = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
        table.row([
            format!("{}, {threads}", kind.name),
            samples.len().to_string(),
            count(quantile(&copied, 0.5)),
            figure(quantile(&copy, 0.0)),
            figure(quantile(&copy, 0.5)),
            figure(best),
            count(best.map(|ns| 1e9 / ns)),
            count(quantile(&mirrored, 0.5)),
            count(quantile(&mirrored, 1.0)),
        ]);
    }
    println!("{table}");

    println!("The pause, in µs");
    let heads = [
        "map, threads",
        "gate closed p50",
        "p99",
        "max",
        "longest wait p50",
        "p99",
        "max",
        "tries max",
        "over 100 µs",
        "of these queued",
    ];
    let mut table = Table::new(&heads);
    for (kind, threads, samples) in &results {
        let (gate, wait) = (sorted_times(samples, |s| s.gate), sorted_times(samples, |s| s.wait));
        let long = samples.iter().filter(|sample| sample.gate.max(sample.wait) > LONG);
        let queued = long
            .clone()
            .filter(|sample| sample.queued * 2 > sample.gate.max(sample.wait));
        let attempts = samples.iter().map(|sample| sample.attempts).max().unwrap_or(0);
        let cells = [&gate, &wait]
            .into_iter()
            .flat_map(|times| [0.5, 0.99, 1.0].map(|q| micros(quantile(times, q))));
        let counts = [attempts as usize, long.clone().count(), queued.count()];
        let name = format!("{}, {threads}", kind.name);
        table.row(
            [name]
                .into_iter()
                .chain(cells)
                .chain(counts.map(|count| count.to_string())),
        );
    }
    println!("{table}");

    println!("Where the time of an upgrade goes, least and median in µs");
    let heads = [
        "map, threads",
        "load",
        "p50",
        "attach",
        "p50",
        "copy",
        "p50",
        "cutover",
        "p50",
        "end",
        "p50",
        "total",
        "p50",
    ];
    let mut table = Table::new(&heads);
    for (kind, threads, samples) in &results {
        let parts: [fn(&Sample) -> Duration; 6] = [
            |s| s.load,
            |s| s.attach,
            |s| s.copy,
            |s| s.cutover,
            |s| s.end,
            |s| s.total,
        ];
        let cells = parts.iter().flat_map(|part| {
            let times = sorted_times(samples, part);
            [0.0, 0.5].map(|q| micros(quantile(&times, q)))
        });
        table.row([format!("{}, {threads}", kind.name)].into_iter().chain(cells));
    }
    println!("{table}");

    println!("Throughput of the hook, packets/ms of all threads");
    let mut table = Table::new(&["map, threads", "before", "during", "after", "during / before"]);
    for (kind, threads, samples) in results.iter().filter(|(_, threads, _)| *threads > 0) {
        let rate = |part: fn(&Sample) -> (u64, Duration)| {
            let sum = |(packets, time): (u64, Duration), sample: &Sample| {
                let (more, longer) = part(sample);
                (packets + more, time + longer)
            };
            let (packets, time) = samples.iter().fold((0, Duration::ZERO), sum);
            (!time.is_zero()).then(|| packets as f64 / time.as_secs_f64() / 1e3)
        };
        let [before, during, after] = [rate(|s| s.before), rate(|s| s.during), rate(|s| s.after)];
        let ratio = during.zip(before).map(|(during, before)| during / before);
        let name = format!("{}, {threads}", kind.name);
        table.row([name].into_iter().chain([before, during, after, ratio].map(figure)));
    }
    println!("{table}");

    println!(
        "A grace period (Runtime::synchronize), in µs, under the traffic of {}",
        scene::KINDS[1].name
    );
    let mut table = Table::new(&["threads", "calls", "least", "p50", "p99", "max"]);
    for (threads, times) in &mut grace {
        times.sort_unstable();
        let cells = [0.0, 0.5, 0.99, 1.0].map(|q| micros(quantile(times, q)));
        table.row([threads.to_string(), times.len().to_string()].into_iter().chain(cells));
    }
    print!("{table}");
}

fn grace_periods(threads: usize, time: Duration, times: &mut Vec<Duration>) {
    let scene = Scene::new(&scene::KINDS[1], threads);
    let start = Instant::now();
    scene.under_traffic(|_| {
        while start.elapsed() < time {
            let call = Instant::now();
            scene.runtime().synchronize(None).expect("nobody stays in a run");
            times.push(call.elapsed());
            std::thread::sleep(Duration::from_micros(200));
        }
    });
}

fn sorted(samples: &[Sample], part: impl Fn(&Sample) -> f64) -> Vec<f64> {
    let mut values: Vec<_> = samples.iter().map(part).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn sorted_times(samples: &[Sample], part: impl Fn(&Sample) -> Duration) -> Vec<Duration> {
    let mut times: Vec<_> = samples.iter().map(part).collect();
    times.sort_unstable();
    times
}

//! Cases, measured in turns.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hitless_benches::table::figure;
use hitless_benches::{quantile, thread};

/// Does some of what is measured; returns how many operations that were.
pub type Work = Box<dyn FnMut() -> u64 + Send>;

/// How long a case is measured in a round: alone, and with two threads, where only a whole window can be quiet.
const ALONE: Duration = Duration::from_millis(12);
pub const TOGETHER: Duration = Duration::from_millis(12);
const WINDOWS: usize = 4;
/// The least time to be read off the clock.
const CHUNK: Duration = Duration::from_millis(1);
/// The share of a window that each thread must have had a processor for.
const QUIET: f64 = 0.98;

/// Nanoseconds per operation, of one round after the other.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    quiet: Vec<f64>,
    noisy: Vec<f64>,
}

impl Samples {
    /// The least, of the rounds in which every thread had its processor if there are such.
    pub fn least(&self) -> Option<f64> {
        self.at(0.0)
    }

    /// The least as text; with a tilde if no round was quiet.
    pub fn least_text(&self) -> String {
        self.text(0.0)
    }

    /// The median of the same rounds, in the same way.
    pub fn median_text(&self) -> String {
        self.text(0.5)
    }

    fn text(&self, q: f64) -> String {
        let mark = if self.quiet.is_empty() && !self.noisy.is_empty() {
            "~"
        } else {
            ""
        };
        format!("{mark}{}", figure(self.at(q)))
    }

    fn at(&self, q: f64) -> Option<f64> {
        let mut samples = if self.quiet.is_empty() {
            self.noisy.clone()
        } else {
            self.quiet.clone()
        };
        samples.sort_unstable_by(f64::total_cmp);
        quantile(&samples, q)
    }

    pub fn add(&mut self, ns: f64, quiet: bool) {
        if quiet {
            self.quiet.push(ns)
        } else {
            self.noisy.push(ns)
        }
    }
}

/// One or two threads' work, and what it cost.
pub struct Case {
    works: Vec<Work>,
    pub samples: Samples,
}

impl Case {
    /// A case with a thread for each of the works.
    pub fn new(works: Vec<Work>) -> Case {
        let samples = Samples::default();
        Case { works, samples }
    }

    pub fn round(&mut self) {
        match self.works.as_mut_slice() {
            [work] => self.samples.add(alone(work, ALONE), true),
            works => {
                for _ in 0..WINDOWS {
                    let (ns, quiet) = together(works, TOGETHER);
                    self.samples.add(ns, quiet);
                }
            }
        }
    }
}

/// The least time for an operation, of several chunks, on a processor of its own.
pub fn alone(work: &mut Work, window: Duration) -> f64 {
    let measure = || {
        thread::cpus().last().copied().into_iter().for_each(thread::pin);
        work();
        let start = Instant::now();
        let mut least = f64::INFINITY;
        while start.elapsed() < window {
            let (chunk, mut operations) = (Instant::now(), 0);
            while chunk.elapsed() < CHUNK {
                operations += work();
            }
            least = least.min(chunk.elapsed().as_nanos() as f64 / operations as f64);
        }
        least
    };
    std::thread::scope(|scope| scope.spawn(measure).join().expect("a measurement"))
}

/// The mean processor time for an operation in each of the threads that work at the same time, and whether all had a
/// processor throughout.
pub fn together(works: &mut [Work], window: Duration) -> (f64, bool) {
    let (cpus, stop, begin) = (thread::cpus(), AtomicBool::new(false), Barrier::new(works.len() + 1));
    let measure = |cpu: Option<usize>, work: &mut Work| {
        cpu.into_iter().for_each(thread::pin);
        work();
        begin.wait();
        let (start, used) = (Instant::now(), thread::cpu_time());
        let mut operations = 0;
        while !stop.load(Relaxed) {
            operations += work();
        }
        let (wall, used) = (start.elapsed(), thread::cpu_time().saturating_sub(used));
        (
            used.as_nanos() as f64 / operations as f64,
            used.as_secs_f64() / wall.as_secs_f64(),
        )
    };
    let results: Vec<(f64, f64)> = std::thread::scope(|scope| {
        let spawn = |(i, work)| {
            scope.spawn({
                let (measure, cpu) = (&measure, cpus.get(i).copied());
                move || measure(cpu, work)
            })
        };
        let threads: Vec<_> = works.iter_mut().enumerate().map(spawn).collect();
        begin.wait();
        std::thread::sleep(window);
        stop.store(true, Relaxed);
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a measurement"))
            .collect()
    });
    let mean = results.iter().map(|(ns, _)| ns).sum::<f64>() / results.len() as f64;
    (mean, results.iter().all(|(_, share)| *share >= QUIET))
}

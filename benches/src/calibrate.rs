//! How fast the machine is right now.

use std::fmt;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use crate::thread::{Padded, cpus, pin};

const LOOPS: u64 = 1_000_000;
const TURNS: u32 = 20_000;
const ROUNDS: usize = 10;

/// Two figures of the machine, each the least of several rounds.
#[derive(Clone, Copy, Debug)]
pub struct Calibration {
    /// An iteration of a fixed chain of a multiplication, an addition and a shift, in nanoseconds.
    pub loop_ns: f64,
    /// The same while another processor does the same; more if they share a core. `None` with a single processor.
    pub both_ns: Option<f64>,
    /// What a word takes from one processor to another, in nanoseconds; `None` with a single processor.
    pub one_way_ns: Option<f64>,
}

impl Calibration {
    /// Measures; takes about a tenth of a second.
    #[must_use]
    pub fn measure() -> Calibration {
        let least = |round: fn() -> f64| (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min);
        Calibration {
            loop_ns: least(integer_loop),
            both_ns: (cpus().len() > 1).then(|| least(both_loops)),
            one_way_ns: (cpus().len() > 1).then(|| least(ping_pong)),
        }
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "calibration: integer loop {:.2} ns/iteration", self.loop_ns)?;
        match self.both_ns.zip(self.one_way_ns) {
            Some((both, one_way)) => write!(
                f,
                " ({both:.2} ns on two processors at once); a word from one to the other {one_way:.0} ns one way"
            ),
            None => write!(f, "; one processor only: no meaningful figure for two threads"),
        }
    }
}

fn integer_loop() -> f64 {
    let start = Instant::now();
    let mut x = black_box(1u64);
    for _ in 0..LOOPS {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        x ^= x >> 29;
    }
    black_box(x);
    start.elapsed().as_nanos() as f64 / LOOPS as f64
}

fn both_loops() -> f64 {
    let (cpus, begin) = (cpus(), std::sync::Barrier::new(2));
    let run = |cpu: usize| {
        pin(cpu);
        begin.wait();
        integer_loop()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| run(cpus[1]));
        let one = scope.spawn(|| run(cpus[0])).join().expect("a loop ends");
        one.max(other.join().expect("a loop ends"))
    })
}

fn ping_pong() -> f64 {
    let cpus = cpus();
    let word = Padded(AtomicU32::new(0));
    let play = |me: u32| {
        pin(cpus[me as usize]);
        let start = Instant::now();
        let mut n = me;
        while n < 2 * TURNS {
            while word.0.load(Relaxed) != n {
                std::hint::spin_loop();
            }
            n += 1;
            word.0.store(n, Relaxed);
            n += 1;
        }
        start.elapsed().as_nanos() as f64
    };
    let nanos = std::thread::scope(|scope| {
        scope.spawn(|| play(1));
        scope.spawn(|| play(0)).join().expect("a player ends")
    });
    nanos / f64::from(2 * TURNS)
}

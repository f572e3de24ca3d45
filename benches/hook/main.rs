//! What entering and leaving a run costs, and what is left of it in a batch.
//!
//! `HOOK_CALLS=N` makes N calls of each sort and prints nothing, for counting instructions:
//! `HOOK_CALLS=1000000 valgrind --tool=callgrind target/release/deps/hook-*`.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use hitless::context::{SkBuff, Tc};
use hitless::{Hook, Link, Packet, Runtime, Xdp};
use hitless_benches::thread::{cpu_time, cpus, pin};
use hitless_benches::{Calibration, Table, budget};
use hitless_object::{ObjectSpec, ProgramSpec};

/// Calls in a measurement.
const CALLS: u32 = 20_000;
/// Packets in a batch.
const BATCH: usize = 64;
/// Calls of each of two threads.
const TOGETHER: u32 = 400_000;

fn main() {
    let scene = Scene::new();
    if let Some(calls) = std::env::var("HOOK_CALLS").ok().and_then(|calls| calls.parse().ok()) {
        for case in CASES {
            (case.run)(&scene, calls);
        }
        return;
    }
    let Some(budget) = budget(10) else { return };
    let start = Instant::now();
    println!("{}", Calibration::measure());
    let mut least = [f64::INFINITY; CASES.len()];
    let mut pairs = [[f64::INFINITY; 2]; CASES.len()];
    let mut rounds = 0;
    while rounds < 3 || start.elapsed() < budget {
        for (case, least) in CASES.iter().zip(&mut least) {
            let start = Instant::now();
            (case.run)(&scene, CALLS);
            *least = least.min(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
        }
        if rounds % 20 == 0 && cpus().len() > 1 {
            for (case, pair) in CASES.iter().zip(&mut pairs) {
                for (threads, least) in (1..).zip(pair) {
                    *least = least.min(together(&scene, case, threads));
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
    for ((case, least), [one, two]) in CASES.iter().zip(least).zip(pairs) {
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

/// Hooks with an empty program, and one with none.
struct Scene {
    none: Hook<Xdp>,
    xdp: Hook<Xdp>,
    tc: Hook<Tc>,
    _links: [Link; 2],
    _runtime: Runtime,
}

impl Scene {
    fn new() -> Scene {
        let runtime = Runtime::default();
        let program = |name: &str, section: &str| ProgramSpec {
            name: name.into(),
            section: section.into(),
            insns: hitless_isa::asm::assemble("r0 = 2\nexit").expect("the program assembles"),
            autoload: true,
            ..ProgramSpec::default()
        };
        let spec = ObjectSpec {
            programs: vec![program("pass", "xdp"), program("shot", "tc")],
            ..ObjectSpec::default()
        };
        let object = runtime.load(&spec).expect("the programs load");
        let (xdp, tc) = (runtime.hook("empty"), runtime.hook("empty"));
        let attached = "the program is attached";
        Scene {
            none: runtime.hook("none"),
            _links: [
                runtime.attach(&xdp, &object.programs()[0]).expect(attached),
                runtime.attach(&tc, &object.programs()[1]).expect(attached),
            ],
            xdp,
            tc,
            _runtime: runtime,
        }
    }
}

struct Case {
    name: &'static str,
    run: fn(&Scene, u32),
}

const CASES: [Case; 4] = [
    Case {
        name: "Hook::run, no program",
        run: |scene, calls| xdp(&scene.none, calls),
    },
    Case {
        name: "Hook::run, XDP",
        run: |scene, calls| xdp(&scene.xdp, calls),
    },
    Case {
        name: "Hook::run, tc",
        run: |scene, calls| {
            let mut frame = [0; 64];
            let mut packet = SkBuff::new(&mut frame);
            for _ in 0..calls {
                let _ = black_box(scene.tc.run(black_box(&mut packet)));
            }
        },
    },
    Case {
        name: "Hook::run_batch, XDP",
        run: |scene, calls| {
            let mut frames = [[0; 64]; BATCH];
            let mut packets: Vec<_> = frames.iter_mut().map(|frame| Packet::new(frame)).collect();
            for _ in 0..calls / BATCH as u32 {
                let result = scene.xdp.run_batch(black_box(&mut packets), |_, verdict| {
                    let _ = black_box(verdict);
                });
                let _ = black_box(result);
            }
        },
    },
];

fn xdp(hook: &Hook<Xdp>, calls: u32) {
    let mut frame = [0; 64];
    let mut packet = Packet::new(&mut frame);
    for _ in 0..calls {
        let _ = black_box(hook.run(black_box(&mut packet)));
    }
}

/// Processor time of a call, with so many threads doing the same, each on a processor of its own; that of the slower one.
fn together(scene: &Scene, case: &Case, threads: usize) -> f64 {
    let (cpus, begin) = (cpus(), Barrier::new(threads));
    let run = |cpu: usize| {
        pin(cpu);
        (case.run)(scene, TOGETHER / 10);
        begin.wait();
        let start = cpu_time();
        (case.run)(scene, TOGETHER);
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

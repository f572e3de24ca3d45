//! What waiting costs: a grace period, and the replacement of a map in a map, beside Linux.

mod kernel;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hitless::{MapDef, MapHandle, MapKind, Runtime, UpdateFlags, Xdp};
use hitless_benches::table::micros;
use hitless_benches::{Calibration, Table, budget, input, quantile, thread};

/// Every case is measured so often, a part of its time at once.
const ROUNDS: u32 = 5;

/// What is waited for.
#[derive(Clone, Copy)]
enum Case {
    Synchronize,
    Replace,
    Kernel,
}

const CASES: [(&str, Case, bool); 5] = [
    ("synchronize, nothing runs", Case::Synchronize, false),
    ("synchronize, programs run", Case::Synchronize, true),
    ("replace an inner map, nothing runs", Case::Replace, false),
    ("replace an inner map, programs run", Case::Replace, true),
    ("Linux: replace an inner map", Case::Kernel, false),
];

fn main() {
    let Some(budget) = budget(15) else { return };
    println!("{}", Calibration::measure());
    let runtime = Runtime::default();
    let maps = maps(&runtime);
    let kernel = kernel::Maps::new();
    if let Err(reason) = &kernel {
        println!("no figures of Linux: {reason}");
    }
    let slice = budget / ROUNDS / CASES.len() as u32;
    let mut times = CASES.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for ((_, case, traffic), times) in CASES.iter().zip(&mut times) {
            let once: Box<dyn FnMut(u32) + '_> = match case {
                Case::Synchronize => Box::new(|_| runtime.synchronize(None).expect("outside of a run")),
                Case::Replace => Box::new(|n| {
                    let inner = &maps[1 + n as usize % 2];
                    let replaced = maps[0].insert_map(&[0; 4], inner, UpdateFlags::ANY);
                    replaced.expect("it fits");
                }),
                Case::Kernel => match &kernel {
                    Ok(kernel) => Box::new(|n| kernel.replace(n)),
                    Err(_) => continue,
                },
            };
            measure(&runtime, *traffic, slice, once, times);
        }
    }
    println!("{}; {ROUNDS} rounds of every case in turns\n", Calibration::measure());
    let mut table = Table::new(&["µs", "times", "least", "p50", "p99", "max"]);
    for ((name, ..), times) in CASES.iter().zip(&mut times) {
        times.sort_unstable();
        let figures = [0.0, 0.5, 0.99, 1.0].map(|q| micros(quantile(times, q)));
        table.row([(*name).to_owned(), times.len().to_string()].into_iter().chain(figures));
    }
    println!("{table}");
}

/// An array of maps, and two that fit in.
fn maps(runtime: &Runtime) -> [MapHandle; 3] {
    let inner = MapDef::new("inner", MapKind::Hash, 4, 8, 64);
    let outer = MapDef {
        inner: Some(Box::new(inner.clone())),
        ..MapDef::new("outer", MapKind::ArrayOfMaps, 4, 4, 1)
    };
    [outer, inner.clone(), inner].map(|def| runtime.create_map(def).expect("a map"))
}

/// Does something again and again, on a processor of its own, while programs run on another one if there is to be traffic.
fn measure(runtime: &Runtime, traffic: bool, slice: Duration, mut once: impl FnMut(u32), times: &mut Vec<Duration>) {
    let done = AtomicBool::new(false);
    let cpus = thread::cpus();
    std::thread::scope(|scope| {
        if traffic {
            scope.spawn(|| {
                thread::pin(cpus[cpus.len() - 1]);
                let object = runtime.load(&input::object("flows_v1")).expect("the object loads");
                let hook = runtime.hook::<Xdp>("xdp");
                let _link = runtime.attach(&hook, &object.programs()[0]).expect("it attaches");
                let mut frames = input::frames();
                while !done.load(Relaxed) {
                    frames.iter_mut().for_each(|frame| input::send(&hook, frame));
                }
            });
        }
        thread::pin(cpus[0]);
        let start = Instant::now();
        for n in 0.. {
            let begin = Instant::now();
            once(n);
            times.push(begin.elapsed());
            if start.elapsed() >= slice {
                break;
            }
        }
        done.store(true, Relaxed);
    });
}

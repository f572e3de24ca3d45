//! What a packet costs, in hitless and in Linux; what map tracing adds; what the host's own calls cost.

mod kernel;
mod measure;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hitless::{Collection, Hook, Link, Map, Runtime, UpdateFlags};
use hitless_benches::input::{self, Random};
use hitless_benches::table::figure;
use hitless_benches::{Calibration, Table, budget};

use kernel::Kernel;
use measure::{Case, Samples, TOGETHER, Work, alone, together};

/// How many frames of the capture, evenly spread, are run again and again for the comparison with Linux.
const SAMPLE: usize = 32;
/// How often the kernel repeats a frame: alone for a millisecond or more; with two threads long enough that
/// their system calls, which take some 30 ms before they begin, overlap for the most part.
const REPEAT: u32 = 30_000;
const REPEAT_TOGETHER: u32 = 4_000_000;
/// How many pairs of frames two threads are compared on.
const PAIRS: usize = 3;
/// Keys for each thread that changes a map.
const KEYS: u32 = 256;

fn main() {
    let Some(budget) = budget(45) else { return };
    let start = Instant::now();
    println!("{}", Calibration::measure());

    let frames = input::frames();
    let mut cases = Cases::default();
    let replays = ["flows_v1", "flows_v2"].map(|object| (object, cases.replay(object, &frames)));
    let entering = cases.pair(&|_| {
        let runtime = Runtime::default();
        let hook = runtime.hook("none");
        let mut frame = frames[0].clone();
        Box::new(move || {
            // The runtime is kept.
            let _ = &runtime;
            (0..1000).for_each(|_| input::send(&hook, &mut frame));
            1000
        })
    });
    let mut writers = Vec::new();
    for (name, commands) in WRITERS {
        writers.push((*name, [false, true].map(|traced| cases.writer(traced, commands))));
    }
    let mut host = Vec::new();
    for (name, operation) in HOST {
        host.push((*name, [false, true].map(|traced| cases.host(traced, *operation))));
    }
    let flow_maps =
        FLOW_MAP.map(|(name, operation)| (name, cases.flow_map(operation), cases.flow_map_in_linux(operation)));

    let mut compared: Vec<_> = ["flows_v1", "flows_v2"]
        .map(|object| Compared::new(object, &frames))
        .into();
    let mut rounds = 0;
    while rounds < 3 || start.elapsed() < budget {
        cases.all.iter_mut().for_each(Case::round);
        compared.iter_mut().for_each(Compared::round);
        rounds += 1;
    }

    println!("{}; {rounds} rounds of every case in turns\n", Calibration::measure());
    println!("hitless runs native code. Linux does where a line below says so.");
    println!("Least of all rounds in which every thread had its processor; ~ if there was no such round.\n");
    println!(
        "The capture ({} frames) replayed in order through Hook::run, ns per packet and thread",
        frames.len()
    );
    let mut table = Table::new(&["hitless", "1 thread", "median", "2 threads", "median"]);
    for (object, pair) in replays {
        table.row([object.to_owned()].into_iter().chain(cases.figures(pair)));
    }
    table.row(
        ["no program attached".to_owned()]
            .into_iter()
            .chain(cases.figures(entering)),
    );
    println!("{table}");

    println!("The same {SAMPLE} frames of it, each again and again, ns per packet and thread");
    let mut table = Table::new(&["object, threads", "hitless", "Linux", "hitless / Linux"]);
    for object in &compared {
        for (threads, [hitless, linux]) in object.results() {
            let ratio = hitless.zip(linux).map(|(hitless, linux)| hitless / linux);
            table.row([
                format!("{}, {threads}", object.name),
                figure(hitless),
                figure(linux),
                figure(ratio),
            ]);
        }
    }
    println!("{table}");
    for object in &compared {
        println!("{}", object.linux());
    }
    println!("Linux: {}\n", kernel::settings());

    println!(
        "A program changes a map (trace_mirror), with and without on_update and on_delete attached, ns per packet and thread"
    );
    print!("{}", cases.traced(&writers));
    println!("\nThe host changes the same map, ns per call and thread");
    print!("{}", cases.traced(&host));
    println!("\nThe host uses the map of flows_v1 (keys of 40 bytes, values of 8), ns per call");
    let mut table = Table::new(&["call", "hitless", "Linux, bpf(2)"]);
    for (name, hitless, linux) in flow_maps {
        let linux = linux.and_then(|case| cases.all[case].samples.least());
        table.row([
            name.to_owned(),
            figure(cases.all[hitless].samples.least()),
            figure(linux),
        ]);
    }
    println!("{table}");
}

/// The commands of `trace_mirror`'s writer (`bpf/trace_mirror.bpf.c`) that each packet of a case gives, in turns.
const WRITERS: &[(&str, &[u8])] = &[
    ("update", &[1]),
    ("add through a pointer", &[4]),
    ("delete, insert", &[2, 1]),
];

type HostOperation = fn(&Map, &[u8; 4]);

const HOST: &[(&str, HostOperation)] = &[
    ("Map::update", |map, key| {
        map.update(key, &[1; 8], UpdateFlags::ANY).expect("an update")
    }),
    ("Map::lookup", |map, key| {
        assert!(map.lookup(key).expect("a lookup").is_some())
    }),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum FlowMap {
    Update,
    Lookup,
}

const FLOW_MAP: [(&str, FlowMap); 2] = [("update", FlowMap::Update), ("lookup", FlowMap::Lookup)];

/// Indices of the cases with one and with two threads.
type Pair = [usize; 2];

#[derive(Default)]
struct Cases {
    all: Vec<Case>,
}

/// An object that is loaded and attached; the links go with it.
struct Loaded {
    runtime: Runtime,
    hook: Hook,
    object: Collection,
    links: Vec<Link>,
}

impl Loaded {
    fn new(object: &str, program: &str) -> Loaded {
        let runtime = Runtime::default();
        let object = runtime.load(&input::object(object)).expect("the object loads");
        let hook = runtime.hook("xdp");
        let program = object.program(program).expect("the program");
        let links = vec![runtime.attach(&hook, program).expect("it attaches")];
        Loaded {
            runtime,
            hook,
            object,
            links,
        }
    }

    fn map(&self, name: &str) -> Arc<Map> {
        Arc::clone(self.object.map(name).expect("the map"))
    }

    /// `trace_mirror` with every key in its map, traced or not.
    fn mirror(traced: bool) -> Loaded {
        let mut loaded = Loaded::new("trace_mirror", "writer");
        let source = loaded.map("source");
        let tracers: &[&str] = if traced { &["on_update", "on_delete"] } else { &[] };
        for name in tracers {
            let program = loaded.object.program(name).expect("a tracer");
            loaded
                .links
                .push(loaded.runtime.trace_map(&source, program).expect("it attaches"));
        }
        for key in 0..2 * KEYS {
            source
                .update(&key.to_ne_bytes(), &[0; 8], UpdateFlags::ANY)
                .expect("an update");
        }
        loaded
    }
}

impl Cases {
    /// Two cases of works that are made with the number of the thread and of all: one alone, and two together.
    fn pair(&mut self, make: &dyn Fn((usize, usize)) -> Work) -> Pair {
        [1, 2].map(|threads| self.add((0..threads).map(|thread| make((thread, threads))).collect()))
    }

    fn add(&mut self, works: Vec<Work>) -> usize {
        self.all.push(Case::new(works));
        self.all.len() - 1
    }

    fn replay(&mut self, object: &str, frames: &[Vec<u8>]) -> Pair {
        let loaded = Arc::new(Loaded::new(object, "count_flows"));
        self.pair(&|(thread, threads)| {
            let own = frames.iter().filter(|frame| input::steer(frame, threads) == thread);
            let mut own: Vec<_> = own.cloned().collect();
            let loaded = Arc::clone(&loaded);
            Box::new(move || {
                own.iter_mut().for_each(|frame| input::send(&loaded.hook, frame));
                own.len() as u64
            })
        })
    }

    fn writer(&mut self, traced: bool, commands: &'static [u8]) -> Pair {
        let loaded = Arc::new(Loaded::mirror(traced));
        self.pair(&|(thread, _)| {
            let loaded = Arc::clone(&loaded);
            let mut random = Random(thread as u32 + 1);
            Box::new(move || {
                for _ in 0..500 {
                    let key = thread as u32 * KEYS + random.below(KEYS);
                    for op in commands {
                        let mut packet = [0; 16];
                        packet[0] = *op;
                        packet[4..8].copy_from_slice(&key.to_ne_bytes());
                        packet[8] = 1;
                        input::send(&loaded.hook, &mut packet);
                    }
                }
                500 * commands.len() as u64
            })
        })
    }

    fn host(&mut self, traced: bool, operation: HostOperation) -> Pair {
        let loaded = Arc::new(Loaded::mirror(traced));
        self.pair(&|(thread, _)| {
            let loaded = Arc::clone(&loaded);
            let source = loaded.map("source");
            let mut random = Random(thread as u32 + 1);
            Box::new(move || {
                // The links are kept.
                let _ = &loaded;
                for _ in 0..1000 {
                    let key = thread as u32 * KEYS + random.below(KEYS);
                    operation(&source, &key.to_ne_bytes());
                }
                1000
            })
        })
    }

    fn flow_map(&mut self, operation: FlowMap) -> usize {
        let map = Loaded::new("flows_v1", "count_flows").map("flows");
        for i in 0..KEYS {
            map.update(&flow_key(i), &[0; 8], UpdateFlags::ANY).expect("an update");
        }
        let mut random = Random(1);
        self.add(vec![Box::new(move || {
            for _ in 0..1000 {
                let key = flow_key(random.below(KEYS));
                match operation {
                    FlowMap::Update => map.update(&key, &[1; 8], UpdateFlags::ANY).expect("an update"),
                    FlowMap::Lookup => assert!(map.lookup(&key).expect("a lookup").is_some()),
                }
            }
            1000
        })])
    }

    fn flow_map_in_linux(&mut self, operation: FlowMap) -> Option<usize> {
        let mut kernel = Kernel::load(&input::object_bytes("flows_v1")).ok()?;
        let mut map = kernel.take_flows()?;
        (0..KEYS).try_for_each(|i| map.insert(flow_key(i), [0; 8], 0)).ok()?;
        let mut random = Random(1);
        Some(self.add(vec![Box::new(move || {
            for _ in 0..1000 {
                let key = flow_key(random.below(KEYS));
                match operation {
                    FlowMap::Update => map.insert(key, [1; 8], 0).expect("an update"),
                    FlowMap::Lookup => assert_eq!(map.get(&key, 0).expect("a lookup").len(), 8),
                }
            }
            1000
        })]))
    }

    fn figures(&self, pair: Pair) -> impl Iterator<Item = String> {
        let samples = pair.map(|case| self.all[case].samples.clone());
        samples
            .into_iter()
            .flat_map(|samples| [samples.least_text(), samples.median_text()])
    }

    fn traced(&self, cases: &[(&str, [Pair; 2])]) -> Table {
        let heads = [
            "operation",
            "untraced",
            "traced",
            "difference",
            "untraced, 2 threads",
            "traced, 2 threads",
        ];
        let mut table = Table::new(&heads);
        for (name, [untraced, traced]) in cases {
            let least = |pair: &Pair, i: usize| self.all[pair[i]].samples.least();
            let difference = least(traced, 0)
                .zip(least(untraced, 0))
                .map(|(traced, untraced)| traced - untraced);
            let text = |pair: &Pair, i: usize| self.all[pair[i]].samples.least_text();
            let alone = [text(untraced, 0), text(traced, 0), figure(difference)];
            let together = [text(untraced, 1), text(traced, 1)];
            table.row([(*name).to_owned()].into_iter().chain(alone).chain(together));
        }
        table
    }
}

fn flow_key(i: u32) -> [u8; 40] {
    let mut key = [0; 40];
    key[8..16].copy_from_slice(&[0xff, 0xff, 0, 0, 10, 0, 0, 1]);
    key[32..36].copy_from_slice(&i.to_ne_bytes());
    key[36] = 6;
    key
}

/// One object in hitless and in Linux, frame by frame in turns.
struct Compared {
    name: &'static str,
    loaded: Arc<Loaded>,
    kernel: Result<Kernel, kernel::Unavailable>,
    frames: Vec<Vec<u8>>,
    /// By frame: hitless, Linux.
    alone: Vec<[Samples; 2]>,
    together: Vec<[Samples; 2]>,
}

impl Compared {
    fn new(name: &'static str, frames: &[Vec<u8>]) -> Compared {
        Compared {
            name,
            loaded: Arc::new(Loaded::new(name, "count_flows")),
            kernel: Kernel::load(&input::object_bytes(name)),
            frames: frames
                .iter()
                .step_by(frames.len() / SAMPLE)
                .take(SAMPLE)
                .cloned()
                .collect(),
            alone: vec![Default::default(); SAMPLE],
            together: vec![Default::default(); PAIRS],
        }
    }

    fn work(&self, frame: usize) -> Work {
        let (loaded, mut frame) = (Arc::clone(&self.loaded), self.frames[frame].clone());
        Box::new(move || {
            (0..200).for_each(|_| input::send(&loaded.hook, &mut frame));
            200
        })
    }

    fn round(&mut self) {
        for frame in 0..SAMPLE {
            let ns = alone(&mut self.work(frame), Duration::from_millis(6));
            self.alone[frame][0].add(ns, true);
            if let Ok(kernel) = &self.kernel {
                let ns = kernel.run(&self.frames[frame], REPEAT).expect("the kernel runs it");
                self.alone[frame][1].add(ns, true);
            }
        }
        for pair in 0..PAIRS {
            // Frames far from each other, so of different flows.
            let frames = [2 * pair, SAMPLE / 2 + 2 * pair];
            for _ in 0..4 {
                let (ns, quiet) = together(&mut frames.map(|frame| self.work(frame)), TOGETHER);
                self.together[pair][0].add(ns, quiet);
            }
            if let Ok(kernel) = &self.kernel {
                let frames = frames.map(|frame| self.frames[frame].as_slice());
                self.together[pair][1].add(kernel_together(kernel, frames), true);
            }
        }
    }

    /// By number of threads: the means over the frames of the least times, in hitless and in Linux.
    fn results(&self) -> [(&'static str, [Option<f64>; 2]); 2] {
        let mean = |all: &[[Samples; 2]]| {
            [0, 1].map(|side| {
                let sum = all.iter().map(|samples| samples[side].least()).sum::<Option<f64>>();
                sum.map(|sum| sum / all.len() as f64)
            })
        };
        [
            ("1 thread", mean(&self.alone)),
            ("2 threads, 3 frames each", mean(&self.together)),
        ]
    }

    /// What Linux made of the object.
    fn linux(&self) -> String {
        match &self.kernel {
            Err(error) => format!("Linux: {} skipped: {error}", self.name),
            Ok(kernel) => match kernel.jited_bytes() {
                Some(0) => format!("Linux: {} interpreted", self.name),
                Some(bytes) => format!(
                    "Linux: {} compiled by its JIT to {bytes} bytes of machine code",
                    self.name
                ),
                None => format!("Linux: {} loaded; whether its JIT compiled it is unknown", self.name),
            },
        }
    }
}

/// Two threads run the kernel's program at the same time: nanoseconds for a run, their mean.
fn kernel_together(kernel: &Kernel, frames: [&[u8]; 2]) -> f64 {
    let cpus = hitless_benches::thread::cpus();
    let ns = std::thread::scope(|scope| {
        let mut i = 0;
        let threads = frames.map(|frame| {
            let cpu = cpus.get(i).copied();
            i += 1;
            scope.spawn(move || {
                cpu.into_iter().for_each(hitless_benches::thread::pin);
                kernel.run(frame, REPEAT_TOGETHER).expect("the kernel runs it")
            })
        });
        threads.map(|thread| thread.join().expect("a measurement"))
    });
    (ns[0] + ns[1]) / 2.0
}

//! An object under traffic, upgraded again and again.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hitless::upgrade::{Options, Progress, Upgrade};
use hitless::{Collection, Hook, Link, Runtime, UpdateFlags};
use hitless_benches::input::{self, Random};
use hitless_benches::thread::{self, Padded};
use hitless_object::ObjectSpec;

/// How many threads send packets while the object is upgraded by another.
pub const THREADS: [usize; 3] = [0, 1, 2];

/// What is upgraded.
pub struct Kind {
    pub name: &'static str,
    /// Entries of a map from `u32` to `u64`, all of them live; none for the flow programs under the capture.
    entries: Option<u32>,
}

pub const KINDS: &[Kind; 4] = &[
    Kind {
        name: "512",
        entries: Some(512),
    },
    Kind {
        name: "4096",
        entries: Some(4096),
    },
    Kind {
        name: "65536",
        entries: Some(65_536),
    },
    Kind {
        name: "flows",
        entries: None,
    },
];

/// How long the traffic is watched before and after each upgrade.
const WATCH: Duration = Duration::from_millis(3);

/// One upgrade.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The plan, the verifier, the new maps.
    pub load: Duration,
    /// From there until the first entry was copied: mirrors attached.
    pub attach: Duration,
    /// As reported by the upgrade, like the next two.
    pub copy: Duration,
    pub gate: Duration,
    pub wait: Duration,
    /// From before the gate closed until the old programs were free.
    pub cutover: Duration,
    /// What came after: mirrors detached.
    pub end: Duration,
    pub total: Duration,
    pub copied: u64,
    /// Updates and deletes.
    pub mirrored: u64,
    pub attempts: u32,
    /// The longest that a thread, the upgrading one included, waited for a processor, of waits that ended during the cutover.
    pub queued: Duration,
    /// Packets, and in which time.
    pub before: (u64, Duration),
    pub during: (u64, Duration),
    pub after: (u64, Duration),
}

/// A runtime with an object and its traffic.
pub struct Scene {
    runtime: Runtime,
    hook: Hook,
    object: Collection,
    _link: Link,
    /// What the object is upgraded to, in turns.
    next: [ObjectSpec; 2],
    entries: Option<u32>,
    threads: usize,
}

/// What the threads have sent, and their numbers for [`thread::queued`].
pub struct Traffic {
    sent: Vec<Padded<AtomicU64>>,
    ids: Vec<AtomicU32>,
    stop: AtomicBool,
}

impl Traffic {
    fn sent(&self) -> u64 {
        self.sent.iter().map(|sent| sent.0.load(Relaxed)).sum()
    }

    /// How long each thread has waited for a processor so far, the caller first.
    fn queued(&self) -> Vec<Duration> {
        let ids = self.ids.iter().map(|id| id.load(Relaxed));
        [thread::id()]
            .into_iter()
            .chain(ids)
            .map(|id| thread::queued(id).unwrap_or_default())
            .collect()
    }
}

impl Scene {
    pub fn new(kind: &Kind, threads: usize) -> Scene {
        let runtime = Runtime::default();
        let (first, next) = match kind.entries {
            Some(entries) => (input::adder(entries), [input::adder(entries), input::adder(entries)]),
            None => (input::object("flows_v1"), ["flows_v2", "flows_v3"].map(input::object)),
        };
        let object = runtime.load(&first).expect("the object loads");
        let hook = runtime.hook("xdp");
        let link = runtime
            .attach(&hook, &object.programs()[0])
            .expect("the program attaches");
        match kind.entries {
            Some(entries) => {
                for key in 0..entries {
                    let updated = object.maps()[0].update(&key.to_ne_bytes(), &[0; 8], UpdateFlags::ANY);
                    updated.expect("the map has room");
                }
            }
            None => input::frames().iter_mut().for_each(|frame| input::send(&hook, frame)),
        }
        Scene {
            runtime,
            hook,
            object,
            _link: link,
            next,
            entries: kind.entries,
            threads,
        }
    }

    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Calls `f` while the threads send.
    pub fn under_traffic<R>(&self, f: impl FnOnce(&Traffic) -> R) -> R {
        let traffic = Traffic {
            sent: (0..self.threads).map(|_| Padded::default()).collect(),
            ids: (0..self.threads).map(|_| AtomicU32::new(0)).collect(),
            stop: AtomicBool::new(false),
        };
        std::thread::scope(|scope| {
            for thread in 0..self.threads {
                let (traffic, hook, entries) = (&traffic, &self.hook, self.entries);
                let threads = self.threads;
                scope.spawn(move || {
                    traffic.ids[thread].store(thread::id(), Relaxed);
                    match entries {
                        Some(entries) => {
                            let mut random = Random(thread as u32 + 1);
                            traffic.send(thread, || input::send(hook, &mut input::add_one(random.below(entries))));
                        }
                        None => {
                            let mut own = input::frames();
                            own.retain(|frame| input::steer(frame, threads) == thread);
                            let mut at = 0;
                            traffic.send(thread, || {
                                input::send(hook, &mut own[at]);
                                at = (at + 1) % own.len();
                            });
                        }
                    }
                });
            }
            while traffic.sent.iter().any(|sent| sent.0.load(Relaxed) < 100) {
                std::thread::sleep(Duration::from_micros(100));
            }
            let result = f(&traffic);
            traffic.stop.store(true, Relaxed);
            result
        })
    }

    /// Upgrades again and again for so long, and at least twice.
    pub fn upgrade_for(mut self, time: Duration, samples: &mut Vec<Sample>) {
        let start = Instant::now();
        let (first, runtime) = (self.object.clone(), self.runtime.clone());
        let mut upgrades = 0;
        let last = self.under_traffic(|traffic| {
            let mut object = first;
            while upgrades < 2 || start.elapsed() < time {
                let (new, sample) = upgrade(&runtime, &object, &self.next[upgrades % 2], traffic);
                samples.push(sample);
                object = new;
                upgrades += 1;
            }
            object
        });
        self.object = last;
    }
}

impl Traffic {
    fn send(&self, thread: usize, mut packet: impl FnMut()) {
        let mut sent = 0;
        while !self.stop.load(Relaxed) {
            packet();
            sent += 1;
            self.sent[thread].0.store(sent, Relaxed);
        }
    }

    fn watch(&self) -> (u64, Duration) {
        if self.sent.is_empty() {
            return (0, Duration::ZERO);
        }
        let (start, before) = (Instant::now(), self.sent());
        std::thread::sleep(WATCH);
        (self.sent() - before, start.elapsed())
    }
}

fn upgrade(runtime: &Runtime, old: &Collection, new: &ObjectSpec, traffic: &Traffic) -> (Collection, Sample) {
    let options = Options {
        always_copy: true,
        ..Options::default()
    };
    let before = traffic.watch();
    let (sent, start) = (traffic.sent(), Instant::now());
    let at = || start.elapsed();
    // Looking at the threads takes time that is not the upgrade's: from `copied` to `closing`, from `done` to `resumed`.
    let [loaded, attached, copied, closing, done, resumed] = [const { Cell::new(Duration::ZERO) }; 6];
    let (mut queued, mut waits) = (Vec::new(), Vec::new());
    let mut progress = |progress: Progress<'_>| match progress {
        Progress::Tracing => loaded.set(at()),
        Progress::Copying { .. } if attached.get().is_zero() => attached.set(at()),
        Progress::Copying { .. } => {}
        Progress::Cutover { attempt } => {
            if attempt == 1 {
                copied.set(at());
                queued = traffic.queued();
                closing.set(at());
            }
        }
        Progress::Done => {
            done.set(at());
            waits = traffic.queued();
            resumed.set(at());
        }
    };
    let (collection, report) = Upgrade::new(runtime, old, new, options)
        .run(&mut progress)
        .expect("the upgrade succeeds");
    let (end, during) = (at(), traffic.sent() - sent);
    let looking = (closing.get() - copied.get()) + (resumed.get() - done.get());
    let after = traffic.watch();
    let map = &report.maps[0];
    let sample = Sample {
        load: loaded.get(),
        attach: attached.get() - loaded.get(),
        copy: report.copy_time,
        gate: report.gate_closed,
        wait: report.longest_wait,
        cutover: done.get() - closing.get(),
        end: end - resumed.get(),
        total: end - looking,
        copied: map.copied,
        mirrored: map.mirrored_updates + map.mirrored_deletes,
        attempts: report.attempts,
        queued: waits
            .iter()
            .zip(&queued)
            .map(|(now, then)| now.saturating_sub(*then))
            .max()
            .unwrap_or_default(),
        before,
        during: (during, end),
        after,
    };
    (collection, sample)
}

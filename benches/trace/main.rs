//! What map tracing costs: updates of a hash by a program, untraced, traced, and mirrored into a second hash.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hitless::{Collection, Hook, Link, Packet, Runtime, Xdp, XdpAction};
use hitless_benches::thread::{cpu_time, cpus, pin};
use hitless_benches::{Calibration, Table, budget};
use hitless_object::{MapSpec, ObjectSpec, ProgramSpec};

/// Keys that a run updates, one after the other, so that entering it costs next to nothing.
const KEYS: u32 = 64;
/// Keys in the map.
const ENTRIES: u32 = 65_536;
/// Runs for one figure.
const RUNS: u32 = 2000;

/// Updates as many keys, from the one in the packet on, whose values are there.
const WRITER: &str = "
    r6 = *(u32 *)(r1 +0)
    r7 = *(u32 *)(r1 +4)
    r0 = 1
    r2 = r6
    r2 += 8
    if r2 > r7 goto out
    r8 = *(u32 *)(r6 +0)
    r9 = 64
again:
    *(u32 *)(r10 -4) = r8
    *(u64 *)(r10 -16) = r9
    r1 = map[idx:0]
    r2 = r10
    r2 += -4
    r3 = r10
    r3 += -16
    r4 = 0
    call bpf_map_update_elem#2
    r8 += 1
    r9 += -1
    if r9 != 0 goto again
    r0 = 2
out:
    exit";

const EMPTY: &str = "r0 = 0\nexit";

const MIRROR: &str = "
    r2 = *(u64 *)(r1 +0)
    r3 = *(u64 *)(r1 +8)
    r1 = map[idx:1]
    r4 = 0
    call bpf_map_update_elem#2
    r0 = 0
    exit";

fn object() -> ObjectSpec {
    const HASH: u32 = 1;
    let map = |name: &str| MapSpec {
        name: name.into(),
        map_type: HASH,
        key_size: 4,
        value_size: 8,
        max_entries: ENTRIES,
        ..MapSpec::default()
    };
    let program = |name: &str, section: &str, text| ProgramSpec {
        name: name.into(),
        section: section.into(),
        insns: hitless_isa::asm::assemble(text).expect("it assembles"),
        ..ProgramSpec::default()
    };
    ObjectSpec {
        license: "Dual MIT/GPL".into(),
        maps: vec![map("source"), map("mirror")],
        programs: vec![
            program("writer", "xdp", WRITER),
            program("empty", "map_trace/source/UPDATE_ELEM", EMPTY),
            program("copy", "map_trace/source/UPDATE_ELEM", MIRROR),
        ],
        ..ObjectSpec::default()
    }
}

/// A case: a runtime of its own, with a tracer or none.
struct Case {
    name: &'static str,
    hook: Hook,
    /// Nanoseconds of one thread for an update.
    one: f64,
    /// The same of each of two threads, on keys of their own.
    two: f64,
    _object: Collection,
    _links: Vec<Link>,
}

impl Case {
    fn new(name: &'static str, tracer: Option<&str>) -> Case {
        let runtime = Runtime::default();
        let object = runtime.load(&object()).expect("the object loads");
        let hook = runtime.hook::<Xdp>("xdp");
        let program = |name| Arc::clone(object.program(name).expect("a program"));
        let mut links = vec![runtime.attach(&hook, &program("writer")).expect("attaches")];
        if let Some(name) = tracer {
            let source = object.map("source").expect("a map");
            links.push(runtime.trace_map(source, &program(name)).expect("attaches"));
        }
        for first in (0..ENTRIES).step_by(KEYS as usize) {
            update(&hook, first);
        }
        let traced = program("writer").is_traced();
        assert_eq!(traced, tracer.is_some());
        Case {
            name,
            hook,
            one: f64::INFINITY,
            two: f64::INFINITY,
            _object: object,
            _links: links,
        }
    }

    fn measure(&mut self) {
        self.one = self.one.min(updates(&self.hook, 0, ENTRIES));
        let cpus = cpus();
        if cpus.len() < 2 {
            return;
        }
        // Processor time, so that what others do on the machine does not count.
        let half = ENTRIES / 2;
        let run = |index: u32| {
            pin(cpus[index as usize]);
            updates(&self.hook, index * half, half)
        };
        let both = std::thread::scope(|scope| {
            let other = scope.spawn(|| run(1));
            let one = scope.spawn(|| run(0)).join().expect("it ends");
            one.max(other.join().expect("it ends"))
        });
        self.two = self.two.min(both);
    }
}

fn update(hook: &Hook, first: u32) {
    let mut packet = [0; 8];
    packet[..4].copy_from_slice(&first.to_ne_bytes());
    assert_eq!(hook.run(&mut Packet::new(&mut packet)), Ok(XdpAction::Pass));
}

/// Processor time for an update, in nanoseconds: of keys from `first` on, `count` of them in turn.
fn updates(hook: &Hook, first: u32, count: u32) -> f64 {
    let start = cpu_time();
    for run in 0..RUNS {
        update(hook, first + run * KEYS % count);
    }
    let time: Duration = cpu_time() - start;
    time.as_nanos() as f64 / f64::from(RUNS * KEYS)
}

fn main() {
    let Some(budget) = budget(10) else { return };
    println!("{}", Calibration::measure());
    let mut cases = [
        Case::new("untraced", None),
        Case::new("traced, by an empty program", Some("empty")),
        Case::new("mirrored into a second hash", Some("copy")),
    ];
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < 5 || start.elapsed() < budget {
        cases.iter_mut().for_each(Case::measure);
        rounds += 1;
    }
    let mut table = Table::new(&[
        "update of a hash, u32 to u64",
        "ns",
        "to untraced",
        "2 threads, ns",
        "scaling",
    ]);
    let untraced = cases[0].one;
    for case in &cases {
        table.row([
            case.name.to_owned(),
            format!("{:.1}", case.one),
            format!("{:.2}", case.one / untraced),
            format!("{:.1}", case.two),
            format!("{:.2}", 2.0 * case.one / case.two),
        ]);
    }
    println!("\n{table}\n{rounds} rounds; the least of each");
}

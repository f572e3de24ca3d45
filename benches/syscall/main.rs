//! What `bpf(2)` adds to the typed call that it makes, in this process.

use std::time::Instant;

use hitless::{MapHandle, Runtime, UpdateFlags};
use hitless_benches::table::figure;
use hitless_benches::{Calibration, Table, budget};
use hitless_syscall::{Bpf, Local};

const CREATE: u32 = 0;
const LOOKUP: u32 = 1;
const UPDATE: u32 = 2;
const HASH: u32 = 1;
const ARRAY: u32 = 2;

/// How many calls are timed at once.
const CALLS: u32 = 10_000;
/// The most that `bpf(2)` may add, in nanoseconds.
const LIMIT: f64 = 300.0;

/// `union bpf_attr` of commands on elements.
#[repr(C)]
struct Element {
    map_fd: u64,
    key: *const u32,
    value: *mut u64,
    flags: u64,
}

/// A map, its descriptor, an element of it, and what the two ways to get at it have taken at the least.
struct Case {
    name: &'static str,
    map: MapHandle,
    element: Element,
    command: u32,
    typed: f64,
    call: f64,
}

fn main() {
    let Some(budget) = budget(5) else { return };
    println!("{}", Calibration::measure());
    let bpf = Bpf::new(Runtime::default()).expect("there are descriptors left");
    // SAFETY: attributes point to `key` and `value`, which are used by nothing else while a call is made.
    let caller = unsafe { Local::new() };
    let key = 1u32;
    let mut value = 7u64;
    let mut cases: Vec<Case> = Vec::new();
    for (kind, name) in [
        (ARRAY, ["array lookup", "array update"]),
        (HASH, ["hash lookup", "hash update"]),
    ] {
        let attr = [kind, 4, 8, 16];
        let fd = bpf.call(&caller, CREATE, attr.as_ptr() as u64, size_of_val(&attr) as u32);
        let fd = fd.expect("a small map is made");
        let ids = bpf.runtime().map_ids();
        let map = ids
            .last()
            .and_then(|id| bpf.runtime().map_by_id(*id))
            .expect("it was just made");
        map.update(&key.to_ne_bytes(), &value.to_ne_bytes(), UpdateFlags::ANY)
            .expect("it fits");
        for (command, name) in [LOOKUP, UPDATE].into_iter().zip(name) {
            cases.push(Case {
                name,
                map: map.clone(),
                element: Element {
                    map_fd: fd.into(),
                    key: &raw const key,
                    value: &raw mut value,
                    flags: 0,
                },
                command,
                typed: f64::INFINITY,
                call: f64::INFINITY,
            });
        }
    }
    let start = Instant::now();
    while start.elapsed() < budget {
        for case in &mut cases {
            let (map, key) = (&case.map, key.to_ne_bytes());
            let mut value = [7; 8];
            let typed = time(|| match case.command {
                LOOKUP => assert_eq!(map.lookup_into(&key, &mut value), Ok(true)),
                _ => assert_eq!(map.update(&key, &value, UpdateFlags::ANY), Ok(())),
            });
            let attr = &raw const case.element as u64;
            let call = time(|| {
                assert_eq!(
                    bpf.call(&caller, case.command, attr, size_of::<Element>() as u32),
                    Ok(0)
                )
            });
            case.typed = case.typed.min(typed);
            case.call = case.call.min(call);
        }
    }
    println!("{}; all cases in turns\n", Calibration::measure());
    let mut table = Table::new(&["ns", "typed", "bpf(2)", "added", "limit"]);
    for case in &cases {
        let added = case.call - case.typed;
        table.row([
            case.name.to_owned(),
            figure(Some(case.typed)),
            figure(Some(case.call)),
            figure(Some(added)),
            figure(Some(LIMIT)),
        ]);
    }
    println!("{table}");
}

/// Nanoseconds that one of many calls takes.
fn time(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        call();
    }
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

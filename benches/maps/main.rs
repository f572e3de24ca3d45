//! Map operations: one BPF program for each, in hitless and in Linux, in turns; then threads, other maps, and other keys.

mod cache;
mod keys;
mod linux;
mod peers;
mod threads;

use std::process::ExitCode;
use std::time::Instant;

use hitless_benches::maps::{Hitless, State, TIMES};
use hitless_benches::table::figure;
use hitless_benches::{Calibration, Table, budget, input};

use linux::Linux;

const OBJECT: &str = "map_ops";
/// How many runs are measured at once. Caches are cold when they begin, as the other maps have just been used, and Linux has
/// slept; each of 65,536 keys is used 16 times.
const RUNS: u32 = 4096;

/// What is measured: a program, on a map that holds so many keys, with keys from a range.
struct Case {
    name: &'static str,
    program: &'static str,
    /// The map, which `fill_` in front of its name fills.
    map: &'static str,
    filled: u32,
    /// How many keys there are, a power of two, and the first of them.
    keys: u32,
    first: u32,
    /// Whether it belongs to the thirteen of the geometric mean.
    counts: bool,
    hitless: f64,
    linux: f64,
}

const FULL: u32 = 65_536;
const MILLION: u32 = 1 << 20;

fn cases() -> Vec<Case> {
    let case = |name, program, map, (filled, keys, first), counts| Case {
        name,
        program,
        map,
        filled,
        keys,
        first,
        counts,
        hitless: f64::INFINITY,
        linux: f64::INFINITY,
    };
    let (full, half) = ((FULL, FULL, 0), (FULL / 2, FULL / 2, FULL / 2));
    let million = (MILLION, MILLION, 0);
    vec![
        case("nothing, taken off", "nothing", "", (0, FULL, 0), false),
        case("hash lookup + add", "hash_add", "hash", full, true),
        case("hash lookup", "hash_lookup", "hash", full, true),
        case("hash update", "hash_update", "hash", full, true),
        case("hash update, delete", "half_update_delete", "half", half, true),
        case(
            "hash update, lookup, delete",
            "half_update_lookup_delete",
            "half",
            half,
            true,
        ),
        case(
            "the same, not preallocated",
            "lazy_update_lookup_delete",
            "lazy",
            half,
            true,
        ),
        case("per-CPU hash lookup", "percpu_lookup", "percpu", full, true),
        case("per-CPU hash update", "percpu_update", "percpu", full, true),
        case("LRU lookup", "lru_lookup", "lru", full, true),
        case("LRU update", "lru_update", "lru", full, true),
        case("array lookup", "array_lookup", "array", full, true),
        case("array update", "array_update", "array", full, true),
        case(
            "per-CPU array lookup",
            "percpu_array_lookup",
            "percpu_array",
            full,
            true,
        ),
        case(
            "hash lookup, half full",
            "half_lookup",
            "half",
            (FULL / 2, FULL / 2, 0),
            false,
        ),
        case("hash lookup, missing", "half_lookup", "half", half, false),
        case(
            "LRU update, 3 of 4 evict",
            "lru_update",
            "lru",
            (FULL, 4 * FULL, 0),
            false,
        ),
        case("1 Mi: hash lookup", "million_lookup", "million", million, false),
        case("1 Mi: hash update", "million_update", "million", million, false),
        case("16/64 bytes: lookup", "wide_lookup", "wide", full, false),
        case("16/64 bytes: update", "wide_update", "wide", full, false),
    ]
}

fn main() -> ExitCode {
    let Some(budget) = budget(30) else {
        return ExitCode::SUCCESS;
    };
    let start = Instant::now();
    let spec = input::object(OBJECT);
    let hitless = Hitless::new(&spec);
    let linux = Linux::load(&input::object_bytes(OBJECT));
    if let Err(reason) = &linux {
        println!("without Linux: {reason}");
    }
    let mut cases = cases();
    let mut filled = Vec::new();
    for case in &cases {
        if !case.map.is_empty() && !filled.contains(&case.map) {
            let program = format!("fill_{}", case.map);
            let runs = case.filled / TIMES;
            hitless.run(&program, &mut State::default(), runs);
            if let Ok(linux) = &linux {
                linux.run(&program, &mut State::default(), runs);
            }
            filled.push(case.map);
        }
    }
    let mut states: Vec<_> = cases
        .iter()
        .map(|case| [State::new(case.keys, case.first); 2])
        .collect();
    let mut rounds = 0;
    while rounds < 5 || start.elapsed() < budget {
        for (case, [ours, theirs]) in cases.iter_mut().zip(&mut states) {
            case.hitless = case
                .hitless
                .min(hitless.run(case.program, ours, RUNS) / f64::from(TIMES));
            if let Ok(linux) = &linux {
                case.linux = case.linux.min(linux.run(case.program, theirs, RUNS) / f64::from(TIMES));
            }
        }
        rounds += 1;
    }
    println!("{}; least of {rounds} rounds\n", Calibration::measure());
    print_table(&cases);
    threads::print(&hitless, linux.as_ref().ok());
    peers::print(&hitless);
    keys::print();
    cache::print();
    ExitCode::SUCCESS
}

fn print_table(cases: &[Case]) {
    let mut table = Table::new(&["ns", "hitless", "Linux", "Linux / hitless"]);
    let (base, cases) = cases.split_first().expect("there are cases");
    let mut ratios = Vec::new();
    let row = |name: &str, hitless: f64, linux: Option<f64>| {
        let ratio = linux.map(|linux| format!("{:.2}", linux / hitless));
        [
            name.to_owned(),
            figure(Some(hitless)),
            figure(linux),
            ratio.unwrap_or_else(|| "-".to_owned()),
        ]
    };
    table.row(row(
        base.name,
        base.hitless,
        Some(base.linux).filter(|ns| ns.is_finite()),
    ));
    for case in cases {
        // What is as fast as nothing still takes a moment.
        let hitless = (case.hitless - base.hitless).max(0.1);
        let linux = Some((case.linux - base.linux).max(0.1)).filter(|ns| ns.is_finite());
        ratios.extend(linux.filter(|_| case.counts).map(|linux| linux / hitless));
        table.row(row(case.name, hitless, linux));
    }
    println!("{table}");
    if !ratios.is_empty() {
        let logs: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
        let mean = (logs / ratios.len() as f64).exp();
        println!("geometric mean of the first {}: {mean:.2}\n", ratios.len());
    }
}

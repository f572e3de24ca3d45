//! What it costs to verify a program, in hitless and in Linux.

#[path = "../../crates/verifier/tests/support/btf.rs"]
#[allow(dead_code, reason = "shared with the tests of the verifier")]
mod btf;
#[path = "../../crates/verifier/tests/support/kernel.rs"]
#[allow(dead_code, reason = "shared with the tests of the verifier")]
mod kernel;
mod memory;
mod programs;

use std::time::{Duration, Instant};

use hitless_benches::table::figure;
use hitless_benches::{Calibration, Table, budget};
use hitless_isa::{Insn, asm};
use hitless_verifier::tables::{helpers, program_types};
use hitless_verifier::{MapFacts, MapKind, ProgramInput, ProgramKind, Stats, verify};

use kernel::{LogLevel, Outcome};

/// Programs with fewer instructions processed do not count in the means.
const COUNTED: usize = 1000;

const MIB: f64 = (1 << 20) as f64;

struct Measured {
    name: &'static str,
    insns: Vec<Insn>,
    stats: Stats,
    accepted: bool,
    /// The most memory in use, in bytes.
    memory: usize,
    /// The least time of all rounds.
    time: Duration,
    linux: Option<Outcome>,
    linux_micros: Option<u64>,
}

fn maps() -> [MapFacts; 1] {
    [MapFacts {
        name: "table".to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: 64,
        max_entries: 1,
        readonly_prog: false,
        writeonly_prog: false,
        frozen: None,
        spin_lock: None,
        timer: None,
        inner: None,
        kptrs: Vec::new(),
        managed: Vec::new(),
        graph: Vec::new(),
    }]
}

/// Has the kernel verify it.
fn ask_linux(insns: &[Insn]) -> Option<Outcome> {
    let xdp = program_types::of(ProgramKind::Xdp);
    kernel::load_with(insns, &maps(), None, xdp.into(), LogLevel::Cost).ok()
}

/// Verifies once; returns the cost and whether it was accepted.
fn run(insns: &[Insn]) -> (Stats, bool, Duration) {
    let (context, maps) = (program_types::xdp(), maps());
    let input = ProgramInput {
        name: "bench",
        insns,
        maps: &maps,
        context: &context,
        helpers: helpers::xdp(),
        kfuncs: &[],
        gpl_compatible: true,
        lines: &[],
        poisoned: &[],
        global_funcs: &[],
        types: None,
        own: None,
    };
    let start = Instant::now();
    let result = verify(&input);
    let time = start.elapsed();
    match result {
        Ok(verified) => (verified.stats, true, time),
        Err(rejection) => (rejection.stats, false, time),
    }
}

impl Measured {
    fn new(source: programs::Source, linux: bool) -> Measured {
        let insns = asm::assemble(&source.text).expect("the programs assemble");
        let (memory, (stats, accepted, time)) = memory::peak(|| run(&insns));
        let linux = if linux { ask_linux(&insns) } else { None };
        Measured {
            name: source.name,
            insns,
            stats,
            accepted,
            memory,
            time,
            linux_micros: linux.as_ref().and_then(Outcome::micros),
            linux,
        }
    }

    fn round(&mut self) {
        self.time = self.time.min(run(&self.insns).2);
        if self.linux.is_some() {
            let again = ask_linux(&self.insns);
            let micros = again.as_ref().and_then(Outcome::micros);
            self.linux_micros = self.linux_micros.min(micros).or(self.linux_micros);
        }
    }

    fn nanos_each(&self) -> f64 {
        self.time.as_nanos() as f64 / self.stats.processed as f64
    }

    fn linux_processed(&self) -> Option<f64> {
        Some(self.linux.as_ref()?.processed()? as f64)
    }

    fn linux_nanos_each(&self) -> Option<f64> {
        Some(self.linux_micros? as f64 * 1000.0 / self.linux_processed()?)
    }

    /// How much more is processed here than in Linux, if both accept the program.
    fn ratio(&self) -> Option<f64> {
        let linux = self.linux_processed()?;
        let both = self.accepted && self.linux.as_ref()?.error.is_none();
        both.then(|| self.stats.processed as f64 / linux)
    }

    fn verdicts(&self) -> String {
        let word = |accepted| if accepted { "accepts" } else { "refuses" };
        match &self.linux {
            Some(linux) if linux.error.is_none() == self.accepted => word(self.accepted).to_owned(),
            Some(linux) => format!("{}, Linux {}", word(self.accepted), word(linux.error.is_none())),
            None => word(self.accepted).to_owned(),
        }
    }
}

fn geometric_mean(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let logs: Vec<f64> = figures.map(f64::ln).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

fn main() {
    let Some(budget) = budget(30) else { return };
    let start = Instant::now();
    println!("{}", Calibration::measure());
    let linux = kernel::probe();
    if let Err(reason) = &linux {
        println!("no figures of Linux: {reason}");
    }
    let mut all: Vec<Measured> = programs::all()
        .into_iter()
        .map(|source| Measured::new(source, linux.is_ok()))
        .collect();
    let mut rounds = 1;
    while rounds < 3 || start.elapsed() < budget {
        all.iter_mut().for_each(Measured::round);
        rounds += 1;
    }
    println!(
        "{}; {rounds} rounds of every program in turns\n",
        Calibration::measure()
    );

    let mut table = Table::new(&[
        "program",
        "processed",
        "Linux",
        "hitless / Linux",
        "ns each",
        "Linux",
        "states",
        "Linux",
        "peak",
        "Linux",
        "MiB",
        "verdict",
    ]);
    for program in &all {
        let of_linux = |word| figure_of(program.linux.as_ref().and_then(|linux| linux.figure(word)));
        table.row([
            program.name.to_owned(),
            program.stats.processed.to_string(),
            of_linux("processed "),
            figure(program.ratio()),
            figure(Some(program.nanos_each())),
            figure(program.linux_nanos_each()),
            program.stats.total_states.to_string(),
            of_linux("total_states "),
            program.stats.peak_states.to_string(),
            of_linux("peak_states "),
            figure(Some(program.memory as f64 / MIB)),
            program.verdicts(),
        ]);
    }
    println!("{table}");
    let counted = || all.iter().filter(|program| program.stats.processed >= COUNTED);
    println!(
        "Geometric means over programs with {COUNTED} processed or more: processed hitless / Linux {}, ns each {}, in Linux {}",
        figure(geometric_mean(counted().filter_map(Measured::ratio))),
        figure(geometric_mean(counted().map(Measured::nanos_each))),
        figure(geometric_mean(counted().filter_map(Measured::linux_nanos_each))),
    );
    let most = all
        .iter()
        .filter(|program| program.accepted)
        .max_by_key(|program| program.memory);
    if let Some(most) = most {
        println!(
            "Most memory: {} MiB, for \"{}\"",
            figure(Some(most.memory as f64 / MIB)),
            most.name
        );
    }
}

fn figure_of(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

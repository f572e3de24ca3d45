//! Computation: programs as native code, beside the same C compiled for the host by gcc and by Linux' JIT compiler.

mod host;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use hitless::{Hook, Packet, Program, Runtime, XdpAction};
use hitless_benches::table::figure;
use hitless_benches::{Calibration, Table, budget, input};
use hitless_jit::native::Compiler;
use hitless_jit::{CallSite, Callee, Engine, LowerInput, Resolve, Services, Variant, lower};
use hitless_verifier::tables::program_types;

use host::Host;

const WORKS: [&str; 9] = [
    "xorshift", "fnv1a", "jhash", "bit_mix", "byte_sum", "states", "division", "sort", "calls",
];
const OBJECT: &str = "work";
/// How much they compute on; the result of 8 bytes follows it.
const BYTES: usize = 1024;
/// How often each is run for one figure.
const REPEAT: u32 = 500;

/// The same computation three times, and the least that it took, in nanoseconds.
struct Work {
    name: &'static str,
    hook: Hook,
    compile: f64,
    hitless: f64,
    gcc: f64,
    linux: f64,
}

fn main() -> ExitCode {
    let Some(budget) = budget(20) else {
        return ExitCode::SUCCESS;
    };
    let start = Instant::now();
    let host = match Host::compile() {
        Ok(host) => host,
        Err(reason) => {
            println!("skipped: {reason}");
            return ExitCode::SUCCESS;
        }
    };
    let runtime = Runtime::default();
    let spec = input::object(OBJECT);
    let mut linux = load(&input::object_bytes(OBJECT));
    let mut empty = work(&runtime, &spec, "empty");
    let mut works = WORKS.map(|name| work(&runtime, &spec, name));
    let mut frame = frame();
    let mut rounds = 0;
    while rounds < 3 || start.elapsed() < budget {
        empty.hitless = empty.hitless.min(run_hitless(&empty.hook, &mut frame));
        if let Some(linux) = &mut linux {
            empty.linux = empty.linux.min(run_linux(linux, "empty", &frame).0);
        }
        for work in &mut works {
            work.gcc = work.gcc.min(host.run(work.name, &mut frame, REPEAT));
            let expected = frame[BYTES..].to_vec();
            frame[BYTES..].fill(0);
            work.hitless = work.hitless.min(run_hitless(&work.hook, &mut frame));
            assert_eq!(frame[BYTES..], expected, "{}", work.name);
            if let Some(linux) = &mut linux {
                frame[BYTES..].fill(0);
                let (ns, found) = run_linux(linux, work.name, &frame);
                work.linux = work.linux.min(ns);
                assert_eq!(found[BYTES..], expected, "{} in Linux", work.name);
            }
        }
        rounds += 1;
    }
    println!("{}; least of {rounds} rounds", Calibration::measure());
    println!("{}", host.compiler());
    println!(
        "ns per run; of programs less an empty one, which takes {} in hitless and {} in Linux\n",
        figure(Some(empty.hitless)),
        figure(Some(empty.linux).filter(|ns| ns.is_finite()))
    );
    print_table(&works, &empty);
    ExitCode::SUCCESS
}

fn print_table(works: &[Work], empty: &Work) {
    let mut table = Table::new(&[
        "",
        "hitless",
        "gcc -O2",
        "Linux",
        "hitless / gcc",
        "Linux / hitless",
        "compiled in, us",
    ]);
    let (mut to_gcc, mut to_linux) = (Vec::new(), Vec::new());
    for work in works {
        let hitless = work.hitless - empty.hitless;
        let linux = Some(work.linux - empty.linux).filter(|ns| ns.is_finite());
        to_gcc.push(hitless / work.gcc);
        to_linux.extend(linux.map(|linux| linux / hitless));
        table.row([
            work.name.to_owned(),
            figure(Some(hitless)),
            figure(Some(work.gcc)),
            figure(linux),
            ratio(Some(hitless / work.gcc)),
            ratio(linux.map(|linux| linux / hitless)),
            figure(Some(work.compile)),
        ]);
    }
    let mean = |ratios: &[f64]| {
        let logs: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
        (!ratios.is_empty()).then(|| (logs / ratios.len() as f64).exp())
    };
    table.row([
        "geometric mean".to_owned(),
        String::new(),
        String::new(),
        String::new(),
        ratio(mean(&to_gcc)),
        ratio(mean(&to_linux)),
        String::new(),
    ]);
    println!("{table}");
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}

/// Something to compute on: text with numbers in it; and room for the result.
fn frame() -> Vec<u8> {
    let mut random = input::Random(7);
    let mut text = || match random.below(8) {
        0 | 1 => b' ',
        2..=4 => b'0' + random.below(10) as u8,
        _ => b'a' + random.below(26) as u8,
    };
    let mut frame: Vec<u8> = (0..BYTES).map(|_| text()).collect();
    frame.extend([0; 8]);
    frame
}

fn work(runtime: &Runtime, spec: &hitless_object::ObjectSpec, name: &'static str) -> Work {
    let mut alone = spec.clone();
    alone.programs.retain(|program| program.name == name);
    let collection = runtime.load(&alone).unwrap_or_else(|error| panic!("{name}: {error}"));
    let program = &collection.programs()[0];
    let hook = runtime.hook(name);
    // The link goes with the runtime.
    std::mem::forget(runtime.attach(&hook, program).expect("it attaches"));
    Work {
        name,
        hook,
        compile: compile_time(program),
        hitless: f64::INFINITY,
        gcc: f64::INFINITY,
        linux: f64::INFINITY,
    }
}

/// The programs call none.
#[derive(Debug)]
struct NoHelpers;

impl Resolve for NoHelpers {
    fn helper(&self, _: &CallSite<'_>) -> Option<Callee> {
        None
    }
}

/// The least time that it takes to compile the program, in microseconds.
fn compile_time(program: &Program) -> f64 {
    let compiler = Compiler::new().expect("a compiler");
    let context = program_types::xdp();
    let compile = || {
        let input = LowerInput {
            name: program.name(),
            verified: program.verified(),
            context: &context,
            maps: &[],
            arguments: 1,
            replaced: &[],
            variant: Variant::Plain,
            resolve: &NoHelpers,
            services: Services::NONE,
        };
        let start = Instant::now();
        let image = lower(input).expect("it was lowered before");
        compiler.compile(Arc::new(image)).expect("it was compiled before");
        start.elapsed().as_secs_f64() * 1e6
    };
    (0..20).map(|_| compile()).fold(f64::INFINITY, f64::min)
}

fn run_hitless(hook: &Hook, frame: &mut [u8]) -> f64 {
    let start = Instant::now();
    for _ in 0..REPEAT {
        let action = hook.run(&mut Packet::new(frame)).expect("it runs");
        assert_eq!(action, XdpAction::Pass);
    }
    start.elapsed().as_nanos() as f64 / f64::from(REPEAT)
}

/// The same object in the kernel, if `bpf(2)` works.
fn load(bytes: &[u8]) -> Option<Ebpf> {
    let loaded = (|| {
        let mut object = EbpfLoader::new().load(bytes)?;
        for name in WORKS.iter().copied().chain(["empty"]) {
            let program: &mut Xdp = object.program_mut(name).expect("it is there").try_into()?;
            program.load()?;
        }
        Ok::<_, Box<dyn std::error::Error>>(object)
    })();
    loaded.map_err(|error| println!("without Linux: {error}")).ok()
}

/// The nanoseconds of a run, and the packet afterwards.
fn run_linux(object: &mut Ebpf, name: &str, frame: &[u8]) -> (f64, Vec<u8>) {
    let program: &Xdp = object
        .program(name)
        .expect("it is there")
        .try_into()
        .expect("of that type");
    let mut after = vec![0; frame.len()];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut after),
        repeat: REPEAT,
        ..TestRunOptions::new()
    };
    let result = program.test_run(options).expect("it runs");
    assert_eq!(result.return_value, 2, "XDP_PASS");
    (result.duration.as_nanos() as f64, after)
}

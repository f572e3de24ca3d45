//! The engines agree with each other and with the running kernel: random programs that the verifier accepts, with maps,
//! helpers, loops, subprograms and tail calls, are run by both engines and by Linux. Compared is what they return, their
//! registers at the end, the packet, and the content of all maps.
#![cfg(not(hitless_model))]

#[path = "common/bpf.rs"]
mod bpf;
#[path = "../../verifier/tests/support/btf.rs"]
#[allow(dead_code, reason = "shared with tests that use all of it")]
mod btf;
#[path = "../../verifier/tests/support/generate.rs"]
#[allow(dead_code, reason = "shared with tests that use all of it")]
mod generate;
#[path = "generated/kernel.rs"]
mod kernel;
#[path = "generated/ours.rs"]
mod ours;
#[path = "../../verifier/tests/support/random.rs"]
#[allow(dead_code, reason = "shared with tests that use all of it")]
mod random;

use std::time::{Duration, Instant};

use generate::{MAPS, Style};

use hitless_isa::Insn;
use kernel::Kernel;
use ours::Ours;
use random::Random;

/// Programs in a scene, which go on with each other.
const PROGRAMS: usize = 4;
/// How often each of them runs.
const RUNS: usize = 2;
/// Keys that programs use.
const KEYS: u32 = 8;

/// A type of programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sort {
    Xdp,
    Tc,
    Socket,
    Syscall,
}

impl Sort {
    const ALL: [Sort; 4] = [Sort::Xdp, Sort::Tc, Sort::Socket, Sort::Syscall];

    fn style(self, kfuncs: bool) -> Style {
        Style {
            packet: match self {
                Sort::Xdp => Some((0, 4)),
                Sort::Tc => Some((76, 80)),
                Sort::Socket | Sort::Syscall => None,
            },
            changes: true,
            // Prog arrays are not for programs that may sleep.
            tail_calls: self != Sort::Syscall,
            kfuncs,
        }
    }

    fn section(self) -> &'static str {
        match self {
            Sort::Xdp => "xdp",
            Sort::Tc => "tc",
            Sort::Socket => "socket",
            Sort::Syscall => "syscall",
        }
    }

    fn has_packet(self) -> bool {
        self != Sort::Syscall
    }
}

/// What programs are run on.
struct Scene {
    sort: Sort,
    programs: Vec<Vec<Insn>>,
    /// What maps hold at first, by map and key.
    content: Vec<(usize, u32, Vec<u8>)>,
    packet: Vec<u8>,
}

/// What came of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Outcome {
    result: u32,
    packet: Vec<u8>,
    maps: Vec<Element>,
}

/// Map, key, value.
type Element = (usize, u32, Vec<u8>);

/// Something that runs programs.
trait Machine: Sized {
    /// With maps that hold this, and no program.
    fn new(scene: &Scene) -> Self;

    /// Loads a program and puts it at the next place of the prog array; returns whether it was accepted.
    fn load(&mut self, sort: Sort, insns: &[Insn]) -> bool;

    fn run(&mut self, program: usize, sort: Sort, packet: &[u8]) -> Outcome;
}

/// Of the values of all processors, those that some program has written.
fn written(map: usize, value: Vec<u8>) -> Vec<u8> {
    let (_, map_type, size, _) = MAPS[map];
    if map_type != 5 && map_type != 6 {
        return value;
    }
    let mut values: Vec<_> = value.chunks(size as usize).collect();
    values.retain(|value| value.iter().any(|byte| *byte != 0));
    values.sort_unstable();
    values.concat()
}

/// Whether values of a map are compared: not of constants, nor of the prog array.
fn is_compared(map: usize) -> bool {
    !matches!(MAPS[map].0, "c" | "jumps")
}

fn scene(random: &mut Random, kfuncs: bool) -> Scene {
    let sort = random.pick(&Sort::ALL);
    let mut content = Vec::new();
    for (map, (name, _, size, entries)) in MAPS.iter().enumerate() {
        let keys = match *name {
            "m" | "a" => 0..*entries,
            "h" => 0..2,
            _ => 0..0,
        };
        content.extend(keys.map(|key| (map, key, random.bytes(*size as usize))));
    }
    let programs = (0..PROGRAMS).map(|_| generate::program_of(random, sort.style(kfuncs)));
    Scene {
        sort,
        programs: programs.collect(),
        content,
        packet: if sort.has_packet() {
            random.bytes(64)
        } else {
            Vec::new()
        },
    }
}

/// What one machine makes of a scene, and which programs it has accepted.
struct Play<M> {
    machine: M,
    accepted: Vec<bool>,
}

impl<M: Machine> Play<M> {
    fn new(scene: &Scene, wanted: &[bool]) -> Play<M> {
        let mut machine = M::new(scene);
        let mut load = |(insns, wanted): (&Vec<Insn>, &bool)| *wanted && machine.load(scene.sort, insns);
        let accepted = scene.programs.iter().zip(wanted).map(&mut load).collect();
        Play { machine, accepted }
    }

    fn outcomes(&mut self, scene: &Scene) -> Vec<Outcome> {
        let count = self.accepted.iter().filter(|accepted| **accepted).count();
        let runs = (0..RUNS).flat_map(|_| 0..count);
        runs.map(|program| self.machine.run(program, scene.sort, &scene.packet))
            .collect()
    }
}

/// Plays scenes; returns how many programs were compared, of how many.
fn compare(seed: u64, scenes: usize, linux: bool) -> (usize, usize) {
    let mut random = Random::new(seed);
    let (mut compared, mut all) = (0, 0);
    for round in 0..scenes {
        // Functions of the kernel have other numbers there.
        let scene = scene(&mut random, !linux);
        all += PROGRAMS;
        let mut checked = Play::<Ours<{ ours::CHECKED }>>::new(&scene, &[true; PROGRAMS]);
        let mut accepted = checked.accepted.clone();
        let text = || listing(&scene, &accepted);
        if linux {
            let mut kernel = Play::<Kernel>::new(&scene, &accepted);
            // It refuses some that it has worse bounds for: then the others are played without.
            if kernel.accepted != accepted {
                accepted = kernel.accepted.clone();
                checked = Play::new(&scene, &accepted);
                kernel = Play::new(&scene, &accepted);
            }
            let (ours, theirs) = (checked.outcomes(&scene), kernel.outcomes(&scene));
            assert_eq!(
                ours,
                theirs,
                "{seed}, {round}: interpreter and Linux\n{}",
                listing(&scene, &accepted)
            );
        } else {
            let mut compiled = Play::<Ours<{ ours::COMPILED }>>::new(&scene, &accepted);
            assert_eq!(
                compiled.accepted,
                accepted,
                "{seed}, {round}: accepted once\n{}",
                text()
            );
            let mut traced = Play::<Ours<{ ours::TRACED }>>::new(&scene, &accepted);
            let expected = checked.outcomes(&scene);
            assert_eq!(
                expected,
                compiled.outcomes(&scene),
                "{seed}, {round}: compiled\n{}",
                text()
            );
            assert_eq!(expected, traced.outcomes(&scene), "{seed}, {round}: traced\n{}", text());
        }
        compared += accepted.iter().filter(|accepted| **accepted).count();
    }
    (compared, all)
}

fn listing(scene: &Scene, accepted: &[bool]) -> String {
    let programs = scene.programs.iter().zip(accepted).filter(|(_, accepted)| **accepted);
    let texts = programs.map(|(insns, _)| hitless_isa::disasm::listing(insns, &hitless_isa::disasm::no_names));
    let texts: Vec<_> = texts.map(|text| text.to_string()).collect();
    format!("{:?}\n{}", scene.sort, texts.join("\n\n"))
}

#[test]
fn engines_do_the_same() {
    let (compared, all) = compare(1, 150, false);
    assert!(compared > 70, "only {compared} of {all} programs were accepted");
}

#[test]
fn linux_does_the_same() {
    if let Err(reason) = kernel::probe() {
        eprintln!("skipped: {reason}");
        return;
    }
    let (compared, all) = compare(2, 25, true);
    assert!(compared > 10, "only {compared} of {all} programs were accepted");
}

/// `FUZZ_SECONDS` of scenes (120 if not given), from `FUZZ_SEED` on, half of the time with Linux if it lets us.
#[test]
#[ignore = "takes long"]
fn many_programs_do_the_same() {
    let number = |name: &str, default: u64| {
        let given = std::env::var(name).ok().and_then(|text| text.parse().ok());
        given.unwrap_or(default)
    };
    let (begun, limit) = (Instant::now(), Duration::from_secs(number("FUZZ_SECONDS", 120)));
    let (mut seed, mut counts) = (number("FUZZ_SEED", 1000), [(0, 0); 2]);
    let linux = kernel::probe().is_ok();
    while begun.elapsed() < limit {
        let with_linux = linux && seed % 2 == 1;
        let (compared, all) = compare(seed, 100, with_linux);
        let count = &mut counts[usize::from(with_linux)];
        *count = (count.0 + compared, count.1 + all);
        seed += 1;
    }
    let [(engines, all), (kernel, kernel_all)] = counts;
    println!("{engines} of {all} programs on both engines, {kernel} of {kernel_all} beside Linux");
    assert!(engines > 0);
}

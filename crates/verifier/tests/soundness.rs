//! Programs that the verifier accepts do what it says: random ones are run, and every step is compared with the claims.

mod support;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hitless_isa::{Insn, decode};
use hitless_verifier::claims::verify_watched;
use support::Case;
use support::generate;
use support::machine::{ClaimsBySlot, Machine};
use support::random::Random;

/// Programs that take the verifier more steps than this are skipped.
const STEPS: usize = 20_000;

/// Bytes of memory behind a context field beyond which a program is skipped.
const EXTENT: u32 = 1 << 16;

/// Verifies a program and runs it if it is accepted; returns whether it was.
fn check(case: &Case, claims: &mut ClaimsBySlot, random: &mut Random, runs: usize) -> bool {
    let Ok(verified) = verify_watched(&case.input(), STEPS, &mut claims.claims) else {
        return false;
    };
    // Keys and values larger than that take too long to make.
    if verified.extents.iter().any(|(_, extent)| *extent > EXTENT) {
        return false;
    }
    claims.sort(case.insns.len());
    // Each step of a run is compared with every claim for its slot.
    let runs = if claims.claims.steps.len() > 1000 { 1 } else { runs };
    for _ in 0..runs {
        if let Err(error) = Machine::new(case, &verified, claims, random).run() {
            let listing = hitless_isa::disasm::listing(&case.insns, &hitless_isa::disasm::no_names);
            panic!("{}: {error}\n{listing}", case.name);
        }
    }
    true
}

/// Changes something so that all of it still decodes.
fn mutate(insns: &mut Vec<Insn>, random: &mut Random) {
    for _ in 0..20 {
        let mut changed = insns.clone();
        change_slot(&mut changed, random);
        if decodes(&changed) {
            *insns = changed;
            return;
        }
    }
}

fn decodes(insns: &[Insn]) -> bool {
    let mut pc = 0;
    while pc < insns.len() {
        match decode(insns, pc) {
            Ok(insn) => pc += insn.slots(),
            Err(_) => return false,
        }
    }
    true
}

/// Changes one field of one slot.
fn change_slot(insns: &mut [Insn], random: &mut Random) {
    let at = random.below(insns.len() as u64) as usize;
    let other = insns[random.below(insns.len() as u64) as usize];
    let insn = &mut insns[at];
    match random.below(9) {
        0 => insn.dst = random.below(11) as u8,
        1 => insn.src = random.below(11) as u8,
        2 => insn.off = insn.off.wrapping_add(random.pick(&[-16, -8, -4, -1, 1, 4, 8, 16])),
        3 => insn.imm = random.number() as i32,
        4 => insn.imm = insn.imm.wrapping_add(random.pick(&[-8, -1, 1, 8])),
        // Another operation of the class, another size, another source.
        5 => insn.code ^= 1 << random.below(8),
        6 => insn.code = insn.code & 0x0f | (random.below(16) << 4) as u8,
        7 => *insn = other,
        _ => {
            let elsewhere = random.below(insns.len() as u64) as usize;
            insns.swap(at, elsewhere);
        }
    }
}

/// The cases that the machine can run: of the functions of the kernel it has those of iterators.
fn runnable() -> Vec<Case> {
    let mut cases = support::corpus();
    cases.retain(|case| {
        let known = |id: i32| support::btf::kfunc(id).is_some_and(|name| name.starts_with("bpf_iter_"));
        let runs = |insn: &Insn| insn.code != 0x85 || insn.src != 2 || known(insn.imm);
        case.insns.iter().all(runs)
    });
    cases
}

#[test]
fn cases_do_what_is_claimed() {
    let (mut random, mut claims) = (Random::new(1), ClaimsBySlot::default());
    let cases = runnable();
    let accepted = cases.iter().filter(|case| check(case, &mut claims, &mut random, 50));
    let accepted = accepted.count();
    assert!(accepted > 80, "{accepted}");
}

#[test]
fn mutated_cases_do_what_is_claimed() {
    let (mut random, mut claims) = (Random::new(2), ClaimsBySlot::default());
    // Of the refused ones a few: a change that makes them acceptable is rare.
    let long = |case: &Case| case.name.contains("loop");
    let (good, bad): (Vec<Case>, Vec<Case>) = runnable()
        .into_iter()
        .filter(|case| !long(case))
        .partition(|case| case.errors.is_empty());
    let mut accepted = 0;
    for round in 0..60_000 {
        let original = if round % 8 == 0 {
            &bad[round / 8 % bad.len()]
        } else {
            &good[round % good.len()]
        };
        let mut insns = original.insns.clone();
        for _ in 0..=random.below(2) {
            mutate(&mut insns, &mut random);
        }
        let case = Case {
            insns,
            name: format!("{} ({round})", original.name),
            ..original.surroundings()
        };
        accepted += usize::from(check(&case, &mut claims, &mut random, 4));
    }
    assert!(accepted > 3000, "only {accepted} programs were accepted");
}

/// Checks `rounds` generated programs; returns how many were accepted.
fn check_generated(seed: u64, rounds: usize, runs: usize) -> usize {
    let (mut random, mut claims) = (Random::new(seed), ClaimsBySlot::default());
    let mut case = support::parse(generate::SETTING).remove(0);
    let mut accepted = 0;
    for round in 0..rounds {
        case.insns = generate::program(&mut random);
        case.name = format!("generated ({seed}, {round})");
        accepted += usize::from(check(&case, &mut claims, &mut random, runs));
    }
    accepted
}

#[test]
fn generated_programs_do_what_is_claimed() {
    let accepted = check_generated(3, 30_000, 6);
    assert!(accepted > 3000, "only {accepted} programs were accepted");
}

/// Programs that one thread generates from one seed.
const CHUNK: u64 = 10_000;
/// After so many there is word of it.
const WORD: u64 = 100_000;

/// `FUZZ_PROGRAMS` of them, from `FUZZ_SEED` on, for `FUZZ_SECONDS` at most, on all processors.
#[test]
#[ignore = "takes long"]
fn many_generated_programs_do_what_is_claimed() {
    let number = |name: &str, default: u64| {
        let given = std::env::var(name).ok().and_then(|text| text.parse().ok());
        given.unwrap_or(default)
    };
    let (programs, seed) = (number("FUZZ_PROGRAMS", 2_000_000), number("FUZZ_SEED", 1000));
    let (begun, limit) = (Instant::now(), Duration::from_secs(number("FUZZ_SECONDS", u64::MAX)));
    let (next, done, accepted) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        loop {
            let chunk = next.fetch_add(1, Relaxed);
            if chunk * CHUNK >= programs || begun.elapsed() > limit {
                return;
            }
            let rounds = CHUNK.min(programs - chunk * CHUNK);
            let sound = check_generated(seed + chunk, rounds as usize, 3) as u64;
            let sound = accepted.fetch_add(sound, Relaxed) + sound;
            let done = done.fetch_add(rounds, Relaxed) + rounds;
            if done % WORD < rounds {
                println!(
                    "{done} programs, {sound} accepted, {} seconds",
                    begun.elapsed().as_secs()
                );
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // What goes wrong on one thread is passed on when all have ended.
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    println!("{done:?} programs, {accepted:?} accepted, none of them unsound");
    assert!(accepted.into_inner() > 0);
}

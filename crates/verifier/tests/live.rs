//! Programs without their dead code.

mod support;

use hitless_isa::{Insn, asm};
use hitless_verifier::tables::program_types;
use hitless_verifier::{Branch, ProgramInput, ProgramKind, SourceLine, Verified, verify};
use support::Case;
use support::generate::{SETTING, program};
use support::kernel::{probe, translated};
use support::random::Random;

fn case(text: &str) -> Case {
    support::parse(&format!("case: live\n{text}")).pop().expect("one case")
}

fn accepted(text: &str) -> Verified {
    case(text).verify().unwrap_or_else(|rejection| panic!("{rejection}"))
}

/// Programs of numbers and jumps only, and what is left of them.
const DEAD: &[(&str, &str)] = &[
    // A branch that is always taken, and one that never is.
    ("r0 = 1\nif r0 == 1 goto pc+1\nr0 = 7\nexit", "r0 = 1\nexit"),
    ("r0 = 1\nif r0 == 2 goto pc+1\nexit\nr0 = 3\nexit", "r0 = 1\nexit"),
    // One that becomes unconditional, over code that something else reaches.
    (
        "call bpf_get_prandom_u32#7
        r6 = 5
        if r0 > 9 goto other
        r0 = 0
        if r6 == 5 goto out
        r0 = 1
        r0 = 2
other:  r0 += 1
out:    exit",
        "call bpf_get_prandom_u32#7
        r6 = 5
        if r0 > 9 goto other
        r0 = 0
        goto out
other:  r0 += 1
out:    exit",
    ),
    // Loops and calls over dead code, and a subprogram that is never called.
    (
        "r6 = 0
again:  if r6 == 100 goto never
        r6 += 1
        call add
        if r6 < 3 goto again
        r0 = r6
        exit
never:  call unused
        exit
add:    r0 = 0
        goto pc+0
        exit
unused: r0 = 9
        exit",
        "r6 = 0
again:  r6 += 1
        call add
        if r6 < 3 goto again
        r0 = r6
        exit
add:    r0 = 0
        exit",
    ),
];

fn pairs() -> impl Iterator<Item = (Vec<Insn>, Vec<Insn>)> {
    let assembled = |text: &str| asm::assemble(text).expect("assembles");
    DEAD.iter().map(move |(from, to)| (assembled(from), assembled(to)))
}

#[test]
fn dead_code_goes() {
    for (from, to) in pairs() {
        let surroundings = case("exit");
        let input = ProgramInput {
            insns: &from,
            ..surroundings.input()
        };
        let verified = verify(&input).unwrap_or_else(|rejection| panic!("{rejection}"));
        assert_eq!(verified.live().insns, to);
    }
}

#[test]
fn linux_removes_the_same() {
    if let Err(reason) = probe() {
        eprintln!("skipped: {reason}");
        return;
    }
    for (from, to) in pairs() {
        let mut found = translated(&from, program_types::of(ProgramKind::Xdp).into()).expect("Linux accepts it");
        // Linux names the helper by its address, and the offset of a call is in the other field.
        for (insn, expected) in found.iter_mut().zip(&to).filter(|(insn, _)| insn.code == 0x85) {
            insn.imm = if insn.src == 0 { expected.imm } else { insn.off.into() };
            insn.off = 0;
        }
        assert_eq!(found, to);
    }
}

#[test]
fn ways_of_branches() {
    let verified = accepted(
        "map: m array value 8
    r0 = map[idx:0][0]+0
    if r0 == 0 goto out
    r1 = *(u64 *)(r0 +0)
    if r1 > 7 goto out
    if r1 < 8 goto out
    r1 = 0
out: r0 = 0
    exit",
    );
    let ways: Vec<_> = [2, 4, 5, 6].map(|pc| verified.facts.at(pc).branch).to_vec();
    assert_eq!(
        ways,
        [Some(Branch::Never), Some(Branch::Both), Some(Branch::Always), None]
    );
}

#[test]
fn source_lines_of_what_is_left() {
    let line = |pc, line| SourceLine {
        pc,
        file: "a.c".to_owned(),
        line,
        text: String::new(),
    };
    let verified = accepted("r0 = 1\nif r0 == 1 goto pc+1\nr0 = 7\nr0 += 1\nexit");
    let lines = [line(0, 10), line(1, 11), line(2, 12), line(4, 13)];
    // The instruction behind the dead one came from the same line.
    assert_eq!(verified.live().lines(&lines), [line(0, 10), line(1, 12), line(2, 13)]);
}

/// What is left is a program that is accepted, and of which everything is reached.
#[test]
fn what_is_left_is_all_live() {
    let mut random = Random::new(7);
    let setting = &support::parse(SETTING)[0];
    let mut shorter = 0;
    for _ in 0..3000 {
        let insns = program(&mut random);
        let input = ProgramInput {
            insns: &insns,
            ..setting.input()
        };
        let Ok(verified) = verify(&input) else { continue };
        let live = verified.live();
        let again = verify(&ProgramInput {
            insns: &live.insns,
            ..input
        });
        let again = again.unwrap_or_else(|rejection| panic!("{rejection}\n{insns:?}"));
        assert_eq!(again.live().insns, live.insns, "{insns:?}");
        assert_eq!(live.pcs.len(), live.insns.len());
        shorter += usize::from(live.insns.len() < insns.len());
    }
    assert!(shorter > 20, "{shorter}");
}

//! The limits of the search, and prototypes that no helper in the tables has.

mod support;

use std::fmt::Write;

use hitless_verifier::{ArgType, HelperProto, MapKind, ProgramInput, Requirement, verify};
use support::Case;

fn case(text: &str) -> Case {
    support::parse(&format!("case: limits\n{text}"))
        .pop()
        .expect("one case")
}

fn branches(count: usize) -> Case {
    let mut text = "    r2 = *(u32 *)(r1 +12)\n    r0 = 0\n".to_owned();
    for i in 0..count {
        let _ = writeln!(text, "    if r2 == {} goto out", 2 * i + 1);
    }
    case(&(text + "out: exit"))
}

#[test]
fn branches_that_wait() {
    assert!(branches(8192).verify().is_ok());
    let rejection = branches(8193).verify().unwrap_err();
    assert_eq!(rejection.errors[0].requirement, Requirement::PendingBranches);
    assert_eq!(
        rejection.errors[0].message,
        "The sequence of 8193 jumps is too complex."
    );
}

#[test]
fn branches_that_join_are_followed_once() {
    let mut text = "    r6 = r1\n".to_owned();
    for i in 0..200 {
        let _ = writeln!(
            text,
            "    r3 = *(u32 *)(r6 +12)\n    if r3 & {} goto l{i}",
            1u64 << (i % 31)
        );
        let _ = writeln!(text, "    r2 = 1\n    r2 += 2\n    r2 *= 3\n    r2 -= r3\nl{i}:");
    }
    let stats = case(&(text + "    r0 = 0\n    exit")).verify().expect("accepted").stats;
    assert!(stats.processed < 20_000, "{stats:?}");
}

#[test]
fn long_programs_are_accepted() {
    let text = "    r0 = 0\n".to_owned() + &"    r0 += 1\n".repeat(300_000) + "    exit";
    assert_eq!(case(&text).verify().expect("accepted").stats.processed, 300_002);
}

#[test]
fn code_in_reverse_order_takes_no_longer() {
    let count = 20_000;
    let mut text = "    r6 = 1\n    goto l0\n".to_owned();
    for i in (0..count).rev() {
        let _ = writeln!(text, "l{i}: goto l{}", i + 1);
    }
    let _ = writeln!(text, "    goto l0");
    // The last label is defined in the middle, so that every jump but one goes backwards.
    let text = text.replacen("goto l0\n", &format!("goto l0\nl{count}: r0 = r6\n    exit\n"), 1);
    let text = text.trim_end().trim_end_matches("goto l0").to_owned();
    assert!(case(&text).verify().is_ok());
}

const CUSTOM: HelperProto = HelperProto {
    args: [
        ArgType::Context,
        ArgType::ConstMap,
        ArgType::None,
        ArgType::None,
        ArgType::None,
    ],
    maps: &[MapKind::Hash],
    ..HelperProto::new(1000, "bpf_custom")
};

fn custom(text: &str) -> Result<(), (usize, String)> {
    let case = case(text);
    match verify(&ProgramInput {
        helpers: &[CUSTOM],
        kfuncs: &[],
        ..case.input()
    }) {
        Ok(_) => Ok(()),
        Err(mut rejection) => {
            let error = rejection.errors.remove(0);
            Err((error.pc, error.message))
        }
    }
}

#[test]
fn the_context_as_argument() {
    let map = "map: m hash\n";
    let call = "    r2 = map[idx:0]\n    call custom#1000\n    exit";
    assert_eq!(custom(&format!("{map}{call}")), Ok(()));
    let moved = format!("{map}    r1 += 8\n{call}");
    assert_eq!(
        custom(&moved),
        Err((3, "dereference of modified ctx ptr R1 off=8 disallowed".to_owned()))
    );
    let other = format!("{map}    r1 = r10\n{call}");
    assert_eq!(custom(&other), Err((3, "R1 type=fp expected=ctx".to_owned())));
}

#[test]
fn map_types_that_do_not_suit() {
    let text = "map: m array\n    r2 = map[idx:0]\n    call custom#1000\n    exit";
    assert_eq!(
        custom(text),
        Err((2, "cannot pass map_type 2 into func bpf_custom#1000".to_owned()))
    );
}

#[test]
fn references_that_pile_up() {
    let case = case(
        "map: m ringbuf key 0 value 0 entries 4096
again: r1 = map[idx:0]
    r2 = 8
    r3 = 0
    call bpf_ringbuf_reserve#131
    if r0 == 7 goto out
    goto again
out: exit",
    );
    let rejection = case.verify().unwrap_err();
    assert_eq!(rejection.errors[0].requirement, Requirement::ReferenceCount);
    assert_eq!(rejection.errors[0].message, "more than 256 references are held");
}

//! The public conformance suite, on every engine. Its programs go below the verifier's policy: they may read and write
//! their input buffer freely, and shift by more than a register is wide.

mod common;

use std::sync::Arc;

use common::{Environment, assemble, decreed, engines, lowered, run};
use hitless_isa::Insn;
use hitless_jit::Variant;

const CASES: &str = include_str!("data/bpf_conformance.jsonl");

#[test]
fn every_case_has_its_result() {
    let engines = engines();
    let (mut count, mut wrong) = (0, Vec::new());
    for case in CASES.lines() {
        let name = field(case, "name");
        let memory = bytes(field(case, "mem"));
        let expected = u64::from_str_radix(field(case, "result").trim_start_matches("0x"), 16).unwrap();
        // r1 is the buffer, as the engine sets it; r2 is its length.
        let mut insns = assemble(&format!("r2 = {}", memory.len()));
        insns.extend(
            bytes(field(case, "insns"))
                .chunks_exact(8)
                .map(|slot| Insn::from_bytes(slot.try_into().unwrap())),
        );
        let verified = decreed(insns);
        for variant in [Variant::Plain, Variant::Traced] {
            let image = Arc::new(lowered(&verified, variant));
            for (engine, compiler) in &engines {
                let mut memory = memory.clone();
                let code = compiler.compile(Arc::clone(&image)).expect("compiles");
                let result = run(&*code, &mut Environment::of(&mut memory));
                if result != Ok(expected) {
                    wrong.push(format!(
                        "{name} ({engine}, {variant:?}): expected {expected:#x}, got {result:x?}"
                    ));
                }
            }
        }
        count += 1;
    }
    assert_eq!(count, 313);
    assert!(wrong.is_empty(), "{} failures:\n{}", wrong.len(), wrong.join("\n"));
}

/// The string value of a key in a flat JSON object without escapes.
fn field<'a>(object: &'a str, key: &str) -> &'a str {
    let (_, rest) = object
        .split_once(&format!("\"{key}\": \""))
        .unwrap_or_else(|| panic!("no {key} in {object}"));
    rest.split_once('"').expect("a closing quote").0
}

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits");
    (0..hex.len()).step_by(2).map(pair).collect()
}

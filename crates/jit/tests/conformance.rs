//! The public conformance suite, on every engine. Its programs go below the verifier's policy: they may read and write
//! their input buffer freely, and shift by more than a register is wide.

mod common;

use std::sync::Arc;

use common::{Environment, Helpers, SERVICES, assemble, compiles_for_aarch64, decreed, engines, lowered, run};
use hitless_isa::Insn;
use hitless_jit::{LowerInput, MapAddresses, Variant, lower};
use hitless_verifier::tables::{helpers, program_types};
use hitless_verifier::{MapFacts, MapKind, ProgramInput, ProgramKind, verify};

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
            compiles_for_aarch64(&image);
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

/// Programs whose buffer is a map's value, as the verifier accepts them: all but those that Linux refuses, too, since they
/// shift by more than a register is wide or call through a register. Each has its result.
#[test]
fn verified_cases_have_their_result() {
    let engines = engines();
    let context = program_types::context_for(ProgramKind::Syscall, None, None).expect("a context");
    let (mut count, mut wrong, mut refused) = (0, Vec::new(), Vec::new());
    for case in CASES.lines() {
        let name = field(case, "name");
        let memory = bytes(field(case, "mem"));
        let expected = u64::from_str_radix(field(case, "result").trim_start_matches("0x"), 16).unwrap();
        let mut insns = assemble(&format!("r1 = map[idx:0][0]+0\nr2 = {}", memory.len()));
        insns.extend(
            bytes(field(case, "insns"))
                .chunks_exact(8)
                .map(|slot| Insn::from_bytes(slot.try_into().unwrap())),
        );
        let map = MapFacts {
            value_size: memory.len().max(8) as u32,
            ..an_array()
        };
        let input = ProgramInput {
            name,
            insns: &insns,
            maps: std::slice::from_ref(&map),
            context: &context,
            helpers: helpers::of(ProgramKind::Syscall),
            kfuncs: &[],
            gpl_compatible: true,
            lines: &[],
            poisoned: &[],
            global_funcs: &[],
            types: None,
            own: None,
        };
        let verified = match verify(&input) {
            Ok(verified) => verified,
            Err(rejection) => {
                let message = &rejection.errors[0].message;
                let expected = message.starts_with("invalid shift") || message == "unknown opcode 8d";
                refused.push(format!("{name}: {message}"));
                wrong.extend((!expected).then(|| format!("{name}: {message}")));
                continue;
            }
        };
        for (engine, compiler) in &engines {
            let mut memory = memory.clone();
            memory.resize(memory.len().max(8), 0);
            let mut env = Environment::of(&mut memory);
            let address = MapAddresses {
                map: 0,
                value: env.start,
            };
            let image = lower(LowerInput {
                name,
                verified: &verified,
                context: &context,
                maps: &[address],
                arguments: 1,
                replaced: &[],
                variant: Variant::Plain,
                resolve: &Helpers,
                services: SERVICES,
            });
            let code = compiler.compile(Arc::new(image.expect("lowers"))).expect("compiles");
            let result = run(&*code, &mut env);
            if result != Ok(expected) {
                wrong.push(format!("{name} ({engine}): expected {expected:#x}, got {result:x?}"));
            }
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{} failures:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((count, refused.len()), (300, 13), "{}", refused.join("\n"));
}

/// An array of one value.
fn an_array() -> MapFacts {
    MapFacts {
        name: "memory".to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: 8,
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
    }
}

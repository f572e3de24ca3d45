//! Object files to parse: those of this crate's own tests, and those of the project's examples.
#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod elf;

use hitless_isa::Insn;
use hitless_object::{ObjectError, ObjectSpec, ProgramSpec};

/// Objects under `bpf/` that every loader should take (some are refused later, by the verifier or as an upgrade).
pub(crate) const EXAMPLES: [&str; 6] = [
    "flows_v1",
    "flows_v2",
    "flows_narrow",
    "flows_lock_v1",
    "flows_lock_v2",
    "trace_mirror",
];

/// Objects under `tests/data/` that are taken.
pub(crate) const FEATURES: [&str; 7] = [
    "features",
    "code_CORE",
    "code_KCONFIG",
    "code_KSYMS",
    "code_LINKED",
    "code_LONE",
    "code_ORDER",
];

/// The bytes of `bpf/NAME.bpf.o`.
pub(crate) fn example(name: &str) -> Vec<u8> {
    read(&format!("{}/../../bpf/{name}.bpf.o", env!("CARGO_MANIFEST_DIR")))
}

/// The bytes of `tests/data/NAME.bpf.o`.
pub(crate) fn data(name: &str) -> Vec<u8> {
    read(&format!("{}/tests/data/{name}.bpf.o", env!("CARGO_MANIFEST_DIR")))
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn parse(bytes: &[u8]) -> ObjectSpec {
    ObjectSpec::parse(bytes).unwrap_or_else(|error| panic!("{}", text(&error)))
}

/// An error with its causes.
pub(crate) fn text(error: &ObjectError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Why `bytes` are refused.
pub(crate) fn refusal(bytes: &[u8]) -> String {
    text(&ObjectSpec::parse(bytes).expect_err("should be refused"))
}

/// The program with this name.
pub(crate) fn program<'a>(object: &'a ObjectSpec, name: &str) -> &'a ProgramSpec {
    object.program(name).unwrap_or_else(|| panic!("no program {name}"))
}

/// Wide instructions with a kind, as (kind, first immediate, second immediate), in order.
pub(crate) fn references(program: &ProgramSpec) -> Vec<(u8, i32, i32)> {
    let wide = |(pc, insn): (usize, &Insn)| {
        (insn.code == 0x18 && insn.src != 0).then(|| (insn.src, insn.imm, program.insns[pc + 1].imm))
    };
    program.insns.iter().enumerate().filter_map(wide).collect()
}

/// Names of the functions called, in order.
pub(crate) fn calls(program: &ProgramSpec) -> Vec<&str> {
    let name = |at: i64| {
        let found = program.subprograms.iter().find(|s| s.start as i64 == at);
        found.map_or("nothing", |s| s.name.as_str())
    };
    let call = |(pc, insn): (usize, &Insn)| {
        let (direct, address) = ((insn.code, insn.src) == (0x85, 1), (insn.code, insn.src) == (0x18, 4));
        (direct || address).then(|| name(pc as i64 + 1 + i64::from(insn.imm)))
    };
    program.insns.iter().enumerate().filter_map(call).collect()
}

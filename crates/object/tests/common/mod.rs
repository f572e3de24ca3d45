//! Object files to parse: those of this crate's own tests, and those of the project's examples.
#![allow(dead_code, reason = "each test uses a part of it")]

use hitless_object::{ObjectError, ObjectSpec};

/// Objects under `bpf/` that every loader should take (some are refused later, by the verifier or as an upgrade).
pub(crate) const EXAMPLES: [&str; 6] = [
    "flows_v1",
    "flows_v2",
    "flows_narrow",
    "flows_lock_v1",
    "flows_lock_v2",
    "trace_mirror",
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

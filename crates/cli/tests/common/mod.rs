//! Running the command.
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The top of the repository: where the command is run, so that names of files are as a user would type them.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub fn hitless(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hitless"))
        .args(args)
        .current_dir(root())
        .output()
        .unwrap()
}

/// The output of a command that must succeed.
pub fn succeeds(args: &[&str]) -> String {
    let output = hitless(args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "hitless {}: {err}{out}", args.join(" "));
    assert_eq!(err, "", "hitless {}", args.join(" "));
    out
}

/// The JSON object that a command printed.
pub fn json(args: &[&str]) -> Value {
    let out = succeeds(&[args, &["--json"]].concat());
    assert_eq!(out.lines().count(), 1);
    serde_json::from_str(&out).unwrap()
}

/// What a command that must fail says: one line on stderr, nothing on stdout, exit code 1.
pub fn fails(args: &[&str]) -> String {
    let (out, line) = fails_with_output(args);
    assert_eq!(out, "", "hitless {}", args.join(" "));
    line
}

/// The same for a command that fails after it has printed something.
pub fn fails_with_output(args: &[&str]) -> (String, String) {
    let output = hitless(args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "hitless {}: {err}{out}", args.join(" "));
    assert_eq!(err.lines().count(), 1, "hitless {}: {err}", args.join(" "));
    let line = err.trim_end().strip_prefix("hitless: ").unwrap().to_owned();
    assert!(!line.ends_with('.'), "{line}");
    (out, line)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A file for one test.
pub fn file(name: &str, bytes: &[u8]) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

pub fn read(name: &str) -> Vec<u8> {
    std::fs::read(root().join(name)).unwrap()
}

pub const CAPTURE: &str = "testdata/flows.pcap";
pub const V1: &str = "bpf/flows_v1.bpf.o";
pub const V2: &str = "bpf/flows_v2.bpf.o";

/// Whether an object of the corpus is refused whatever is asked, as its description says.
pub fn is_refused(object: &str) -> bool {
    let name = object.rsplit('/').next().unwrap_or(object).trim_end_matches(".bpf.o");
    let description = root()
        .join("crates/object/tests/corpus")
        .join(name)
        .with_extension("txt");
    std::fs::read_to_string(description).is_ok_and(|text| text.starts_with("refused: "))
}

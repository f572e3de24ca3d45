//! docs/embedding.md is followed: its files are written, its commands run, and what they print is what it shows.
//!
//! Its program is the example `guide` of the crate `hitless`, so `cargo run` becomes that; making a crate is left out.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{read, root};

/// A block of the guide.
struct Block {
    language: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let guide = String::from_utf8(read("docs/embedding.md")).unwrap();
    let fences: Vec<_> = guide.split("```").collect();
    let inside = fences.iter().skip(1).step_by(2);
    let block = |fence: &&str| {
        let (language, text) = fence.split_once('\n').unwrap();
        Block {
            language: language.to_owned(),
            text: text.to_owned(),
        }
    };
    inside.map(block).collect()
}

/// The directory of the reader's crate, here.
fn directory() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide");
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Runs a line as it stands, but for where things are.
fn run(line: &str, directory: &Path) -> Output {
    let root = root().canonicalize().unwrap();
    let root = root.to_str().unwrap();
    let guide = format!(
        "{} run -q --manifest-path {root}/Cargo.toml -p hitless --example guide",
        env!("CARGO")
    );
    let line = line
        .replace("cargo run -q", &guide)
        .replace("../hitless", root)
        .replace("hitless prog", &format!("{} prog", env!("CARGO_BIN_EXE_hitless")));
    Command::new("sh")
        .args(["-c", &line])
        .current_dir(directory)
        .output()
        .unwrap()
}

#[test]
fn its_program_is_the_example() {
    let example = String::from_utf8(read("crates/hitless/examples/guide/main.rs")).unwrap();
    let shown = blocks().into_iter().find(|block| block.language == "rust").unwrap();
    assert_eq!(example, format!("//! The host of docs/embedding.md.\n\n{}", shown.text));
}

#[test]
fn its_commands_do_what_it_shows() {
    if let Err(error) = Command::new("clang-19").arg("--version").output() {
        return eprintln!("skipped: clang-19: {error}");
    }
    let directory = directory();
    let mut printed = String::new();
    let (mut commands, mut outputs) = (0, 0);
    for block in blocks() {
        match block.language.as_str() {
            "c" => {
                let name = block.text.lines().next().unwrap().strip_prefix("// ").unwrap();
                std::fs::write(directory.join(name), &block.text).unwrap();
            }
            "sh" => {
                for line in block.text.lines() {
                    if ["cargo new", "cargo add", "cd "]
                        .iter()
                        .any(|setup| line.starts_with(setup))
                    {
                        continue;
                    }
                    let output = run(line, &directory);
                    let refused = line.contains("wrong.bpf.o") && line.starts_with("hitless");
                    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
                    assert_eq!(output.status.success(), !refused, "{line}: {stderr}");
                    printed = format!("{stdout}{stderr}").replace(directory.to_str().unwrap(), "/home/you/chat");
                    commands += 1;
                }
            }
            "text" => {
                assert_eq!(printed, block.text);
                outputs += 1;
            }
            _ => {}
        }
    }
    assert_eq!((commands, outputs), (9, 4));
}

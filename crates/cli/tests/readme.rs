//! What the README shows is what happens.

mod common;

use common::{hitless, read, root};

#[path = "../examples/embed.rs"]
mod embed;

fn readme() -> String {
    String::from_utf8(read("README.md")).unwrap()
}

/// The lines of the code blocks in this language.
fn blocks(readme: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = readme.split(&fence).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn its_commands_succeed() {
    let readme = readme();
    let mut count = 0;
    for block in blocks(&readme, "sh") {
        for line in block.lines() {
            let args: Vec<&str> = line.split_whitespace().collect();
            let (program, args) = args.split_first().unwrap();
            assert_eq!(*program, "target/release/hitless");
            let output = hitless(args);
            assert!(
                output.status.success(),
                "{line}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            count += 1;
        }
    }
    assert_eq!(count, 16);
}

#[test]
fn its_refusal_is_what_is_said() {
    let readme = readme();
    let shown = blocks(&readme, "text");
    let line = shown.iter().find(|block| block.starts_with("hitless: ")).unwrap();
    let output = hitless(&[
        "upgrade",
        common::V1,
        "bpf/flows_small.bpf.o",
        "--pcap",
        common::CAPTURE,
        "--repeat",
        "2",
    ]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), *line);
}

#[test]
fn its_make_targets_exist() {
    let makefile = String::from_utf8(read("Makefile")).unwrap();
    for line in readme().lines() {
        if let Some(target) = line.strip_prefix("    make ") {
            assert!(makefile.contains(&format!("\n{target}:")), "{target}");
        }
    }
}

#[test]
fn its_embedding_example_is_the_one_that_is_compiled() {
    let example = String::from_utf8(read("crates/cli/examples/embed.rs")).unwrap();
    let example = example.replace(
        "/// Public for a test of the README.
pub fn",
        "fn",
    );
    let shown = blocks(&readme(), "rust");
    assert_eq!(shown.len(), 1);
    assert!(example.ends_with(&shown[0]), "{example}");
}

#[test]
fn its_embedding_example_runs() {
    // No other test of this file depends on the current directory.
    std::env::set_current_dir(root()).unwrap();
    embed::main().unwrap();
}

//! `hitless prog verify`.

mod common;

use common::{V1, fails, fails_with_output, hitless, json, root, succeeds};
use serde_json::Value;

const UNSAFE: &str = "bpf/flows_unsafe.bpf.o";

#[test]
fn accepted_programs_with_their_cost() {
    let out = succeeds(&["prog", "verify", V1]);
    assert!(out.starts_with("prog count_flows: accepted  processed "), "{out}");
    assert_eq!(out.lines().count(), 1);
    let facts = json(&["prog", "verify", V1, "count_flows"]);
    let program = &facts["programs"][0];
    assert_eq!(
        (&program["name"], &program["accepted"]),
        (&"count_flows".into(), &true.into())
    );
    assert_eq!(program["stats"]["limit"], 1_000_000);
    assert_eq!(program["subprograms"].as_array().unwrap().len(), 2);
    assert_eq!(program.get("errors"), None);
}

#[test]
fn a_refusal_is_explained() {
    let (out, line) = fails_with_output(&["prog", "verify", UNSAFE]);
    assert_eq!(line, format!("{UNSAFE}: program count_flows is refused"));
    let expected = [
        "prog count_flows: refused  processed ",
        "  invalid access to packet, off=12 size=2, R",
        "    source ./bpf/flows_unsafe.bpf.c:41: key.sport = eth->type; // no bounds check",
        "    requires 2 readable bytes at r",
        "    found pkt with 0 bytes checked",
        "    hint compare ",
    ];
    let mut lines = out.lines();
    for text in expected {
        assert!(lines.any(|line| line.starts_with(text)), "{text}: {out}");
    }
}

#[test]
fn the_path_is_told_in_source_lines() {
    let (out, _) = fails_with_output(&["prog", "verify", "bpf/relocated.bpf.o", "unguarded"]);
    assert!(
        out.starts_with("prog unguarded: refused"),
        "also one that is not loaded by default: {out}"
    );
    assert!(out.contains("no_such_field does not exist"), "{out}");
    let branch = "      ./bpf/relocated.bpf.c:55: struct frame___ours *frame = FRAME(ctx);: insn ";
    assert!(out.contains(branch) && out.ends_with(" not taken\n"), "{out}");
    let output = hitless(&["prog", "verify", UNSAFE, "--json", "--log-level", "5"]);
    assert_eq!(output.status.code(), Some(1));
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    let program = &facts["programs"][0];
    let error = &program["errors"][0];
    assert_eq!(error["source"]["line_num"], 41);
    assert!(error["hint"].is_string() && program["path"]["known"].is_array());
    let log = program["log"].as_str().unwrap();
    assert!(
        log.contains("\n; key.sport = eth->type; // no bounds check @ flows_unsafe.bpf.c:41\n"),
        "{log}"
    );
    assert!(log.lines().last().unwrap().starts_with("processed "), "{log}");
}

/// What is said of common mistakes, as it was written down. UPDATE=1 writes it anew.
#[test]
fn common_mistakes_are_explained() {
    let (out, _) = fails_with_output(&["prog", "verify", "bpf/refused.bpf.o"]);
    let found: String = out
        .lines()
        // What it cost depends on the order in which paths are followed.
        .map(|line| line.split("  processed ").next().unwrap_or(line).to_owned() + "\n")
        .collect();
    let path = root().join("crates/cli/tests/refused.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&path).unwrap());
    for program in found.split("prog ").skip(1) {
        for part in [
            ": refused",
            "\n    insn ",
            "\n    source ./bpf/refused.bpf.c:",
            "\n    requires ",
            "\n    found ",
        ] {
            assert!(program.contains(part), "{part}: {program}");
        }
        assert!(program.contains("\n    hint "), "{program}");
    }
    let output = hitless(&["prog", "verify", "bpf/refused.bpf.o", "--json"]);
    let facts: Value = serde_json::from_slice(&output.stdout).unwrap();
    let programs = facts["programs"].as_array().unwrap();
    assert_eq!(programs.len(), found.matches(": refused").count());
    for program in programs {
        let error = &program["errors"][0];
        let name = program["name"].as_str().unwrap();
        let message = error["message"].as_str().unwrap();
        assert!(
            found.contains(&format!("prog {name}: refused\n  {message}\n")),
            "{program}"
        );
        assert!(
            error["source"]["src"].is_string() && error["hint"].is_string(),
            "{program}"
        );
    }
}

#[test]
fn logs_by_level() {
    let cost = succeeds(&["prog", "verify", V1, "--log-level", "4"]);
    let starts = [
        "prog count_flows:",
        "verification time ",
        "stack depth ",
        "processed ",
        "prog count_flows: accepted",
    ];
    assert_eq!(cost.lines().count(), starts.len());
    assert!(
        cost.lines().zip(starts).all(|(line, start)| line.starts_with(start)),
        "{cost}"
    );
    let none = succeeds(&["prog", "verify", V1, "--log-level", "0"]);
    assert_eq!(none, succeeds(&["prog", "verify", V1]));
    let everything = succeeds(&["prog", "verify", V1, "--log-level", "2"]);
    assert!(everything.contains("\n0: R1=ctx() R10=fp0\n"));
    assert_eq!(
        hitless(&["prog", "verify", V1, "--log-level", "8"]).status.code(),
        Some(2)
    );
}

#[test]
fn what_cannot_be_verified() {
    let line = fails(&["prog", "verify", V1, "absent"]);
    assert_eq!(line, format!("{V1}: no program absent, expected one of: count_flows"));
}

#[test]
fn what_only_the_kernel_can_offer() {
    const SECTIONS: &str = "bpf/corpus/sections.bpf.o";
    let (out, line) = fails_with_output(&["prog", "verify", SECTIONS, "in_lwt_in"]);
    assert_eq!(line, format!("{SECTIONS}: program in_lwt_in is refused"));
    let reason = "programs in section lwt_in cannot run in user space: it runs in the kernel's network stack\n";
    assert!(out.ends_with(reason), "{out}");
    let out = succeeds(&["prog", "verify", SECTIONS, "in_kprobe"]);
    assert!(
        out.starts_with("prog in_kprobe: accepted"),
        "what has no hook here is verified: {out}"
    );
}

//! `hitless btf dump`.

mod common;

use std::process::{Command, Stdio};
use std::sync::Arc;

use common::{V1, V2, fails, file, json, root, succeeds};
use hitless_btf::{Btf, Type, TypeId};
use serde_json::Value;

/// What bpftool says, or why it says nothing.
fn bpftool(args: &[&str]) -> Option<String> {
    let output = Command::new("bpftool").args(args).current_dir(root()).output();
    match output {
        Ok(output) if output.status.success() => Some(String::from_utf8(output.stdout).unwrap()),
        other => {
            eprintln!("skipped: bpftool {}: {other:?}", args.join(" "));
            None
        }
    }
}

#[test]
fn raw_types_are_as_bpftool_writes_them() {
    const KERNEL: &str = "/sys/kernel/btf/vmlinux";
    for object in [V1, V2, "bpf/corpus/btf_kinds.bpf.o", "bpf/corpus/target.btf", KERNEL] {
        if let Some(theirs) = bpftool(&["btf", "dump", "file", object]) {
            let ours = succeeds(&["btf", "dump", object]);
            let difference = ours.lines().zip(theirs.lines()).find(|(ours, theirs)| ours != theirs);
            assert!(ours == theirs, "{object}: {difference:?}");
        }
        // As JSON bpftool extends the sign of values that have none.
        if object != KERNEL
            && let Some(theirs) = bpftool(&["--json", "btf", "dump", "file", object])
        {
            let theirs: Value = serde_json::from_str(&theirs).unwrap();
            assert!(json(&["btf", "dump", object]) == theirs, "{object}");
        }
    }
}

#[test]
fn c_declarations() {
    let all = succeeds(&["btf", "dump", V1, "--format", "c"]);
    assert!(
        all.contains("struct flow_key {") && all.contains("struct flow_stats {"),
        "{all}"
    );
    assert_eq!(succeeds(&["btf", "dump", V1, "format", "c"]), all);
    assert_eq!(
        succeeds(&["btf", "dump", V1, "format", "raw"]),
        succeeds(&["btf", "dump", V1])
    );
    assert_eq!(json(&["btf", "dump", V1, "--format", "c"])["c"], all);

    let some = succeeds(&["btf", "dump", V1, "--format", "c", "--root", "flow_stats"]);
    assert!(
        some.contains("struct flow_stats {") && !some.contains("struct flow_key"),
        "{some}"
    );
}

#[test]
fn types_that_continue_others() {
    let base = Arc::new(Btf::parse(&std::fs::read(root().join("bpf/corpus/target.btf")).unwrap()).unwrap());
    let next = u32::try_from(base.len()).unwrap();
    let split = Btf::new_split(vec![Type::Ptr(TypeId(1)), Type::Const(TypeId(next))], base).unwrap();
    let path = file("split.btf", &split.to_bytes());
    let out = succeeds(&["btf", "dump", &path, "-B", "bpf/corpus/target.btf"]);
    assert_eq!(
        out,
        format!(
            "[{next}] PTR '(anon)' type_id=1\n[{}] CONST '(anon)' type_id={next}\n",
            next + 1
        )
    );
    let types = json(&["btf", "dump", &path, "--base", "bpf/corpus/target.btf"]);
    assert_eq!(types["types"].as_array().unwrap().len(), 2);
    assert_eq!(types["types"][0]["id"], next);
    assert!(fails(&["btf", "dump", &path]).starts_with(&format!("cannot read types of {path}: ")));
}

#[test]
fn the_kernels_own_types() {
    const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
    if let Err(error) = std::fs::File::open(VMLINUX) {
        eprintln!("skipped: {VMLINUX}: {error}");
        return;
    }
    let out = succeeds(&["btf", "dump", VMLINUX, "format", "c", "--root", "task_struct"]);
    assert!(out.contains("\nstruct task_struct {\n"), "{}", out.len());
    // Nobody reads all of it.
    let mut child = Command::new(env!("CARGO_BIN_EXE_hitless"))
        .args(["btf", "dump", VMLINUX])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stderr, b"");
}

#[test]
fn what_goes_wrong_is_said_in_a_line() {
    let program = env!("CARGO_BIN_EXE_hitless");
    assert_eq!(
        fails(&["btf", "dump", program]),
        format!("cannot read types of {program}: no section .BTF, expected one: compile with -g")
    );
    assert_eq!(
        fails(&["btf", "dump", V1, "--format", "c", "--root", "nothing"]),
        format!("{V1}: no type nothing")
    );
    assert_eq!(
        fails(&["btf", "dump", V1, "--root", "flow_key"]),
        "--root is for C declarations, expected --format c"
    );
    assert_eq!(
        fails(&["btf", "dump", V1, "format", "rust"]),
        "no format rust, expected raw or c"
    );
    assert_eq!(
        fails(&["btf", "dump", V1, "style", "c"]),
        "unexpected style c, expected: format raw or format c"
    );
    let bad = file("bad.btf", b"\x9f\xeb\x01\x00");
    assert!(fails(&["btf", "dump", &bad]).starts_with(&format!("cannot read types of {bad}: ")));
}

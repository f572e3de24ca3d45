//! Bad input: one line that names the thing, what was found and what was expected, and exit code 1.

mod common;

use common::{CAPTURE, V1, V2, fails, file, hitless, read};

/// The new object is refused, and the old one runs on.
fn refused(new: &str) -> String {
    let line = fails(&["upgrade", V1, new, "--pcap", CAPTURE, "--repeat", "2", "--no-control"]);
    let line = line.strip_prefix(&format!("cannot upgrade {V1} to {new}: ")).unwrap();
    let line = line.strip_suffix(&format!("; {V1} kept running, lost 0"));
    line.unwrap().to_owned()
}

#[test]
fn an_object_cut_off_anywhere() {
    let whole = read(V2);
    let lens = [
        0,
        1,
        4,
        16,
        63,
        64,
        65,
        1000,
        whole.len() / 2,
        whole.len() - 64,
        whole.len() - 1,
    ];
    for len in lens {
        let cut = file(&format!("cut_{len}.bpf.o"), &whole[..len]);
        let line = fails(&["run", &cut, "--pcap", CAPTURE]);
        assert!(line.starts_with(&format!("cannot load {cut}: ")), "{line}");
        let words = ["expected", "truncated", "malformed"];
        assert!(words.iter().any(|word| line.contains(word)), "{len}: {line}");
    }
    for len in [0, 64, whole.len() / 2, whole.len() - 1] {
        let cut = file(&format!("cut_new_{len}.bpf.o"), &whole[..len]);
        let line = refused(&cut);
        assert!(line.starts_with(&format!("cannot load {cut}: ")), "{line}");
    }
}

#[test]
fn an_elf_file_that_is_no_bpf_object() {
    let program = env!("CARGO_BIN_EXE_hitless");
    let line = fails(&["run", program, "--pcap", CAPTURE]);
    assert!(
        line.starts_with(&format!("cannot load {program}: not a BPF object: ")),
        "{line}"
    );
    assert!(line.contains("expected"), "{line}");
    assert!(refused(program).contains("not a BPF object"));
}

#[test]
fn a_capture_is_no_object_and_an_object_is_no_capture() {
    let line = fails(&["run", CAPTURE, "--pcap", CAPTURE]);
    assert!(line.starts_with("cannot load testdata/flows.pcap: not a BPF object: magic [d4, c3, b2, a1], expected"));
    let line = fails(&["run", V1, "--pcap", V1]);
    assert_eq!(
        line,
        "cannot replay bpf/flows_v1.bpf.o: not a capture: starts with [7f, 45, 4c, 46], \
         expected the magic number of pcap or pcapng"
    );
}

#[test]
fn a_program_that_the_verifier_refuses() {
    let reason = "program count_flows: the verifier refuses it: insn ";
    let line = fails(&["run", "bpf/flows_unsafe.bpf.o", "--pcap", CAPTURE]);
    assert!(
        line.starts_with(&format!("cannot load bpf/flows_unsafe.bpf.o: {reason}")),
        "{line}"
    );
    for part in [
        "invalid access to packet",
        "requires",
        "found",
        "bpf/flows_unsafe.bpf.c:41",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert!(refused("bpf/flows_unsafe.bpf.o").contains(reason));
}

#[test]
fn a_new_map_that_is_too_small() {
    assert_eq!(
        refused("bpf/flows_small.bpf.o"),
        "upgrade refused: map flows: max_entries is 1024, expected at least 4096, which the running map can hold"
    );
}

#[test]
fn a_new_field_that_is_too_narrow() {
    let reason = "map flows: field packets of the value would lose information: narrowed from 32 to 16 bits";
    assert_eq!(refused("bpf/flows_narrow.bpf.o"), format!("upgrade refused: {reason}"));
    let line = fails(&["upgrade", V1, "bpf/flows_narrow.bpf.o", "--plan"]);
    assert_eq!(line, format!("cannot upgrade {V1} to bpf/flows_narrow.bpf.o: {reason}"));
}

#[test]
fn a_capture_cut_in_the_middle_of_a_record() {
    let whole = read(CAPTURE);
    let cut = file("cut.pcap", &whole[..100]);
    let line = fails(&["run", V1, "--pcap", &cut]);
    assert_eq!(
        line,
        format!("cannot replay {cut}: cut off in record 1: 76 bytes, expected 126")
    );
    let cut = file("cut_late.pcap", &whole[..whole.len() - 1]);
    let line = fails(&["upgrade", V1, V2, "--pcap", &cut]);
    assert!(
        line.starts_with(&format!("cannot replay {cut}: cut off in record 5706: ")),
        "{line}"
    );
}

#[test]
fn a_capture_of_another_link_type() {
    let mut raw = read(CAPTURE)[..24].to_vec();
    raw[20] = 101;
    let raw = file("raw.pcap", &raw);
    let line = fails(&["run", V1, "--pcap", &raw]);
    assert_eq!(
        line,
        format!("cannot replay {raw}: link type 101 (raw IP), expected 1 (Ethernet)")
    );
}

#[test]
fn files_that_are_not_there() {
    let reason = "cannot read no/such.file: No such file or directory (os error 2)";
    assert_eq!(fails(&["run", "no/such.file", "--pcap", CAPTURE]), reason);
    assert_eq!(fails(&["run", V1, "--pcap", "no/such.file"]), reason);
    assert_eq!(fails(&["upgrade", V1, "no/such.file", "--pcap", CAPTURE]), reason);
    assert_eq!(fails(&["upgrade", V1, V2, "--pcap", "no/such.file"]), reason);
    assert!(fails(&["run", "bpf", "--pcap", CAPTURE]).starts_with("cannot read bpf: "));
}

#[test]
fn names_that_are_not_in_the_object() {
    let run = |args: &[&str]| fails(&[&["run", V1, "--pcap", CAPTURE], args].concat());
    assert_eq!(
        run(&["--dump", "flow"]),
        "cannot dump map flow: no such map, expected one of: flows, .rodata, .bss"
    );
    assert_eq!(
        run(&["--account", "flow.packets"]),
        "account flow.packets: no such map, expected one of: flows, .rodata, .bss"
    );
    assert_eq!(
        run(&["--account", "flows.pakets"]),
        "account flows.pakets: no field pakets, expected one of: packets, bytes"
    );
    assert!(run(&["--account", "flows"]).ends_with(", expected an integer"));
    assert_eq!(
        run(&["--prog", "count"]),
        "bpf/flows_v1.bpf.o: no XDP program count, expected one of: count_flows"
    );
    let line = fails(&["run", "bpf/trace_loop.bpf.o", "--pcap", CAPTURE]);
    assert_eq!(line, "bpf/trace_loop.bpf.o: no XDP program, expected at least 1");
}

#[test]
fn wrong_usage_has_exit_code_2() {
    for args in [
        &["run", V1][..],
        &["run", V1, "--pcap", CAPTURE, "--threads", "0"],
        &["run", V1, "--pcap", CAPTURE, "--repeat", "0"],
        &["run", V1, "--pcap", CAPTURE, "--hook", "tc"],
        &["upgrade", V1, V2, "--pcap", CAPTURE, "--max-pause-percent", "-1"],
        &["upgrade", V1, V2],
        &["downgrade"],
    ] {
        let output = hitless(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(
        hitless(&["--version"]).stdout,
        format!("hitless {}\n", env!("CARGO_PKG_VERSION")).into_bytes()
    );
}

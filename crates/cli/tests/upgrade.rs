//! `hitless upgrade`. No test depends on how long anything takes: where packets must run during the copy, the copy is slow.

mod common;

use common::{CAPTURE, V1, V2, fails, fails_with_output, json, succeeds};
use serde_json::Value;

fn map<'a>(report: &'a Value, name: &str) -> &'a Value {
    let maps = report["maps"].as_array().unwrap();
    maps.iter().find(|map| map["name"] == name).unwrap()
}

fn mirrored(report: &Value) -> u64 {
    let maps = report["maps"].as_array().unwrap().iter();
    maps.map(|map| map["mirrored_updates"].as_u64().unwrap() + map["mirrored_deletes"].as_u64().unwrap())
        .sum()
}

/// Nothing may be lost, with so many threads, and something must have happened meanwhile.
fn nothing_is_lost(threads: &str, old: &str, new: &str, steer: &str) {
    let args = [
        "upgrade",
        old,
        new,
        "--pcap",
        CAPTURE,
        "--threads",
        threads,
        "--steer",
        steer,
    ];
    let report = json(
        &[
            &args[..],
            &["--repeat", "8", "--copy-rate", "4000", "--min-mirrored", "1"],
        ]
        .concat(),
    );
    assert_eq!(report["check"]["lost"], 0);
    assert_eq!(report["control"]["check"]["lost"], 0);
    assert_eq!(report["control"]["packets"], 8 * 5706);
    assert!(mirrored(&report) > 0);
    let sent = report["check"]["sent"].as_u64().unwrap();
    assert!(sent >= 9 * 5706, "{sent}");
    assert_eq!(sent, report["packets"].as_u64().unwrap());
    assert!(report["packets_during_copy"].as_u64().unwrap() < sent);
    let flows = map(&report, "flows");
    assert_eq!(flows["action"], "trace and copy");
    assert!(flows["copied"].as_u64().unwrap() > 500);
    assert_eq!(map(&report, ".bss")["action"], "copy at cutover");
    assert_eq!(report["programs"][0]["hooks"][0], "xdp");
}

#[test]
fn two_threads_lose_nothing() {
    nothing_is_lost("2", V1, V2, "flow");
}

#[test]
fn four_threads_lose_nothing() {
    nothing_is_lost("4", V1, V2, "flow");
}

#[test]
fn eight_threads_lose_nothing() {
    nothing_is_lost("8", V1, V2, "flow");
}

#[test]
fn spin_locked_flows_may_come_to_several_threads() {
    nothing_is_lost("2", "bpf/flows_lock_v1.bpf.o", "bpf/flows_lock_v2.bpf.o", "none");
    nothing_is_lost("4", "bpf/flows_lock_v1.bpf.o", "bpf/flows_lock_v2.bpf.o", "none");
}

#[test]
fn accounts_follow_renamed_fields() {
    // v2 calls v1's `bytes` `octets`; the sum is no number of packets, so the check fails after the upgrade.
    let args = [
        "upgrade",
        V1,
        V2,
        "--pcap",
        CAPTURE,
        "--no-control",
        "--repeat",
        "2",
        "--account",
        "flows.bytes",
    ];
    let (out, line) = fails_with_output(&args);
    assert!(out.contains("check: flows.octets "), "{out}");
    assert!(line.contains("the accounts hold "), "{line}");
}

#[test]
fn equal_layouts_are_shared_unless_copies_are_asked_for() {
    let args = ["upgrade", V1, V1, "--pcap", CAPTURE, "--no-control", "--repeat", "4"];
    let report = json(&args);
    assert_eq!(map(&report, "flows")["action"], "share");
    assert!(report["packets_during_copy"].is_null());
    assert!(report["control"].is_null());
    assert_eq!(report["check"]["lost"], 0);
    let report = json(&[&args[..], &["--always-copy"]].concat());
    assert_eq!(map(&report, "flows")["action"], "trace and copy");
    assert_eq!(report["check"]["lost"], 0);
}

#[test]
fn text_output_is_for_people() {
    let out = succeeds(&["upgrade", V1, V2, "--pcap", CAPTURE, "--repeat", "4"]);
    let first: Vec<&str> = out.lines().map(|line| line.split([':', ' ']).next().unwrap()).collect();
    let expected = [
        "control",
        "upgrade",
        "map",
        "flows",
        ".rodata",
        ".bss",
        "copy",
        "longest",
        "packets",
        "packets/s",
        "check",
    ];
    assert_eq!(first, expected, "{out}");
    assert!(out.trim_end().ends_with(": lost 0"), "{out}");
}

#[test]
fn the_plan_names_every_field() {
    let out = succeeds(&["upgrade", V1, V2, "--plan"]);
    for line in [
        "map flows: trace and copy (key layout changed, value layout changed, max_entries 4096 to 16384)",
        "  key saddr: moved",
        "  value octets (was bytes): widened from 32 to 64 bits",
        "  value last_seen: new, zero",
        "map .rodata: fresh (constants of the new object)",
        "program count_flows to count_flows at xdp",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}\n{out}");
    }
    let plan = json(&["upgrade", V1, V2, "--plan"]);
    let fields = map(&plan, "flows")["value_fields"].as_array().unwrap();
    let octets = fields.iter().find(|field| field["path"] == "octets").unwrap();
    assert_eq!(octets["renamed_from"], "bytes");
    assert_eq!(octets["change"], "widened from 32 to 64 bits");
}

#[test]
fn limits_that_are_not_met_are_told() {
    let args = ["upgrade", V1, V1, "--pcap", CAPTURE, "--no-control", "--repeat", "2"];
    let (out, line) = fails_with_output(&[&args[..], &["--min-mirrored", "7"]].concat());
    assert!(out.contains(": lost 0\n"), "{out}");
    assert_eq!(line, "0 updates and deletes were mirrored, expected at least 7");
    let (_, line) = fails_with_output(&[&args[..], &["--min-packets", "1"]].concat());
    assert_eq!(
        line,
        "0 packets ran between the first copied entry and the cutover, expected at least 1"
    );
    let (out, line) = fails_with_output(&[&args[..], &["--max-pause-percent", "0"]].concat());
    assert!(!out.contains('%'), "nothing was copied: {out}");
    assert_eq!(
        line,
        "nothing was copied that the pause could be compared with; --always-copy copies all the same"
    );
    let args = [&args[..], &["--always-copy"]].concat();
    let (_, line) = fails_with_output(&[&args[..], &["--max-pause-percent", "0"]].concat());
    assert!(line.starts_with("the longest pause was "), "{line}");
    assert!(
        line.ends_with(" % of the time that the copy took, expected at most 0 %"),
        "{line}"
    );
}

#[test]
fn without_accounts_an_upgrade_must_be_told_not_to_check() {
    let mirror = "bpf/trace_mirror.bpf.o";
    let line = fails(&["upgrade", mirror, mirror, "--pcap", CAPTURE]);
    assert!(line.contains("expected --account MAP.FIELD, or --no-check"), "{line}");
}

//! `hitless run`.

mod common;

use common::{CAPTURE, V1, V2, fails, fails_with_output, json, succeeds};

#[test]
fn one_replay_counts_what_the_capture_holds() {
    // The numbers are those of scripts/pcap_stats.py (testdata/README.md).
    for threads in ["1", "3"] {
        let report = json(&["run", V1, "--pcap", CAPTURE, "--threads", threads, "--dump-maps"]);
        assert_eq!(report["packets"], 5706);
        assert_eq!(report["verdicts"]["XDP_PASS"], 5706);
        assert_eq!(report["verdicts"]["XDP_DROP"], 0);
        assert_eq!(
            report["threads"].as_array().unwrap().len(),
            threads.parse::<usize>().unwrap()
        );
        assert_eq!(report["check"]["sent"], 5706);
        assert_eq!(report["check"]["lost"], 0);
        let maps = report["maps"].as_array().unwrap();
        let map = |name: &str| maps.iter().find(|map| map["name"] == name).unwrap();
        assert_eq!(map("flows")["type"], "hash");
        let flows = map("flows")["elements"].as_array().unwrap();
        assert_eq!(flows.len(), 574);
        let sum = |field: &str| {
            flows
                .iter()
                .map(|flow| flow["value"][field].as_u64().unwrap())
                .sum::<u64>()
        };
        assert_eq!((sum("packets"), sum("bytes")), (2789, 317_336));
        assert!(
            flows
                .iter()
                .all(|flow| flow["key"]["saddr"].as_array().unwrap().len() == 4)
        );
        assert_eq!(map(".bss")["type"], "array");
        assert_eq!(map(".bss")["elements"][0]["key"], 0);
        assert_eq!(map(".bss")["elements"][0]["value"]["packets_seen"], 5706);
        assert_eq!(map(".bss")["elements"][0]["value"]["deleted_packets"], 2917);
        assert_eq!(map(".rodata")["elements"][0]["value"]["frame_overhead"], 4);
    }
}

#[test]
fn every_thread_sends_every_replay() {
    let report = json(&["run", V2, "--pcap", CAPTURE, "--threads", "4", "--repeat", "3"]);
    assert_eq!(report["packets"], 3 * 5706);
    let threads = report["threads"].as_array().unwrap();
    assert_eq!(
        threads
            .iter()
            .map(|thread| thread["packets"].as_u64().unwrap())
            .sum::<u64>(),
        3 * 5706
    );
    assert_eq!(report["check"]["lost"], 0);
}

#[test]
fn text_output_is_for_people() {
    let out = succeeds(&["run", V1, "--pcap", CAPTURE, "--threads", "1", "--dump", ".bss"]);
    assert!(
        out.starts_with("bpf/flows_v1.bpf.o: XDP_PASS 5706\nthread 0: 5706 packets, "),
        "{out}"
    );
    assert!(out.contains(" = 5706, packets sent 5706: lost 0\n"), "{out}");
    let dump =
        "map .bss: array, 1 of 1 elements\n[{\n    \"key\": 0,\n    \"value\": {\n        \"packets_seen\": 5706,\n";
    assert!(out.contains(dump), "{out}");
    assert!(!out.contains("map flows"));
}

#[test]
fn accounts_can_be_named() {
    let args = ["run", V1, "--pcap", CAPTURE, "--account"];
    let report = json(&[&args[..], &[".bss.packets_seen"]].concat());
    assert_eq!(report["check"]["accounts"][0]["name"], ".bss.packets_seen");
    assert_eq!(report["check"]["lost"], 0);
    let (out, line) = fails_with_output(&[&args[..], &["flows.packets"]].concat());
    assert!(out.contains("lost 2917"), "{out}");
    assert_eq!(
        line,
        "the accounts hold 2789 packets, expected the 5706 that were sent: lost 2917"
    );
}

#[test]
fn without_accounts_there_is_no_check() {
    let report = json(&["run", "bpf/trace_mirror.bpf.o", "--pcap", CAPTURE]);
    assert!(report["check"].is_null());
    assert_eq!(
        report["verdicts"]["XDP_DROP"], 5706,
        "no packet is a command that it knows"
    );
}

#[test]
fn programs_are_relocated_against_the_types_of_a_file() {
    const OBJECT: &str = "bpf/relocated.bpf.o";
    let args = ["run", OBJECT, "--prog", "features", "--pcap", CAPTURE];
    let line = fails(&args);
    let missing = "struct frame.verdict does not exist in the target BTF";
    assert!(
        line.starts_with("cannot load bpf/relocated.bpf.o: program obey: ") && line.contains(missing),
        "{line}"
    );
    // In its own types it has all that it asks for.
    let report = json(&[&args[..], &["--target-btf", OBJECT]].concat());
    assert_eq!(report["verdicts"]["XDP_DROP"], 5706);
    let line = fails(&[&args[..], &["--target-btf", CAPTURE]].concat());
    assert!(
        line.starts_with(&format!(
            "cannot read types of {CAPTURE}: neither an ELF file nor bare types: magic "
        )),
        "{line}"
    );
    let vmlinux = "/sys/kernel/btf/vmlinux";
    if !std::path::Path::new(vmlinux).exists() {
        eprintln!("skipped: no {vmlinux}");
        return;
    }
    let report = json(&["run", V1, "--pcap", CAPTURE, "--target-btf", vmlinux]);
    assert_eq!(report["check"]["lost"], 0);
}

#[test]
fn configuration_options_come_from_a_file() {
    let args = ["run", "bpf/corpus/kconfig.bpf.o", "--pcap", CAPTURE];
    let line = fails(&args);
    assert!(line.contains("(strong): the option is not set here; set it"), "{line}");
    // With the options it loads; what is left is that packets are for XDP programs.
    let options = ["--kconfig", "bpf/corpus/kconfig"];
    let line = fails(&[&args[..], &options].concat());
    assert!(line.ends_with("no XDP program, expected at least 1"), "{line}");
    let line = fails(&[
        "upgrade",
        V1,
        "bpf/corpus/kconfig_missing.bpf.o",
        "--plan",
        "--kconfig",
        "no/such/file",
    ]);
    assert!(line.starts_with("cannot read no/such/file: "), "{line}");
}

#[test]
fn changes_of_a_map_are_printed_as_they_happen() {
    let out = succeeds(&[
        "run",
        V1,
        "--pcap",
        CAPTURE,
        "--threads",
        "2",
        "--watch",
        "flows",
        "--json",
        "--dump",
        "flows",
    ]);
    let mut lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let report = lines.pop().unwrap();
    assert_eq!(report["watched"][0]["changes"], lines.len());
    assert_eq!(report["watched"][0]["missed"], 0);
    // Replaying the changes gives the map.
    let mut replayed = std::collections::BTreeMap::new();
    for change in &lines {
        assert_eq!((&change["map"], &change["missed"]), (&"flows".into(), &0.into()));
        let key = change["key"].to_string();
        match change["event"].as_str().unwrap() {
            "UPDATE_ELEM" => replayed.insert(key, change["value"].clone()),
            event => {
                assert_eq!((event, &change["value"]), ("DELETE_ELEM", &serde_json::Value::Null));
                replayed.remove(&key)
            }
        };
    }
    let elements = report["maps"][0]["elements"].as_array().unwrap().iter();
    let held = elements.map(|element| (element["key"].to_string(), element["value"].clone()));
    assert_eq!(replayed, held.collect());
    assert!(lines.iter().any(|change| change["event"] == "DELETE_ELEM"));
}

#[test]
fn changes_that_do_not_fit_are_counted() {
    let args = ["run", V1, "--pcap", CAPTURE, "--threads", "1", "--watch"];
    let all = succeeds(&[&args[..], &["flows"]].concat());
    let few = succeeds(&[&args[..], &["flows", "--watch-buffer", "4096"]].concat());
    let told = |out: &str| {
        let line = out
            .lines()
            .find_map(|line| line.strip_prefix("watched flows: "))
            .unwrap();
        let (changes, rest) = line.split_once(" changes, ").unwrap();
        let missed = rest.strip_suffix(" missed").unwrap();
        (changes.parse::<u64>().unwrap(), missed.parse::<u64>().unwrap())
    };
    let (changes, missed) = told(&all);
    assert_eq!(missed, 0);
    let (printed, missed) = told(&few);
    assert_eq!(printed + missed, changes);
    let wrong = fails(&["run", V1, "--pcap", CAPTURE, "--watch", "flow"]);
    assert!(wrong.contains("cannot watch map flow: no such map"), "{wrong}");
}

#[test]
fn iterators_print_what_maps_hold_in_the_end() {
    const FLOWS: &str = "bpf/flows_iter.bpf.o";
    let args = [
        "run",
        FLOWS,
        "--pcap",
        CAPTURE,
        "--threads",
        "1",
        "--iter",
        "print_flows:flows",
    ];
    let text = succeeds(&args);
    let (_, printed) = text.split_once("check: ").unwrap();
    let lines: Vec<_> = printed.lines().skip(1).collect();
    let report: serde_json::Value =
        serde_json::from_str(&succeeds(&[&args[..], &["--json", "--dump", "flows"]].concat())).unwrap();
    let iterator = &report["iterators"][0];
    assert_eq!(iterator["iterator"], "print_flows:flows");
    let output = iterator["output"].as_str().unwrap();
    let held = report["maps"][0]["elements"].as_array().unwrap().len();
    for lines in [&lines, &output.lines().collect()] {
        let (end, flows) = lines.split_last().unwrap();
        assert_eq!((*end, flows.len()), ("end of map flows", held));
        let is_flow = |line: &&str| line.contains(" > ") && line.ends_with(" bytes");
        assert!(held > 0 && flows.iter().all(is_flow), "{flows:?}");
    }
    for (iterator, reason) in [
        (
            "print_flows",
            "program print_flows walks the elements of a map, which has to be given",
        ),
        ("print_flows:flaws", "no map flaws"),
        ("print", "no such iterator program, expected one of: print_flows"),
        (
            "print_flows:.bss",
            "program print_flows accesses 36 bytes of the key, but in map .bss it has 4",
        ),
    ] {
        let wrong = fails(&["run", FLOWS, "--pcap", CAPTURE, "--iter", iterator]);
        assert!(
            wrong.contains(&format!("cannot attach iterator {iterator}: {reason}")),
            "{wrong}"
        );
    }
    let none = fails(&["run", V1, "--pcap", CAPTURE, "--iter", "any"]);
    assert!(none.contains("the object has no iterator programs"), "{none}");
}

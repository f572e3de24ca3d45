//! Every object as libbpf has it: this crate and libbpf are given the same objects for the same machine and must come to
//! the same maps, contents, programs, instructions, source lines and types, or refuse both.
//!
//! More objects than the corpus, all `.o` and `.elf` files below a directory, are compared for the running kernel by
//!
//! ```text
//! HITLESS_OBJECTS=DIR cargo test -p hitless-object --test libbpf -- more_objects --nocapture
//! ```
//!
//! which says of each that is refused by whom and why, and fails if one comes out different or is refused only here. The
//! kernel's configuration is read from the file that `HITLESS_KCONFIG` names; without it, there is none.

#[path = "common/corpus.rs"]
mod corpus;
mod oracle;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use corpus::{Machine, name, objects, path, text};
use hitless_object::ObjectSpec;
use oracle::compare::compare;
use oracle::{Answer, Oracle};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const KALLSYMS: &str = "/proc/kallsyms";

/// What is expected of an object if not that both make the same of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    Same,
    /// It is only opened, as no machine has all that it wants.
    SameUnloaded,
    /// Both refuse.
    Refused,
    /// libbpf may refuse, or some versions of it do; if it does not, it is the same.
    HereAtLeast,
    /// libbpf leaves something out before this version, takes what is to be refused for it, or the other way around.
    Since(u32, u32),
    /// libbpf takes it.
    There,
}

const ITERATORS: &str = "walks what the types of the corpus do not have";
const SYSTEM_CALLS: &str = "is for system calls, which the types of the corpus do not have";
const OF_THE_KERNEL: &str = "calls functions of the kernel that the types of the corpus do not have";

/// Objects that are not simply the same, and why.
const EXPECTED: &[(&str, Expected, &str)] = &[
    ("arena", Expected::HereAtLeast, "libbpf 1.1 does not know arenas"),
    ("big_endian", Expected::Refused, "of the other byte order"),
    (
        "core_ambiguous",
        Expected::Refused,
        "a field that two types disagree about",
    ),
    (
        "data_pointer",
        Expected::There,
        "libbpf leaves pointers in global data zero, here they are refused",
    ),
    (
        "exceptions",
        Expected::Since(1, 3),
        "libbpf 1.1 does not know exceptions",
    ),
    (
        "exceptions_missing",
        Expected::Since(1, 3),
        "libbpf 1.1 does not know exceptions",
    ),
    (
        "extension",
        Expected::SameUnloaded,
        "extends a program that is not there",
    ),
    ("fd_policy_migration", Expected::SameUnloaded, ITERATORS),
    ("fd_policy_v1", Expected::SameUnloaded, SYSTEM_CALLS),
    ("fd_policy_v2", Expected::SameUnloaded, SYSTEM_CALLS),
    ("flows_iter", Expected::SameUnloaded, ITERATORS),
    ("graphs", Expected::SameUnloaded, OF_THE_KERNEL),
    ("helpers_dynptr", Expected::SameUnloaded, OF_THE_KERNEL),
    ("helpers_host", Expected::SameUnloaded, OF_THE_KERNEL),
    ("helpers_kfuncs", Expected::SameUnloaded, OF_THE_KERNEL),
    ("helpers_objects", Expected::SameUnloaded, OF_THE_KERNEL),
    ("iter_dump", Expected::SameUnloaded, ITERATORS),
    ("iter_typed", Expected::SameUnloaded, ITERATORS),
    ("iterators", Expected::SameUnloaded, OF_THE_KERNEL),
    ("kconfig_kind", Expected::Refused, "text for a number"),
    ("kconfig_size", Expected::There, "libbpf has values of any size"),
    ("kconfig_missing", Expected::Refused, "no such option"),
    ("kconfig_range", Expected::Refused, "the value does not fit"),
    ("ksyms_missing", Expected::Refused, "no such function"),
    ("ksyms_missing_address", Expected::Refused, "no such symbol"),
    ("ksyms_missing_variable", Expected::Refused, "no such variable"),
    ("ksyms_signature", Expected::Refused, "another signature"),
    ("ksyms_type", Expected::Refused, "another type"),
    (
        "legacy_aya",
        Expected::HereAtLeast,
        "libbpf has given up maps of before BTF",
    ),
    (
        "legacy_cilium",
        Expected::HereAtLeast,
        "libbpf has given up maps of before BTF",
    ),
    (
        "legacy_maps",
        Expected::HereAtLeast,
        "libbpf has given up maps of before BTF",
    ),
    (
        "legacy_no_btf",
        Expected::HereAtLeast,
        "libbpf has given up maps of before BTF",
    ),
    (
        "legacy_samples",
        Expected::HereAtLeast,
        "libbpf has given up maps of before BTF",
    ),
    ("maps_extern", Expected::Refused, "a map of another object"),
    ("maps_ulong", Expected::HereAtLeast, "libbpf 1.1 does not know __ulong"),
    ("maps_static", Expected::HereAtLeast, "libbpf has global maps only"),
    (
        "sections",
        Expected::SameUnloaded,
        "names functions that no kernel has all of",
    ),
    (
        "sections_calls",
        Expected::HereAtLeast,
        "libbpf has only functions of .text called",
    ),
    (
        "static_program",
        Expected::HereAtLeast,
        "libbpf has static functions only in .text",
    ),
    (
        "struct_ops_link",
        Expected::Since(1, 2),
        "libbpf 1.1 does not know .struct_ops.link",
    ),
    (
        "struct_ops_optional",
        Expected::Since(1, 5),
        "libbpf 1.1 does not know ?.struct_ops",
    ),
];

fn expected(object: &str) -> Expected {
    let entry = EXPECTED.iter().find(|(name, ..)| *name == object);
    entry.map_or(Expected::Same, |(_, expected, _)| *expected)
}

fn ours(object: &Path, machine: &Machine, load: bool) -> Result<ObjectSpec, String> {
    let bytes = std::fs::read(object).expect("it was just listed");
    let parsed = ObjectSpec::parse(&bytes).map_err(|error| text(&error))?;
    if load {
        machine.relocate(&parsed).map_err(|error| text(&error))
    } else {
        Ok(parsed)
    }
}

/// What differs from what is expected of an object.
fn differences(
    expected: Expected,
    ours: &Result<ObjectSpec, String>,
    theirs: &Answer,
    machine: &Machine,
) -> Vec<String> {
    let refused = theirs
        .failed
        .as_ref()
        .map(|stage| format!("{stage}: {}", theirs.log.trim()));
    match (ours, refused, expected) {
        (Err(_), Some(_), Expected::Refused) | (Ok(_), Some(_), Expected::HereAtLeast) => Vec::new(),
        (Err(_), None, Expected::There) => Vec::new(),
        (_, _, Expected::Since(major, minor)) if theirs.version() < (major, minor) => Vec::new(),
        (Err(_), Some(_), Expected::Since(..)) => Vec::new(),
        (Ok(ours), None, Expected::Same | Expected::HereAtLeast | Expected::Since(..)) => {
            compare(ours, theirs, Some(machine.btf())).found
        }
        (Ok(ours), None, Expected::SameUnloaded) => compare(ours, theirs, None).found,
        (ours, refused, expected) => {
            let verdict =
                |error: Option<String>| error.map_or("taken".to_string(), |error| format!("refused ({error})"));
            let ours = verdict(ours.as_ref().err().cloned());
            vec![format!(
                "{expected:?} expected, {ours} here, {} by libbpf",
                verdict(refused)
            )]
        }
    }
}

fn fail_if_any(all: &[String]) {
    assert!(all.is_empty(), "{} differences\n{}", all.len(), all.join("\n"));
}

#[test]
fn every_object() {
    let Some(oracle) = Oracle::compile() else { return };
    let machine = Machine::of_corpus();
    let (btf, kconfig, kallsyms) = (
        path("corpus/target.btf"),
        path("corpus/kconfig"),
        path("corpus/kallsyms"),
    );
    let shown = oracle::Machine {
        btf: Some(&btf),
        kconfig: Some(&kconfig),
        kallsyms: Some(&kallsyms),
        any_target: false,
    };
    let mut all = Vec::new();
    for object in objects("corpus").iter().chain(&objects("")) {
        let expected = expected(name(object));
        let load = expected != Expected::SameUnloaded;
        let theirs = oracle.ask(object, shown, load);
        let ours = ours(object, &machine, load);
        for difference in differences(expected, &ours, &theirs, &machine) {
            all.push(format!("{} (libbpf {}): {difference}", name(object), theirs.version));
        }
    }
    fail_if_any(&all);
}

#[test]
fn co_re_against_the_running_kernel() {
    if !Path::new(VMLINUX).exists() {
        eprintln!("skipped: no {VMLINUX}");
        return;
    }
    let Some(oracle) = Oracle::compile() else { return };
    let machine = Machine::new(Path::new(VMLINUX), None, None);
    let shown = oracle::Machine {
        btf: Some(Path::new(VMLINUX)),
        ..oracle::Machine::default()
    };
    let mut all = Vec::new();
    for object in objects("corpus")
        .iter()
        .filter(|object| name(object).starts_with("core_"))
    {
        let theirs = oracle.ask(object, shown, true);
        let ours = ours(object, &machine, true);
        for difference in differences(Expected::Same, &ours, &theirs, &machine) {
            all.push(format!("{} (libbpf {}): {difference}", name(object), theirs.version));
        }
    }
    fail_if_any(&all);
}

/// The objects below a directory.
fn objects_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            found.extend(objects_below(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "o" || extension == "elf")
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// How an object compares of which nothing is known.
struct Comparison {
    verdict: &'static str,
    /// What differs, and why it is refused.
    details: Vec<String>,
    failed: bool,
}

fn compare_unknown(oracle: &Oracle, object: &Path, machine: &Machine, shown: oracle::Machine<'_>) -> Comparison {
    let mut found = Vec::new();
    let mut refusals: Vec<String> = Vec::new();
    let mut refused_by = [false, false];
    // First as it is in the file, as this much can be compared even if it cannot be loaded here.
    for load in [false, true] {
        let theirs = oracle.ask(object, shown, load);
        let ours = ours(object, machine, load);
        let refused = theirs.failed.as_ref().map(|_| theirs.log.trim().to_string());
        refused_by = [ours.is_err(), refused.is_some()];
        if let (Ok(ours), None) = (&ours, &refused) {
            found.extend(compare(ours, &theirs, load.then(|| machine.btf())).found);
        }
        let ours = ours.err().map(|error| format!("here: {error}"));
        refusals = ours
            .into_iter()
            .chain(refused.map(|log| format!("libbpf: {log}")))
            .collect();
    }
    let verdict = match refused_by {
        _ if !found.is_empty() => "different",
        [false, false] => "same",
        [true, true] => "refused by both",
        [true, false] => "refused here",
        [false, true] => "refused by libbpf",
    };
    Comparison {
        verdict,
        failed: !found.is_empty() || refused_by == [true, false],
        details: found.into_iter().chain(refusals).collect(),
    }
}

#[test]
fn more_objects() {
    let Some(directory) = std::env::var_os("HITLESS_OBJECTS") else {
        eprintln!("skipped: HITLESS_OBJECTS names no directory");
        return;
    };
    if !Path::new(VMLINUX).exists() {
        eprintln!("skipped: no {VMLINUX}");
        return;
    }
    let Some(oracle) = Oracle::compile() else { return };
    let kconfig = std::env::var_os("HITLESS_KCONFIG").map(PathBuf::from);
    let machine = Machine::new(Path::new(VMLINUX), kconfig.as_deref(), Some(Path::new(KALLSYMS)));
    let shown = oracle::Machine {
        btf: Some(Path::new(VMLINUX)),
        kconfig: kconfig.as_deref(),
        kallsyms: Some(Path::new(KALLSYMS)),
        any_target: true,
    };
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let mut failed = Vec::new();
    for object in objects_below(Path::new(&directory)) {
        let comparison = compare_unknown(&oracle, &object, &machine, shown);
        *counts.entry(comparison.verdict).or_default() += 1;
        let details = comparison.details.join("\n").replace('\n', "\n    ");
        let text = format!("{}: {}\n    {details}", object.display(), comparison.verdict);
        if comparison.failed {
            failed.push(text);
        } else if !comparison.details.is_empty() {
            println!("{text}");
        }
    }
    println!("{counts:?}");
    fail_if_any(&failed);
}

#[test]
fn expectations_name_objects() {
    let (corpus, others) = (objects("corpus"), objects(""));
    for (expected, ..) in EXPECTED {
        let mut objects = corpus.iter().chain(&others);
        assert!(
            objects.any(|object| name(object) == *expected),
            "no object {expected:?}"
        );
    }
}

//! The programs in `tests/cases`: each is accepted, or refused at the instruction and with the message noted there.

mod support;

use std::fmt::Write;
use std::path::Path;

fn run(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(file);
    let text = std::fs::read_to_string(&path).expect("the case file is readable");
    let cases = support::parse(&text);
    if cases.is_empty() {
        assert!(text.contains("case: "), "no cases in {file}");
        println!("skipped: the kernel does not say what its types are");
    }
    let mut failures = String::new();
    for case in &cases {
        let found = match case.verify() {
            Ok(_) => Vec::new(),
            Err(rejection) => rejection
                .errors
                .into_iter()
                .map(|error| (error.pc, error.message))
                .collect(),
        };
        if found != case.errors {
            let _ = writeln!(
                failures,
                "{file}:{}: {}\n  expected {:?}\n  found    {found:?}",
                case.line, case.name, case.errors
            );
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

macro_rules! files {
    ($($name:ident),* $(,)?) => {
        const FILES: &[&str] = &[$(concat!(stringify!($name), ".txt")),*];
        $(
            #[test]
            fn $name() {
                run(concat!(stringify!($name), ".txt"));
            }
        )*
    };
}

files!(
    arithmetic,
    branches,
    callbacks,
    calls,
    context,
    control,
    dynptrs,
    globals,
    helpers,
    kfuncs,
    kptrs,
    indices,
    iterators,
    legacy_packets,
    locks,
    loops,
    maps,
    maps_of_maps,
    objects,
    packet_dynptrs,
    packets,
    poisoned,
    program_types,
    programs,
    prototypes,
    pruning,
    regions,
    ringbufs,
    sockets,
    stack,
    strings,
    tail_calls,
    timers
);

#[test]
fn every_case_file_is_run() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    for entry in std::fs::read_dir(dir).expect("the directory of cases is readable") {
        let name = entry.expect("its entries are readable").file_name();
        let name = name.to_string_lossy();
        assert!(FILES.contains(&name.as_ref()), "{name} is not run");
    }
}

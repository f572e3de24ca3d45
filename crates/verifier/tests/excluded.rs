//! `docs/excluded.md` says what the tables say: what user space cannot offer, and why.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use hitless_verifier::tables::{helpers, kfuncs, map_types, program_types};

const INTRODUCTION: &str = "\
# What user space cannot offer

Programs of the kernel's that need one of these are verified with `--kernel` only, and never run here. Each is refused by
its name, with the reason that is given below. What is not in these lists is offered, or not offered yet.

This page is generated from the tables of the verifier: `UPDATE=1 cargo test -p hitless-verifier --test excluded`.
";

/// Names by reason, the reason of most names first.
fn section(page: &mut String, title: &str, entries: impl Iterator<Item = (&'static str, String)>) {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (reason, name) in entries {
        reasons.entry(reason).or_default().push(name);
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    writeln!(page, "\n## {title}").expect("strings take text");
    for (reason, names) in reasons {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        writeln!(page, "\n- {reason}: {}.", names.join(", ")).expect("strings take text");
    }
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let programs = program_types::all().iter();
    let programs = programs.filter_map(|ty| Some((ty.excluded?, ty.section.to_owned())));
    section(&mut page, "Program types, by section", programs);
    let maps = map_types::all().iter();
    let maps = maps.filter_map(|ty| Some((ty.excluded?, ty.name.to_owned())));
    section(&mut page, "Map types", maps);
    let helpers = helpers::all().iter();
    let helpers = helpers.filter_map(|proto| Some((proto.excluded?, proto.name.to_owned())));
    section(&mut page, "Helpers", helpers);
    let kfuncs = kfuncs::all().iter();
    let kfuncs = kfuncs.filter_map(|kfunc| Some((kfunc.excluded?, kfunc.name.to_owned())));
    section(&mut page, "Kernel functions", kfuncs);
    page
}

#[test]
fn the_page_says_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/excluded.md");
    let expected = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &expected).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/excluded.md is out of date; UPDATE=1 writes it anew"
    );
}

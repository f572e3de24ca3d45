//! `hitless map check`: what it says of maps in files, and what it mends.

mod common;

use std::fs;
use std::path::Path;

use common::{fails, fails_with_output, file, hitless, json, succeeds};
use hitless::{MapDef, MapKind, Runtime, UpdateFlags};

/// Behind a header of one page.
const REGION: usize = 4096;

/// The file of a hash map of four elements.
fn map(name: &str) -> String {
    let path = file(name, b"");
    fs::remove_file(&path).unwrap();
    let runtime = Runtime::default();
    let map = runtime
        .create_map_in(MapDef::new("counts", MapKind::Hash, 4, 8, 4), &path)
        .unwrap();
    for key in 0..4u32 {
        map.update(&key.to_ne_bytes(), &[1; 8], UpdateFlags::ANY).unwrap();
    }
    path
}

fn change(path: &str, change: impl FnOnce(&mut [u8])) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes[REGION..]);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_map_that_is_as_it_should_be() {
    let path = map("check_clean");
    assert_eq!(
        succeeds(&["map", "check", &path]),
        format!("{path}: clean, 4 elements\n")
    );
    let found = json(&["map", "check", &path]);
    assert_eq!(found["files"][0]["elements"], 4);
    assert_eq!(found["files"][0]["findings"].as_array().unwrap().len(), 0);
}

#[test]
fn what_a_killed_process_leaves_is_no_error() {
    let path = map("check_left");
    change(&path, |region| region[2] = 1);
    let expected = format!("{path}: left by a killed process, 4 elements\n  lock held: 1, the first at 0\n");
    assert_eq!(succeeds(&["map", "check", &path]), expected);
    assert_eq!(succeeds(&["map", "check", &path]), expected, "nothing was changed");
    let repaired = succeeds(&["map", "check", &path, "--repair"]);
    assert!(
        repaired.starts_with(&format!("{path}: repaired, 4 elements\n")),
        "{repaired}"
    );
    assert!(succeeds(&["map", "check", &path]).contains("clean"));
}

#[test]
fn damage_is_an_error_until_it_is_repaired() {
    let (good, path) = (map("check_good"), map("check_damaged"));
    // Every key becomes the same one.
    change(&path, |region| {
        for bucket in region.chunks_exact_mut(64) {
            bucket[16..32].fill(0);
        }
    });
    let (out, line) = fails_with_output(&["map", "check", &good, &path]);
    assert_eq!(line, format!("{path} is damaged"));
    assert!(
        out.contains(&format!("{good}: clean, 4 elements\n{path}: damaged, ")),
        "{out}"
    );
    let output = hitless(&["map", "check", &path, "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &found["files"][0]["damaged"]),
        (Some(1), &true.into())
    );
    let repaired = json(&["map", "check", &path, "--repair"]);
    assert_eq!(repaired["files"][0]["repaired"], true);
    assert!(repaired["files"][0]["elements"].as_u64().unwrap() < 4);
    assert!(succeeds(&["map", "check", &path]).contains("clean"));
}

#[test]
fn what_is_no_map_is_refused() {
    let path = file(
        "check_text",
        "no map, but long enough for a header. ".repeat(100).as_bytes(),
    );
    assert_eq!(
        fails(&["map", "check", &path]),
        format!("cannot open the map in {path}: not the file of a map")
    );
    let missing = Path::new(&path).with_extension("missing");
    let line = fails(&["map", "check", missing.to_str().unwrap()]);
    assert!(line.ends_with("No such file or directory (os error 2)"), "{line}");
    let path = map("check_in_use");
    let runtime = Runtime::default();
    let opened = runtime.open_map(&path).unwrap();
    let line = fails(&["map", "check", &path]);
    assert!(
        line.ends_with("the map is in use by the process that has it open"),
        "{line}"
    );
    drop(opened);
    succeeds(&["map", "check", &path]);
}

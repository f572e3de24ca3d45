//! How many instructions a call takes must not grow: counted by valgrind, so that it depends on neither the machine's speed nor
//! its load. `count/instructions.txt` says how many are expected, of the release build on x86-64.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// So much more than expected, in percent, is no regression: compilers change.
const HEADROOM: f64 = 10.0;

/// Rewrites what is expected if it is set.
const UPDATE: &str = "COUNTS_UPDATE";

#[test]
fn calls_take_no_more_instructions_than_expected() {
    if cfg!(debug_assertions) || cfg!(not(target_arch = "x86_64")) {
        println!("skipped: of release builds for x86-64 only (make counts)");
        return;
    }
    let found = match count() {
        Ok(found) => found,
        Err(Unusable(reason)) => {
            println!("skipped: {reason}");
            return;
        }
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("count/instructions.txt");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, table(&found)).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let expected: BTreeMap<&str, f64> = text.lines().filter_map(parse).collect();
    let mut errors = String::new();
    for (name, count) in &found {
        let wanted = expected.get(name.as_str()).copied();
        println!("{name}: {count:.1}, expected {wanted:?}");
        match wanted {
            Some(wanted) if *count <= wanted * (1.0 + HEADROOM / 100.0) => {}
            Some(wanted) => writeln!(errors, "{name}: {count:.1} instructions, expected {wanted}").unwrap(),
            None => writeln!(errors, "{name}: not in {}", path.display()).unwrap(),
        }
    }
    for name in expected.keys() {
        if !found.iter().any(|(found, _)| found == name) {
            writeln!(errors, "{name}: expected, but there is no such case").unwrap();
        }
    }
    assert!(
        errors.is_empty(),
        "{errors}if that is meant to be, {UPDATE}=1 make counts"
    );
}

/// Why nothing can be counted here.
struct Unusable(String);

/// The instructions of a call of each case.
fn count() -> Result<Vec<(String, f64)>, Unusable> {
    let version = Command::new("valgrind").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        return Err(Unusable("no valgrind (scripts/tools.sh installs it)".to_owned()));
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("instructions");
    // Counts of an earlier run would be taken for those of this one.
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .args(["--toggle-collect=count::counted", "--dump-after=count::counted"])
        .arg(format!("--callgrind-out-file={}", dir.join("out").display()))
        .arg(env!("CARGO_BIN_EXE_count"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "count fails under valgrind:\n{said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut lines = printed.lines();
    let calls: f64 = lines.next().unwrap().parse().unwrap();
    let counts = lines.zip(1..).map(|(name, number)| {
        let dump = std::fs::read_to_string(dir.join(format!("out.{number}"))).unwrap();
        (name.to_owned(), total(&dump).unwrap() / calls)
    });
    Ok(counts.collect())
}

/// The instructions that were counted before a dump.
fn total(dump: &str) -> Option<f64> {
    dump.lines()
        .find_map(|line| line.strip_prefix("summary: "))?
        .trim()
        .parse()
        .ok()
}

fn table(found: &[(String, f64)]) -> String {
    let mut text =
        format!("# Instructions of a call, of release builds on x86-64. Rewritten by {UPDATE}=1 make counts.\n");
    for (name, count) in found {
        writeln!(text, "{count:8.1} {name}").unwrap();
    }
    text
}

fn parse(line: &str) -> Option<(&str, f64)> {
    let (count, name) = line.trim_start().split_once(' ').filter(|_| !line.starts_with('#'))?;
    Some((name, count.parse().ok()?))
}

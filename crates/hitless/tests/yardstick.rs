//! Objects verified here and by Linux, program by program.
//!
//! The objects of `bpf/` are compared in every run. Any others, all `.o` files below a directory, by
//!
//! ```text
//! HITLESS_OBJECTS=DIR cargo test --release -p hitless --test yardstick -- more_objects --nocapture
//! ```
//!
//! (`make yardstick DIR=DIR`), which writes a line for each program that is not simply accepted or refused by both, then a
//! table. It fails if a program is accepted that Linux refuses.

#[path = "yardstick/compare.rs"]
mod compare;
#[path = "yardstick/linux.rs"]
mod linux;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use compare::{Class, Comparison, compare};
use hitless::LoadOptions;
use hitless_btf::{Btf, core};
use linux::Linux;

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
const KALLSYMS: &str = "/proc/kallsyms";

/// Objects of this repository that need what is not there, or that nobody can read.
const UNREAD: &[&str] = &[
    "big_endian",
    "data_pointer",
    "exceptions_missing",
    "kconfig_size",
    "maps_extern",
];

/// A file of `bpf/`.
fn bpf(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bpf").join(name)
}

/// The machine that this runs on.
fn machine() -> LoadOptions {
    let types = std::fs::read(VMLINUX).expect("it was found");
    let types = Btf::parse(&types).expect("the kernel's own");
    let symbols = std::fs::read(KALLSYMS).unwrap_or_default();
    let mut addresses = HashMap::new();
    for line in String::from_utf8_lossy(&symbols).lines() {
        let mut words = line.split_whitespace();
        if let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next())
            && let Ok(address) = u64::from_str_radix(address, 16)
        {
            addresses.entry(name.to_owned()).or_insert(address);
        }
    }
    let options = Command::new("zcat")
        .arg("/proc/config.gz")
        .output()
        .map(|output| output.stdout);
    let options = String::from_utf8_lossy(&options.unwrap_or_default()).into_owned();
    let options = options.lines().filter_map(|line| line.split_once('='));
    let load = LoadOptions::new()
        .target_btf(Arc::new(core::Target::new(Arc::new(types))))
        .symbols(addresses)
        .kconfig("LINUX_HAS_BPF_COOKIE", "y")
        .kconfig("LINUX_HAS_SYSCALL_WRAPPER", "y");
    options.fold(load, |load, (name, value)| load.kconfig(name, value))
}

/// The objects below a directory.
fn objects_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            found.extend(objects_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "o") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Of an object: its programs, or why it cannot be read here.
type Compared = Result<Vec<Comparison>, String>;

/// Compares objects on all processors, and tells `done` of each.
fn compare_all(linux: &Linux, objects: &[PathBuf], done: impl Fn(&Path, &Compared) + Sync) -> Vec<(PathBuf, Compared)> {
    let load = machine();
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, Into::into) {
            scope.spawn(|| {
                while let Some(object) = objects.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let compared = compare(linux, object, &load);
                    done(object, &compared);
                    all.lock().unwrap().push((object.clone(), compared));
                }
            });
        }
    });
    let mut all = all.into_inner().unwrap();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

fn line(object: &Path, compared: &Comparison) -> String {
    let Comparison {
        program,
        section,
        class,
        ..
    } = compared;
    let name = object.file_name().unwrap_or_default().to_string_lossy();
    let (ours, theirs) = (&compared.ours, &compared.theirs);
    format!("{class:?} {name} {program} ({section})\n    here:  {ours}\n    Linux: {theirs}")
}

/// Ratio of instructions processed, here to there, over the programs of at least 1,000 there: geometric mean and how many.
fn processed_ratio<'a>(compared: impl Iterator<Item = &'a Comparison>) -> Option<(f64, usize)> {
    let large = compared
        .filter_map(|program| program.processed)
        .filter(|(_, theirs)| *theirs >= 1000);
    let logs: Vec<f64> = large.map(|(ours, theirs)| (ours as f64 / theirs as f64).ln()).collect();
    (!logs.is_empty()).then(|| ((logs.iter().sum::<f64>() / logs.len() as f64).exp(), logs.len()))
}

#[test]
fn objects_of_this_repository() {
    let Some(linux) = Linux::compile() else { return };
    let (mut wrong, mut unread, mut programs) = (Vec::new(), Vec::new(), 0);
    for (object, compared) in compare_all(&linux, &objects_below(&bpf("")), |_, _| ()) {
        let name = object.file_name().and_then(|name| name.to_str()).expect("plain names");
        let name = name.trim_end_matches(".bpf.o");
        let Ok(compared) = &compared else {
            unread.push(name.to_owned());
            continue;
        };
        programs += compared.len();
        for program in compared {
            let as_expected = match program.class {
                Class::FalseReject | Class::FalseAccept | Class::Crash => false,
                Class::AcceptedByBoth | Class::RefusedByBoth | Class::Excluded | Class::NotComparable => true,
            };
            if !as_expected {
                wrong.push(line(&object, program));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(unread, UNREAD);
    assert!(programs > 200, "{programs}");
}

#[test]
fn more_objects() {
    let Some(directory) = std::env::var_os("HITLESS_OBJECTS") else {
        eprintln!("skipped: HITLESS_OBJECTS names no directory");
        return;
    };
    let Some(linux) = Linux::compile() else { return };
    let all = compare_all(
        &linux,
        &objects_below(Path::new(&directory)),
        |object, compared| match compared {
            Ok(programs) => {
                let simple = |class| matches!(class, Class::AcceptedByBoth | Class::RefusedByBoth);
                for program in programs.iter().filter(|program| !simple(program.class)) {
                    println!("{}", line(object, program));
                }
            }
            Err(why) => println!("Unread {}\n    here:  {why}", object.display()),
        },
    );
    let mut counts: BTreeMap<Class, usize> = BTreeMap::new();
    for program in all.iter().filter_map(|(_, compared)| compared.as_ref().ok()).flatten() {
        *counts.entry(program.class).or_default() += 1;
    }
    let programs = all.iter().filter_map(|(_, compared)| compared.as_ref().ok()).flatten();
    if let Some((ratio, count)) = processed_ratio(programs) {
        println!("processed here to processed by Linux: {ratio:.3} over {count} programs");
    }
    for (class, count) in &counts {
        println!("{count:6} {class:?}");
    }
    let unsound = counts.get(&Class::FalseAccept).copied().unwrap_or(0);
    assert_eq!(unsound, 0, "programs are accepted that Linux refuses");
}

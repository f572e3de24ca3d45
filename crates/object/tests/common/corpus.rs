//! The corpus: objects that each show one feature, and the machine that they are loaded on, which does not exist.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hitless_btf::{Btf, core};
use hitless_object::{ObjectSpec, RelocateError, Target};

/// Version of the corpus's kernel: 6.1.0.
pub(crate) const KERNEL_VERSION: u32 = 6 << 16 | 1 << 8;

/// A file of `bpf/`.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bpf").join(name)
}

/// The objects of `bpf/corpus/`, or of another directory of `bpf/`, by name.
pub(crate) fn objects(directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path(directory)).expect("the directory is part of the repository");
    let mut objects: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.to_string_lossy().ends_with(".bpf.o"))
        .collect();
    objects.sort();
    assert!(!objects.is_empty(), "no objects in {directory:?}");
    objects
}

/// An error with its causes.
pub(crate) fn text(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", text(source)),
        None => error.to_string(),
    }
}

/// The part of an object's file name that says what it is.
pub(crate) fn name(object: &Path) -> &str {
    let name = object
        .file_name()
        .and_then(|name| name.to_str())
        .expect("objects have plain names");
    name.strip_suffix(".bpf.o").unwrap_or(name)
}

/// Where objects are loaded.
pub(crate) struct Machine {
    btf: core::Target,
    kconfig: HashMap<String, String>,
    symbols: HashMap<String, u64>,
}

impl Machine {
    /// The machine of the corpus.
    pub(crate) fn of_corpus() -> Machine {
        Machine::new(
            &path("corpus/target.btf"),
            Some(&path("corpus/kconfig")),
            Some(&path("corpus/kallsyms")),
        )
    }

    /// A machine as files describe it: its kernel's types, configuration and symbols.
    pub(crate) fn new(btf: &Path, kconfig: Option<&Path>, kallsyms: Option<&Path>) -> Machine {
        let read = |file: &Path| std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let text = |file: Option<&Path>| file.map_or(String::new(), |file| String::from_utf8_lossy(&read(file)).into());
        let types = Btf::parse(&read(btf)).unwrap_or_else(|error| panic!("{}: {error}", btf.display()));
        let symbol = |line: &str| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            Some((words.nth(1)?.to_string(), address))
        };
        Machine {
            btf: core::Target::new(Arc::new(types)),
            kconfig: text(kconfig)
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split_once('='))
                // What libbpf finds out by itself; the kernel that its oracle plays has every feature.
                .chain([("LINUX_HAS_BPF_COOKIE", "y")])
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            symbols: text(kallsyms).lines().filter_map(symbol).collect(),
        }
    }

    pub(crate) fn btf(&self) -> &Btf {
        self.btf.btf()
    }

    pub(crate) fn relocate(&self, object: &ObjectSpec) -> Result<ObjectSpec, RelocateError> {
        object.relocate(&Target {
            btf: Some(&self.btf),
            kconfig: &|name| self.kconfig.get(name).cloned(),
            symbols: &|name| self.symbols.get(name).copied(),
            kernel_version: KERNEL_VERSION,
        })
    }
}

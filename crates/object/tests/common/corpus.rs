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
        let read = |name| std::fs::read_to_string(path(name)).expect("the file is part of the repository");
        let options = read("corpus/kconfig");
        let symbols = read("corpus/kallsyms");
        let symbol = |line: &str| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            Some((words.nth(1)?.to_string(), address))
        };
        Machine {
            kconfig: options
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            symbols: symbols.lines().filter_map(symbol).collect(),
            ..Machine::with_btf(&path("corpus/target.btf"))
        }
    }

    /// A machine without configuration and symbols.
    pub(crate) fn with_btf(file: &Path) -> Machine {
        let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let btf = Btf::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Machine {
            btf: core::Target::new(Arc::new(btf)),
            kconfig: HashMap::new(),
            symbols: HashMap::new(),
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

//! libbpf's view of an object file: runs `oracle.c`, compiled here, and reads its answer.

pub(crate) mod compare;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;

/// The program, deleted when this is dropped.
pub(crate) struct Oracle {
    program: PathBuf,
}

/// Files that libbpf is shown instead of what the machine has.
#[derive(Clone, Copy, Default)]
pub(crate) struct Machine<'a> {
    pub(crate) btf: Option<&'a Path>,
    pub(crate) kconfig: Option<&'a Path>,
    pub(crate) kallsyms: Option<&'a Path>,
    /// Whether it does not matter if what programs attach to by its type is there.
    pub(crate) any_target: bool,
}

/// What libbpf made of an object.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) version: String,
    /// "open" or "load", if it refused.
    pub(crate) failed: Option<String>,
    pub(crate) log: String,
    pub(crate) maps: Vec<Map>,
    pub(crate) programs: Vec<Program>,
    /// In hexadecimal.
    pub(crate) btf: Option<String>,
}

impl Answer {
    /// Version of libbpf.
    pub(crate) fn version(&self) -> (u32, u32) {
        let parts = self
            .version
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        parts.expect("the oracle writes two numbers")
    }
}

/// A map as libbpf's functions describe it.
#[derive(Debug, Deserialize)]
pub(crate) struct Map {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) map_type: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) numa_node: u32,
    pub(crate) map_extra: u64,
    pub(crate) btf_key_type_id: u32,
    pub(crate) btf_value_type_id: u32,
    pub(crate) pin: Option<String>,
    pub(crate) created: Option<CreatedMap>,
}

/// A map as the kernel was asked to create it.
#[derive(Debug, Deserialize)]
pub(crate) struct CreatedMap {
    #[serde(rename = "type")]
    pub(crate) map_type: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) btf_vmlinux_value_type_id: u32,
    pub(crate) frozen: bool,
    pub(crate) inner: Option<Box<CreatedMap>>,
    pub(crate) updates: Vec<Update>,
}

/// An element that was written before anything was loaded.
#[derive(Debug, Deserialize)]
pub(crate) struct Update {
    /// In hexadecimal.
    pub(crate) key: String,
    /// In hexadecimal; none for a descriptor.
    pub(crate) value: Option<String>,
    /// The map or program that the descriptor stood for.
    pub(crate) element: Option<String>,
    /// The functions of a struct_ops.
    #[serde(default)]
    pub(crate) functions: Vec<Function>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Function {
    pub(crate) member: String,
    pub(crate) program: Option<String>,
}

/// A program as libbpf's functions describe it.
#[derive(Debug, Deserialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) section: String,
    #[serde(rename = "type")]
    pub(crate) program_type: u32,
    pub(crate) expected_attach_type: u32,
    pub(crate) autoload: bool,
    pub(crate) loaded: Option<LoadedProgram>,
}

/// A program as the kernel was asked to load it.
#[derive(Debug, Deserialize)]
pub(crate) struct LoadedProgram {
    pub(crate) license: String,
    pub(crate) flags: u32,
    /// In hexadecimal, a slot each; descriptors of maps are 0.
    pub(crate) insns: Vec<String>,
    pub(crate) maps: Vec<MapReference>,
    pub(crate) funcs: Vec<Func>,
    pub(crate) lines: Vec<Line>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct MapReference {
    pub(crate) pc: usize,
    pub(crate) map: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Func {
    pub(crate) pc: usize,
    #[serde(rename = "type")]
    pub(crate) ty: u32,
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Line {
    pub(crate) pc: usize,
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Oracle {
    /// Compiles the program. `None`, having said why, where that is not possible: without a C compiler or libbpf's header
    /// and library.
    pub(crate) fn compile() -> Option<Oracle> {
        let missing = |what: &str| {
            eprintln!("skipped: no {what} (Debian packages gcc, libbpf-dev)");
            None
        };
        let runs = |command: &mut Command| {
            let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if !runs(Command::new("cc").arg("--version")) {
            return missing("C compiler");
        }
        if !runs(Command::new("cc").args(["-E", "-include", "bpf/libbpf.h", "-x", "c", "/dev/null"])) {
            return missing("header bpf/libbpf.h");
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/oracle.c");
        // Tests of one process run side by side, and each removes its own.
        static COMPILED: AtomicU32 = AtomicU32::new(0);
        let number = COMPILED.fetch_add(1, Ordering::Relaxed);
        let name = format!("oracle-{}-{number}", std::process::id());
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let output = Command::new("cc")
            .args(["-std=gnu11", "-O1", "-Wall", "-o"])
            .args([&program, &source])
            .args(["-lbpf", "-lelf", "-lz", "-ldl"])
            .output()
            .expect("cc was just found");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {text}", source.display());
        Some(Oracle { program })
    }

    /// What libbpf makes of `object` on a machine; it is only opened, unless it is to be loaded.
    pub(crate) fn ask(&self, object: &Path, machine: Machine<'_>, load: bool) -> Answer {
        let mut command = Command::new(&self.program);
        command.arg(object);
        let options = [
            ("--btf", machine.btf),
            ("--kconfig", machine.kconfig),
            ("--kallsyms", machine.kallsyms),
        ];
        for (option, path) in options {
            if let Some(path) = path {
                command.arg(option).arg(path);
            }
        }
        if !load {
            command.arg("--open");
        }
        if machine.any_target {
            command.arg("--any-target");
        }
        let output = command.output().expect("it was just compiled");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{}: {}: {text}",
            object.display(),
            output.status
        );
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{}: {error}", object.display()))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.program);
    }
}

/// The bytes that hexadecimal text stands for.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("the oracle writes pairs of digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

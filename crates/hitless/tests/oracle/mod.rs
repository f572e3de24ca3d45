//! The running kernel's view of an object's programs: asks `oracle.c`, compiled here.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// An object that the kernel has loaded, in a process of its own.
pub struct Oracle {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What came of a program, of which the kernel says no more than 0 if it could not run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub errno: i32,
    pub result: u32,
    pub data: Vec<u8>,
    pub context: Vec<u8>,
}

impl Oracle {
    /// Loads an object. `None`, having said why, where that is not possible: without a compiler, libbpf, or the permission to
    /// use `bpf(2)`.
    pub fn load(object: &Path) -> Option<Oracle> {
        Oracle::start(object.as_os_str())
    }

    /// Loads nothing, to be asked about formats.
    pub fn empty() -> Option<Oracle> {
        let oracle = Oracle::start("-".as_ref())?;
        // Whether it may use `bpf(2)` is not said until it is needed.
        rustix::process::geteuid().is_root().then_some(oracle).or_else(|| {
            eprintln!("skipped: bpf(2) is for root");
            None
        })
    }

    fn start(object: &std::ffi::OsStr) -> Option<Oracle> {
        let program = compiled()?;
        let mut process = Command::new(program)
            .arg(object)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was compiled");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut oracle = Oracle { process, input, output };
        match oracle.answer().as_i64() {
            Some(0) => Some(oracle),
            Some(errno @ (1 | 13 | 38)) => {
                eprintln!("skipped: bpf(2) is not to be used here (errno {errno})");
                None
            }
            errno => panic!("{}: the kernel refuses it: {errno:?}", object.display()),
        }
    }

    /// Runs a program once.
    pub fn run(&mut self, program: &str, data: &[u8], context: &[u8]) -> Outcome {
        let answer = self.ask(&format!("run {program} {} {}", hex(data), hex(context)));
        outcome(&answer)
    }

    /// The value of an element.
    pub fn lookup(&mut self, map: &str, key: &[u8]) -> Option<Vec<u8>> {
        self.ask(&format!("lookup {map} {}", hex(key))).as_str().map(unhex)
    }

    /// Updates an element; returns the errno.
    pub fn update(&mut self, map: &str, key: &[u8], value: &[u8]) -> i64 {
        let answer = self.ask(&format!("update {map} {} {}", hex(key), hex(value)));
        answer.as_i64().expect("an errno")
    }

    /// The records of a ring buffer.
    pub fn drain(&mut self, map: &str) -> Vec<Vec<u8>> {
        let answer = self.ask(&format!("drain {map}"));
        let records = answer.as_array().expect("a list").iter();
        records.map(|record| unhex(record.as_str().expect("bytes"))).collect()
    }

    /// Attaches an iterator, to a map if one is given, and reads so often up to `size` bytes: errno and what was read, each time.
    /// Or the errno with which it is not attached.
    #[allow(dead_code, reason = "not each test binary has iterators")]
    pub fn iterate(
        &mut self,
        program: &str,
        map: Option<&str>,
        size: usize,
        count: usize,
    ) -> Result<Vec<(i32, Vec<u8>)>, i32> {
        let answer = self.ask(&format!("iter {program} {} {size} {count}", map.unwrap_or("-")));
        if let Some(errno) = answer.as_i64() {
            return Err(errno as i32);
        }
        let reads = answer.as_array().expect("a list").iter();
        let read = |read: &Value| {
            let errno = read[0].as_i64().expect("an errno");
            (errno as i32, unhex(read[1].as_str().expect("bytes")))
        };
        Ok(reads.map(read).collect())
    }

    /// Prints by `bpf_snprintf()`: to so many bytes, followed by eight that it must not touch. Arguments are numbers, or `@` and an
    /// offset in `target`.
    pub fn format(&mut self, text: &[u8], target: &[u8], room: usize, args: &[String]) -> Outcome {
        let answer = self.ask(&format!(
            "format {} {} {room} {}",
            hex(text),
            hex(target),
            args.join(" ")
        ));
        outcome(&answer)
    }

    fn ask(&mut self, line: &str) -> Value {
        let input = self.input.as_mut().expect("it is open");
        writeln!(input, "{line}").expect("the oracle reads");
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the oracle writes");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
    }
}

fn outcome(answer: &Value) -> Outcome {
    let bytes = |name: &str| answer[name].as_str().map(unhex).unwrap_or_default();
    let number = |name: &str| answer[name].as_i64().expect("a number");
    Outcome {
        errno: number("errno") as i32,
        result: number("result") as u32,
        data: bytes("data"),
        context: bytes("context"),
    }
}

/// The program, compiled once for each test binary. It stays in the directory for such files.
fn compiled() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(compile).as_deref()
}

fn compile() -> Option<PathBuf> {
    let quiet = |command: &mut Command| {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !quiet(Command::new("cc").args(["-E", "-include", "bpf/libbpf.h", "-x", "c", "/dev/null"])) {
        eprintln!("skipped: no C compiler or no header bpf/libbpf.h (Debian packages gcc, libbpf-dev)");
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/oracle.c");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let made = directory.join(format!("oracle-{}", std::process::id()));
    let output = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-Wall", "-o"])
        .args([&made, &source])
        .args(["-lbpf", "-lelf", "-lz"])
        .output()
        .expect("cc was just found");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", source.display());
    // Test processes run side by side: each puts its own, equal one there, as a whole.
    let program = directory.join("kernel-oracle");
    std::fs::rename(&made, &program).expect("the directory is writable");
    Some(program)
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("the oracle writes pairs of digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

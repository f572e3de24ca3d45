//! What Linux says of an object's programs: runs `linux.c`, compiled here, and reads its answers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hitless_object::{ObjectSpec, ProgramSpec, SectionKind};
use serde::Deserialize;

/// `BPF_F_SLEEPABLE`.
const F_SLEEPABLE: u32 = 1 << 4;
/// `BPF_F_XDP_HAS_FRAGS`.
const F_XDP_HAS_FRAGS: u32 = 1 << 5;

/// The program, deleted when this is dropped.
pub(crate) struct Linux {
    program: PathBuf,
}

/// What Linux says of a program.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) program: String,
    /// Why it was not loaded (errno), or 0.
    error: i32,
    /// "processed N insns", or -1.
    processed: i64,
    /// The last lines of the log.
    log: String,
    /// What libbpf complained about first.
    warning: String,
}

/// The verdict of Linux on a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    /// The last line of the log that is about the program.
    Refused(String),
    /// The verifier was not asked, or did not come to an end.
    Unknown(String),
}

impl Answer {
    pub(crate) fn processed(&self) -> Option<u64> {
        self.processed.try_into().ok()
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let about_cost = ["processed ", "verification time", "stack depth"];
        let mut lines = self.log.lines().rev();
        let message = lines.find(|line| !line.is_empty() && !about_cost.iter().any(|start| line.starts_with(start)));
        match (self.error, message) {
            (0, _) => Verdict::Accepted,
            // Lack of memory, and of what the kernel was built without.
            (libc::ENOMEM | libc::ENOSPC | libc::EPERM, _) | (_, None) => {
                let error = std::io::Error::from_raw_os_error(self.error);
                Verdict::Unknown(format!("{error}: {} {}", message.unwrap_or(""), self.warning.trim()))
            }
            (_, Some(message)) => Verdict::Refused(message.to_owned()),
        }
    }
}

impl Linux {
    /// Compiles the program. `None`, having said why, where that is not possible or the kernel loads nothing.
    pub(crate) fn compile() -> Option<Linux> {
        let missing = |what: &str| {
            eprintln!("skipped: {what}");
            None
        };
        let runs = |command: &mut Command| {
            let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if !Path::new(super::VMLINUX).exists() {
            return missing(&format!("no {}", super::VMLINUX));
        }
        if !runs(Command::new("cc").args(["-E", "-include", "bpf/libbpf.h", "-x", "c", "/dev/null"])) {
            return missing("no C compiler, or no header bpf/libbpf.h (Debian packages gcc, libbpf-dev)");
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/yardstick/linux.c");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("linux-{}", std::process::id()));
        let output = Command::new("cc")
            .args(["-std=gnu11", "-O1", "-Wall", "-o"])
            .args([&program, &source])
            .args(["-lbpf", "-lelf", "-lz"])
            .output()
            .expect("cc was just found");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {text}", source.display());
        let linux = Linux { program };
        let simple = super::bpf("flows_v1.bpf.o");
        let answers = linux.ask(&simple, &ObjectSpec::default());
        match answers.first().map(Answer::verdict) {
            Some(Verdict::Accepted) => Some(linux),
            other => missing(&format!("bpf(2) loads nothing here: {other:?}")),
        }
    }

    /// What Linux says of each program of an object, in the order in which libbpf has them; nothing if libbpf does not
    /// read the object.
    pub(crate) fn ask(&self, object: &Path, spec: &ObjectSpec) -> Vec<Answer> {
        let output = Command::new(&self.program)
            .arg(object)
            .args(spec.programs.iter().filter_map(load_as))
            .output()
            .expect("it was just compiled");
        let text = String::from_utf8_lossy(&output.stdout);
        let answer = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        text.lines().map(answer).collect()
    }
}

impl Drop for Linux {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.program);
    }
}

/// What a program is loaded as if libbpf does not know its section.
fn load_as(spec: &ProgramSpec) -> Option<String> {
    let SectionKind::Program(kind) = spec.kind() else {
        return None;
    };
    let flag = |set: bool, flag| if set { flag } else { 0 };
    let flags = flag(kind.sleepable, F_SLEEPABLE) | flag(kind.frags, F_XDP_HAS_FRAGS);
    let attach_type = kind.attach_type.map_or(0, |ty| ty.number());
    let number = kind.program_type.number();
    (!kind.attach_btf).then(|| format!("{}={number}:{attach_type}:{flags}", spec.name))
}

//! The kernel's own verifier, asked through `bpf(2)`. Programs are loaded and dropped; nothing is attached or run.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use hitless_isa::Insn;
use hitless_verifier::{MapFacts, MapKind};

const BPF_MAP_CREATE: i32 = 0;
const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_TYPE_XDP: u32 = 6;
const LDDW: u8 = 0x18;
const PSEUDO_MAP_FD: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
const PSEUDO_MAP_IDX: u8 = 5;
const PSEUDO_MAP_IDX_VALUE: u8 = 6;

/// How much the log tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// The path that failed (`BPF_LOG_LEVEL1`) and the cost (`BPF_LOG_STATS`).
    Failure = 5,
    /// Each instruction of each path (`BPF_LOG_LEVEL2`) and the cost.
    Everything = 6,
    /// The cost only (`BPF_LOG_STATS`).
    Cost = 4,
}

/// What the kernel says of a program.
#[derive(Debug)]
pub struct Outcome {
    /// Why it was refused, if it was.
    pub error: Option<io::Error>,
    /// The log.
    pub log: String,
}

impl Outcome {
    /// The number that follows `word` in the last line of the log that has it.
    pub fn figure(&self, word: &str) -> Option<u64> {
        let (_, rest) = self.log.rsplit_once(word)?;
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }

    /// "processed N insns".
    pub fn processed(&self) -> Option<u64> {
        self.figure("processed ")
    }

    /// The kernel's time for it, in microseconds.
    pub fn micros(&self) -> Option<u64> {
        self.figure("verification time ")
    }

    /// The last line of the log that is about the program.
    pub fn message(&self) -> &str {
        let about_cost = |line: &&str| {
            [
                "processed ",
                "verification time",
                "stack depth",
                "insns processed",
                "mark_precise",
                "cur state:",
                "old state:",
            ]
            .iter()
            .any(|start| line.starts_with(start))
        };
        self.log
            .lines()
            .rev()
            .find(|line| !line.is_empty() && !about_cost(line))
            .unwrap_or("")
    }
}

/// `union bpf_attr`, written field by field.
#[repr(C, align(8))]
struct Attr([u8; 152]);

impl Attr {
    fn new() -> Attr {
        Attr([0; 152])
    }

    fn u32(mut self, at: usize, value: u32) -> Attr {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn pointer<T: ?Sized>(mut self, at: usize, value: *const T) -> Attr {
        self.0[at..at + 8].copy_from_slice(&(value.cast::<u8>() as u64).to_ne_bytes());
        self
    }
}

fn bpf(command: i32, attr: &Attr) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is as long as is said. The pointers in it are to memory that the callers below keep during the call,
    // of the lengths given beside them, and only the log is written. Both commands return a new descriptor.
    unsafe {
        let result = libc::syscall(libc::SYS_bpf, command, attr as *const Attr, size_of::<Attr>());
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(result as i32))
    }
}

/// Whether programs can be loaded here, or else why not.
pub fn probe() -> Result<(), String> {
    let insns = hitless_isa::asm::assemble("r0 = 0\nexit").expect("assembles");
    match load(&insns, &[], LogLevel::Cost).map(|outcome| outcome.error) {
        Ok(None) => Ok(()),
        Ok(Some(error)) | Err(error) => Err(format!("bpf(2) loads nothing here: {error}")),
    }
}

fn make_map(facts: &MapFacts) -> io::Result<OwnedFd> {
    let kind = if facts.kind == MapKind::Hash { 1 } else { 2 };
    let attr = Attr::new()
        .u32(0, kind)
        .u32(4, facts.key_size)
        .u32(8, facts.value_size)
        .u32(12, facts.max_entries);
    bpf(BPF_MAP_CREATE, &attr)
}

/// Loads an XDP program with maps like these, which `insns` name by index.
pub fn load(insns: &[Insn], maps: &[MapFacts], level: LogLevel) -> io::Result<Outcome> {
    let maps: Vec<OwnedFd> = maps.iter().map(make_map).collect::<io::Result<_>>()?;
    let mut code = Vec::with_capacity(8 * insns.len());
    let mut wide = false;
    for insn in insns {
        let mut insn = *insn;
        if insn.code == LDDW && !wide {
            wide = true;
            let direct = match insn.src {
                PSEUDO_MAP_IDX => Some(PSEUDO_MAP_FD),
                PSEUDO_MAP_IDX_VALUE => Some(PSEUDO_MAP_VALUE),
                _ => None,
            };
            if let Some(direct) = direct {
                insn.src = direct;
                // An index that names no map stays wrong.
                insn.imm = maps.get(insn.imm as usize).map_or(-1, |map| map.as_raw_fd());
            }
        } else {
            wide = false;
        }
        code.extend(insn.to_bytes());
    }
    let mut log = vec![0u8; if level == LogLevel::Cost { 1 << 12 } else { 1 << 24 }];
    let license = c"GPL";
    let attr = Attr::new()
        .u32(0, BPF_PROG_TYPE_XDP)
        .u32(4, insns.len() as u32)
        .pointer(8, code.as_ptr())
        .pointer(16, license.as_ptr())
        .u32(24, level as u32)
        .u32(28, log.len() as u32)
        .pointer(32, log.as_mut_ptr());
    let error = bpf(BPF_PROG_LOAD, &attr).err();
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    Ok(Outcome {
        error,
        log: String::from_utf8_lossy(&log[..end]).into_owned(),
    })
}

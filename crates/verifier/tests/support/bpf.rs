//! `bpf(2)` for asking the kernel what it knows of programs and maps. Nothing is attached or run.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use hitless_isa::Insn;

const MAP_CREATE: i32 = 0;
const PROG_LOAD: i32 = 5;

/// A program's type, and what it is loaded as.
#[derive(Clone, Copy, Debug)]
pub struct LoadAs<'a> {
    pub program_type: u32,
    pub attach_type: u32,
    pub license: &'a std::ffi::CStr,
}

/// `union bpf_attr`, written field by field.
#[repr(C, align(8))]
struct Attr([u8; 152]);

impl Attr {
    fn new() -> Attr {
        Attr([0; 152])
    }

    fn number(mut self, at: usize, value: u32) -> Attr {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn pointer<T>(mut self, at: usize, value: *const T) -> Attr {
        self.0[at..at + 8].copy_from_slice(&(value as u64).to_ne_bytes());
        self
    }
}

fn call(command: i32, attr: &Attr) -> io::Result<OwnedFd> {
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

/// Makes a map. `inner` is a map of the sort that a map of maps is to hold.
pub fn make_map(
    map_type: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
    inner: u32,
) -> io::Result<OwnedFd> {
    let attr = Attr::new()
        .number(0, map_type)
        .number(4, key_size)
        .number(8, value_size)
        .number(12, entries)
        .number(16, flags)
        .number(20, inner);
    call(MAP_CREATE, &attr)
}

/// Loads a program: the log, and the error if it was refused. `level` is that of the log, 0 for none.
pub fn load(insns: &[Insn], load_as: LoadAs<'_>, level: u32) -> (String, Option<io::Error>) {
    let code: Vec<u8> = insns.iter().flat_map(|insn| insn.to_bytes()).collect();
    let mut log = vec![0u8; 1 << 16];
    let attr = Attr::new()
        .number(0, load_as.program_type)
        .number(4, insns.len() as u32)
        .pointer(8, code.as_ptr())
        .pointer(16, load_as.license.as_ptr())
        .number(68, load_as.attach_type);
    let with_log = match level {
        0 => attr,
        level => attr
            .number(24, level)
            .number(28, log.len() as u32)
            .pointer(32, log.as_mut_ptr()),
    };
    let error = call(PROG_LOAD, &with_log).err();
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    (String::from_utf8_lossy(&log[..end]).into_owned(), error)
}

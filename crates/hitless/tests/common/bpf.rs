//! `bpf(2)` of the running kernel.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `union bpf_attr`, written field by field.
#[repr(C, align(8))]
pub struct Attr([u8; 152]);

impl Attr {
    pub fn new() -> Attr {
        Attr([0; 152])
    }

    pub fn u32(mut self, at: usize, value: u32) -> Attr {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    pub fn u64(mut self, at: usize, value: u64) -> Attr {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    /// The address of bytes, which are to live until the call; null if there are none.
    pub fn bytes(self, at: usize, bytes: &[u8]) -> Attr {
        let address = if bytes.is_empty() { 0 } else { bytes.as_ptr() as u64 };
        self.u64(at, address)
    }

    pub fn fd(self, at: usize, fd: &OwnedFd) -> Attr {
        self.u32(at, fd.as_raw_fd() as u32)
    }

    pub fn get_u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }
}

/// Executes a command whose attributes name memory that is as long as they say, and lives for the call.
pub fn bpf(command: i32, attr: &mut Attr) -> io::Result<i32> {
    // SAFETY: the attributes are a whole `union bpf_attr`; the caller vouches for the memory that they name.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.0.as_mut_ptr(), attr.0.len()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as i32)
    }
}

/// Executes a command that returns a new descriptor.
pub fn bpf_fd(command: i32, attr: &mut Attr) -> io::Result<OwnedFd> {
    // SAFETY: as the caller says.
    bpf(command, attr).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `BPF_PROG_LOAD` of instructions: a program's type, and what more there is to say, among it what it is attached to.
pub fn load(program_type: u32, insns: &[hitless_isa::Insn], more: Attr) -> io::Result<OwnedFd> {
    let bytes: Vec<u8> = insns.iter().flat_map(|insn| insn.to_bytes()).collect();
    let attr = more
        .u32(0, program_type)
        .u32(4, insns.len() as u32)
        .bytes(8, &bytes)
        .u64(16, c"GPL".as_ptr() as u64);
    bpf_fd(5, &mut { attr })
}

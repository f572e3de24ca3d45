//! `bpf(2)`: loads programs and attaches none.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use hitless_isa::Insn;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;
const LOG_SIZE: usize = 1 << 18;

/// The part of `union bpf_attr` that loading a program takes.
#[repr(C)]
#[derive(Default)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// What the kernel says to a program.
pub struct Answer {
    /// The program, or an errno.
    pub result: Result<OwnedFd, i32>,
    /// The verifier's log.
    pub log: String,
}

/// Loads a socket filter.
pub fn load(insns: &[Insn], log_level: u32) -> Answer {
    let code: Vec<u8> = insns.iter().flat_map(|insn| insn.to_bytes()).collect();
    let mut log = vec![0_u8; LOG_SIZE];
    let mut attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_SOCKET_FILTER,
        insn_cnt: u32::try_from(insns.len()).unwrap(),
        insns: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level,
        log_size: u32::try_from(LOG_SIZE).unwrap(),
        log_buf: log.as_mut_ptr() as u64,
        ..LoadAttr::default()
    };
    // SAFETY: `attr` has the layout of the system call and its size, and the buffers it points to have the sizes it says and
    // outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw mut attr, size_of::<LoadAttr>()) };
    let result = match RawFd::try_from(fd) {
        // SAFETY: the descriptor is new and nobody else's.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or_default()),
    };
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let log = String::from_utf8_lossy(&log[..end]).into_owned();
    Answer { result, log }
}

/// The kernel's number for a program.
pub fn id(program: &OwnedFd) -> u32 {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd())).unwrap();
    let id = info.lines().find_map(|line| line.strip_prefix("prog_id:"));
    id.expect("programs have an id").trim().parse().unwrap()
}

/// Why there is no kernel to ask: it lets nobody load programs here, or is older than the newest instructions.
pub fn unavailable() -> Option<String> {
    let newest = hitless_isa::asm::assemble(
        "*(u64 *)(r10 -8) = 0
         r0 = load_acquire((u64 *)(r10 -8))
         may_goto pc+0
         r0 = 0
         exit",
    );
    let answer = load(&newest.unwrap(), 1);
    let errno = answer.result.err()?;
    Some(format!(
        "the kernel does not load a program with a load-acquire: {}",
        std::io::Error::from_raw_os_error(errno)
    ))
}

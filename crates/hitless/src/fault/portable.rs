//! The routines for other processors: Linux does the reading (`process_vm_readv(2)` on ourselves).

use hitless_jit::ProbeFn;
use libc::ucontext_t;

/// Load one, two, four and eight bytes at an address that may be anything, zero-extended; 0 if they cannot be read.
pub(crate) const LOADS: [ProbeFn; 4] = [load::<1>, load::<2>, load::<4>, load::<8>];

unsafe extern "C" fn load<const LEN: usize>(addr: u64) -> u64 {
    let mut bytes = [0u8; LEN];
    // SAFETY: an array of so many bytes.
    if !unsafe { copy(bytes.as_mut_ptr() as u64, addr, LEN) } {
        return 0;
    }
    let zero_extended = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    if cfg!(target_endian = "little") {
        bytes.iter().rev().fold(0, zero_extended)
    } else {
        bytes.iter().fold(0, zero_extended)
    }
}

/// Copies from an address that may be anything. False if not all bytes could be read; some may be copied then.
///
/// # Safety
/// `len` bytes at `to` are writable, and nobody accesses them other than atomically.
pub(crate) unsafe fn copy(to: u64, from: u64, len: usize) -> bool {
    let local = libc::iovec {
        iov_base: to as *mut libc::c_void,
        iov_len: len,
    };
    let remote = libc::iovec {
        iov_base: from as *mut libc::c_void,
        iov_len: len,
    };
    // SAFETY: the destination is writable by the caller's word; the kernel checks the source.
    let copied = unsafe { libc::process_vm_readv(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(copied) == Ok(len)
}

/// Nothing here faults.
pub(super) fn resume(_: &mut ucontext_t) -> bool {
    false
}

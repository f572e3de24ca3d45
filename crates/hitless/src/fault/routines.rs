//! The routines, where they are in assembly.
//!
//! Each has nothing on the stack, so that after a fault it can return from anywhere. Words are copied as other users of the
//! memory write them, eight bytes at a time.

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod assembly;

use hitless_jit::ProbeFn;
use libc::ucontext_t;

unsafe extern "C" {
    fn hitless_fault_copy(to: u64, from: u64, len: usize) -> u64;
    fn hitless_fault_load_1(addr: u64) -> u64;
    fn hitless_fault_load_2(addr: u64) -> u64;
    fn hitless_fault_load_4(addr: u64) -> u64;
    fn hitless_fault_load_8(addr: u64) -> u64;
    fn hitless_fault_nothing() -> u64;
}

/// Load one, two, four and eight bytes at an address that may be anything, zero-extended; 0 if they cannot be read.
pub(crate) const LOADS: [ProbeFn; 4] = [
    hitless_fault_load_1,
    hitless_fault_load_2,
    hitless_fault_load_4,
    hitless_fault_load_8,
];

/// Copies from an address that may be anything. False if not all bytes could be read; some may be copied then.
///
/// # Safety
/// `len` bytes at `to` are writable, and nobody accesses them other than atomically.
#[inline]
pub(crate) unsafe fn copy(to: u64, from: u64, len: usize) -> bool {
    // SAFETY: as for this function; what is read may be anywhere, if the handler is installed, which a runtime has done.
    unsafe { hitless_fault_copy(to, from, len) != 0 }
}

/// Makes an interrupted routine return that there was nothing. False if none was interrupted.
pub(super) fn resume(context: &mut ucontext_t) -> bool {
    let pc = assembly::program_counter(context);
    let first = hitless_fault_copy as unsafe extern "C" fn(u64, u64, usize) -> u64 as usize;
    let nothing = hitless_fault_nothing as unsafe extern "C" fn() -> u64 as usize;
    if !(first..nothing).contains(&(*pc as usize)) {
        return false;
    }
    *pc = nothing as _;
    true
}

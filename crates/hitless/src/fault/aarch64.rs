//! The routines for AArch64.

use std::arch::global_asm;

use hitless_jit::ProbeFn;
use libc::ucontext_t;

// Each routine has nothing on the stack, so that after a fault it can return from anywhere. Words are copied as other users of
// the memory write them, eight bytes at a time.
global_asm!(
    ".pushsection .text.hitless_fault,\"ax\",@progbits",
    ".hidden hitless_fault_copy, hitless_fault_load_1, hitless_fault_load_2, hitless_fault_load_4",
    ".hidden hitless_fault_load_8, hitless_fault_nothing",
    ".globl hitless_fault_copy, hitless_fault_load_1, hitless_fault_load_2, hitless_fault_load_4",
    ".globl hitless_fault_load_8, hitless_fault_nothing",
    ".balign 16",
    "hitless_fault_copy:",
    "    cmp x2, #8",
    "    b.lo 3f",
    "2:  ldr x3, [x1], #8",
    "    str x3, [x0], #8",
    "    sub x2, x2, #8",
    "    cmp x2, #8",
    "    b.hs 2b",
    "3:  cbz x2, 5f",
    "4:  ldrb w3, [x1], #1",
    "    strb w3, [x0], #1",
    "    subs x2, x2, #1",
    "    b.ne 4b",
    "5:  mov x0, #1",
    "    ret",
    "hitless_fault_load_1:",
    "    ldrb w0, [x0]",
    "    ret",
    "hitless_fault_load_2:",
    "    ldrh w0, [x0]",
    "    ret",
    "hitless_fault_load_4:",
    "    ldr w0, [x0]",
    "    ret",
    "hitless_fault_load_8:",
    "    ldr x0, [x0]",
    "    ret",
    "hitless_fault_nothing:",
    "    mov x0, #0",
    "    ret",
    ".popsection",
);

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
    let pc = &mut context.uc_mcontext.pc;
    let first = hitless_fault_copy as unsafe extern "C" fn(u64, u64, usize) -> u64 as usize as u64;
    let nothing = hitless_fault_nothing as unsafe extern "C" fn() -> u64 as usize as u64;
    if !(first..nothing).contains(pc) {
        return false;
    }
    *pc = nothing;
    true
}

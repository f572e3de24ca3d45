//! The routines for x86-64.

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
    "    cmp rdx, 8",
    "    jb 3f",
    "2:  mov rax, [rsi]",
    "    mov [rdi], rax",
    "    add rsi, 8",
    "    add rdi, 8",
    "    sub rdx, 8",
    "    cmp rdx, 8",
    "    jae 2b",
    "3:  test rdx, rdx",
    "    je 5f",
    "4:  mov al, [rsi]",
    "    mov [rdi], al",
    "    inc rsi",
    "    inc rdi",
    "    dec rdx",
    "    jnz 4b",
    "5:  mov eax, 1",
    "    ret",
    "hitless_fault_load_1:",
    "    movzx eax, byte ptr [rdi]",
    "    ret",
    "hitless_fault_load_2:",
    "    movzx eax, word ptr [rdi]",
    "    ret",
    "hitless_fault_load_4:",
    "    mov eax, dword ptr [rdi]",
    "    ret",
    "hitless_fault_load_8:",
    "    mov rax, qword ptr [rdi]",
    "    ret",
    "hitless_fault_nothing:",
    "    xor eax, eax",
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
    let pc = &mut context.uc_mcontext.gregs[libc::REG_RIP as usize];
    let address = |function: unsafe extern "C" fn() -> u64| function as usize as i64;
    let first = hitless_fault_copy as unsafe extern "C" fn(u64, u64, usize) -> u64 as usize as i64;
    let nothing = address(hitless_fault_nothing);
    if !(first..nothing).contains(pc) {
        return false;
    }
    *pc = nothing;
    true
}

//! The routines in assembly for x86-64.

use std::arch::global_asm;

use libc::ucontext_t;

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

/// Where the interrupted code was, to be changed to where it goes on.
pub(super) fn program_counter(context: &mut ucontext_t) -> &mut i64 {
    &mut context.uc_mcontext.gregs[libc::REG_RIP as usize]
}

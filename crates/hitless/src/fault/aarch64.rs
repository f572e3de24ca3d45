//! The routines in assembly for AArch64.

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

/// Where the interrupted code was, to be changed to where it goes on.
pub(super) fn program_counter(context: &mut ucontext_t) -> &mut u64 {
    &mut context.uc_mcontext.pc
}

//! Contexts that differ in size from invocation to invocation: records of tracepoints, and what a `syscall` program is passed.

use std::ops::ControlFlow;

use hitless_verifier::ProgramKind;

use super::Context;

/// Hooks of tracepoints, with records: the 8 bytes that each begins with, which programs do not see, and what follows.
#[derive(Clone, Copy, Debug)]
#[doc(alias = "BPF_PROG_TYPE_TRACEPOINT")]
pub enum Tracepoint {}

/// Hooks of programs that are run by a call, with any bytes. The verdict is what the last of them returned.
#[derive(Clone, Copy, Debug)]
#[doc(alias = "BPF_PROG_TYPE_SYSCALL")]
pub enum Syscall {}

// SAFETY: the frame is as programs see it, and names no memory; how much of it a program may access is compared with its size
// before it runs.
unsafe impl Context for Tracepoint {
    type Input<'a> = &'a mut [u8];
    type Frame = [u8];
    type Verdict = ();

    const KINDS: &'static [ProgramKind] = &[ProgramKind::Tracepoint];
    const SECTION: &'static str = "tracepoint";
    const VARIABLE: bool = true;

    #[inline]
    unsafe fn with_frame<R>(record: &mut &mut [u8], run: impl FnOnce(&mut [u8]) -> R) -> R {
        run(record)
    }

    fn initial() {}

    fn combine(_: &mut (), _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

// SAFETY: as above.
unsafe impl Context for Syscall {
    type Input<'a> = &'a mut [u8];
    type Frame = [u8];
    type Verdict = u32;

    const KINDS: &'static [ProgramKind] = &[ProgramKind::Syscall];
    const SECTION: &'static str = "syscall";
    const VARIABLE: bool = true;

    #[inline]
    unsafe fn with_frame<R>(arguments: &mut &mut [u8], run: impl FnOnce(&mut [u8]) -> R) -> R {
        run(arguments)
    }

    fn initial() -> u32 {
        0
    }

    fn combine(verdict: &mut u32, result: u64) -> ControlFlow<()> {
        *verdict = result as u32;
        ControlFlow::Continue(())
    }
}

//! Contexts of tracing: registers, arguments, records, and what a `syscall` program is passed.
//!
//! The runtime has them as programs see them, so frames are the inputs.

use std::ops::ControlFlow;

use hitless_verifier::ProgramKind;

use super::Context;

/// `struct pt_regs` of x86-64, in the order of the kernel's.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[doc(alias = "pt_regs")]
#[repr(C)]
#[expect(missing_docs, reason = "registers by their names")]
pub struct Registers {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl Registers {
    /// At the entry of a function with these arguments, of which the first six are passed in registers (`PT_REGS_PARM1` and
    /// so on).
    #[must_use]
    pub fn entry(arguments: [u64; 6]) -> Registers {
        let [rdi, rsi, rdx, rcx, r8, r9] = arguments;
        Registers {
            rdi,
            rsi,
            rdx,
            rcx,
            r8,
            r9,
            ..Registers::default()
        }
    }

    /// At the return of a function (`PT_REGS_RC`).
    #[must_use]
    pub fn exit(result: u64) -> Registers {
        Registers {
            rax: result,
            ..Registers::default()
        }
    }
}

/// `struct bpf_perf_event_data`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[doc(alias = "bpf_perf_event_data")]
#[repr(C)]
pub struct PerfSample {
    /// The registers when it was taken.
    pub regs: Registers,
    /// Events for each sample.
    pub sample_period: u64,
    /// The address that the event is about.
    pub addr: u64,
}

/// The most arguments of tracepoints and functions.
pub const MAX_ARGUMENTS: usize = 12;

/// Arguments of a raw tracepoint or of a function, 8 bytes each; behind those of a function comes its result.
pub type Arguments = [u64; MAX_ARGUMENTS];

/// Lists contexts whose frames are their inputs: name, kinds of programs, section, input, frame, verdict and how results come
/// together.
macro_rules! contexts {
    ($($(#[$doc:meta])* $name:ident: [$($kind:ident),+], $section:literal, $input:ty, $frame:ty, $verdict:ty, $initial:expr, $combine:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        // SAFETY: the frame has the layout of the tables (tested below), and names no memory.
        unsafe impl Context for $name {
            type Input<'a> = $input;
            type Frame = $frame;
            type Verdict = $verdict;

            const KINDS: &'static [ProgramKind] = &[$(ProgramKind::$kind),+];
            const SECTION: &'static str = $section;

            #[inline]
            unsafe fn with_frame<R>(input: &mut $input, run: impl FnOnce(&mut $frame) -> R) -> R {
                run(input)
            }

            fn initial() -> $verdict {
                $initial
            }

            fn combine(verdict: &mut $verdict, result: u64) -> ControlFlow<()> {
                let combine: fn(&mut $verdict, u64) -> ControlFlow<()> = $combine;
                combine(verdict, result)
            }
        }
    )*};
}

/// What the programs observe goes on whatever they return.
fn ignore(_: &mut (), _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The first that is not 0 decides.
fn first(verdict: &mut i32, result: u64) -> ControlFlow<()> {
    *verdict = result as i32;
    if *verdict == 0 {
        ControlFlow::Continue(())
    } else {
        ControlFlow::Break(())
    }
}

contexts! {
    /// Hooks at the entry of functions, with registers.
    Kprobe: [Kprobe, KprobeSession], "kprobe", Registers, Registers, (), (), ignore;
    /// Hooks at the return of functions, with registers.
    Kretprobe: [Kprobe, KprobeSession], "kretprobe", Registers, Registers, (), (), ignore;
    /// Hooks of perf events. The verdict is whether the sample is kept: all programs return something.
    PerfEvent: [PerfEvent], "perf_event", PerfSample, PerfSample, bool, true, |kept, result| {
        *kept &= result as u32 != 0;
        ControlFlow::Continue(())
    };
    /// Hooks of raw tracepoints, with arguments.
    RawTracepoint: [RawTracepoint], "raw_tp", Arguments, Arguments, (), (), ignore;
    /// Hooks at the entry of functions, with arguments.
    Fentry: [Fentry], "fentry", Arguments, Arguments, (), (), ignore;
    /// Hooks at the return of functions, with arguments and the result.
    Fexit: [Fexit], "fexit", Arguments, Arguments, (), (), ignore;
    /// Hooks of functions whose result programs may decide, with arguments and a result of 0. The first that returns another
    /// one decides, and the function is not to be called.
    FmodRet: [FmodRet], "fmod_ret", Arguments, Arguments, i32, 0, first;
    /// Hooks of tracepoints with typed arguments.
    TpBtf: [TpBtf], "tp_btf", Arguments, Arguments, (), (), ignore;
    /// Security hooks of the host. The first error, a negated errno, decides.
    Lsm: [Lsm], "lsm", Arguments, Arguments, i32, 0, first;
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;
    use hitless_verifier::tables::program_types::context;

    #[test]
    fn frames_match_their_tables() {
        for (kind, size) in [
            (ProgramKind::Kprobe, size_of::<Registers>()),
            (ProgramKind::PerfEvent, size_of::<PerfSample>()),
            (ProgramKind::RawTracepoint, size_of::<Arguments>()),
        ] {
            let table = context(kind).unwrap();
            assert_eq!(table.size as usize, size);
            assert!(table.fields.iter().all(|field| field.host_off == field.off));
        }
        assert_eq!(std::mem::offset_of!(Registers, rdi), 112);
        assert_eq!(std::mem::offset_of!(PerfSample, sample_period), 168);
    }

    #[test]
    fn the_first_error_decides() {
        let mut verdict = Lsm::initial();
        assert!(Lsm::combine(&mut verdict, 0).is_continue());
        assert!(Lsm::combine(&mut verdict, (-13i64).cast_unsigned()).is_break());
        assert_eq!(verdict, -13);
    }
}

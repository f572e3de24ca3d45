//! Execution engines for verified eBPF programs.
//!
//! [`lower`] turns a [`Verified`](hitless_verifier::Verified) program into an [`Image`]: instructions decoded, context
//! accesses converted to the runtime's layout, map references resolved, and, in the traced [`Variant`], the calls of map
//! tracing inserted. An [`Engine`] makes [`Code`] of an image. The runtime knows these two traits and no engine by name;
//! what engines know of the runtime are an environment ([`Env`]) and addresses of functions ([`Resolve`]).
//!
//! There are two. [`native::Compiler`] makes native code, which checks nothing. The checked [`interp::Interpreter`] tests
//! every memory access against what the verifier promised, and so is the oracle for the other.

mod callee;
mod image;
pub mod interp;
mod lower;
pub mod native;
mod runtime;

pub use callee::{Arg, CallSite, Callee, DispatchFn, Elements, HashTable, HelperFn, Inline, Resolve};
pub use image::{Frame, HostField, Image, LowerError, LowerInput, MapAddresses, Op, Replaced, Variant};
pub use lower::lower;
pub use runtime::{Entry, Env, ProbeFn, Services, Vm, defect};

use std::sync::Arc;

/// How often `may_goto` falls through in one run before it jumps (the kernel's `BPF_MAX_LOOPS`).
const MAX_LOOPS: u32 = 8 << 20;

/// Makes executable code of images.
pub trait Engine: Send + Sync {
    /// Compiles one variant of a program.
    ///
    /// # Errors
    /// [`CompileError`] if the engine cannot translate the image.
    fn compile(&self, image: Arc<Image>) -> Result<Box<dyn Code>, CompileError>;
}

/// An engine's refusal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{engine} cannot compile the program: {reason}")]
pub struct CompileError {
    /// The engine.
    pub engine: &'static str,
    /// What it could not translate.
    pub reason: String,
}

/// Executable code of one variant of a program. Any number of threads may run it at once.
pub trait Code: Send + Sync {
    /// How the program is begun, as long as this lives.
    fn entry(&self) -> Entry;

    /// The subprogram that a value stands for which the program has given to a helper as a function to call back.
    fn function(&self, func: u64) -> Option<Function>;

    /// Runs one of the subprograms that the program gives to helpers, by itself, as a run of its own.
    ///
    /// # Safety
    /// As for [`Entry::run`], with the arguments that the verifier expects in place of the context.
    unsafe fn run_function(&self, vm: *mut Vm, function: Function, args: [u64; 5]) -> u64;
}

/// A subprogram that helpers call back: the same in both variants of a program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Function(pub(crate) u32);

/// Something that verified code cannot do: the check that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trap {
    /// An access outside of what the verifier promised.
    #[error("insn {pc}: {len} bytes at {addr:#x} are outside of {regions}")]
    OutOfRegion {
        /// Slot of the instruction in the verified program.
        pc: usize,
        /// The address.
        addr: u64,
        /// How many bytes.
        len: usize,
        /// The regions promised. Shared, so that trapping does not allocate.
        regions: Arc<str>,
    },
    /// An atomic operation on an address that is not a multiple of its size.
    #[error("insn {pc}: misaligned atomic access of {len} bytes at {addr:#x}")]
    Misaligned {
        /// Slot of the instruction.
        pc: usize,
        /// The address.
        addr: u64,
        /// How many bytes.
        len: usize,
    },
    /// An instruction that the verifier found unreachable.
    #[error("insn {pc}: reached although proved unreachable")]
    Unreachable {
        /// Slot of the instruction.
        pc: usize,
    },
    /// More than eight frames.
    #[error("insn {pc}: the call stack is deeper than 8 frames")]
    CallDepth {
        /// Slot of the call.
        pc: usize,
    },
    /// More instructions than a run may take.
    #[error("the run took more than {limit} instructions")]
    Budget {
        /// The limit.
        limit: u64,
    },
}

//! Execution engines for verified eBPF programs.
//!
//! [`lower`] turns a [`Verified`](hitless_verifier::Verified) program into an [`Image`]: instructions decoded, context
//! accesses converted to the runtime's layout, map references resolved, and, in the traced [`Variant`], the calls of map
//! tracing inserted. An [`Engine`] makes [`Code`] of an image. The runtime knows these two traits and no engine by name.
//!
//! There are two. [`native::Compiler`] makes native code, which checks nothing. The checked [`interp::Interpreter`] tests
//! every memory access against what the verifier promised, and so is the oracle for the other.

mod image;
pub mod interp;
mod lower;
pub mod native;

pub use image::{Frame, HostField, Image, LowerError, LowerInput, MapAddresses, Op, Variant};
pub use lower::lower;

use std::sync::Arc;

use hitless_verifier::Region;

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
    /// Runs the program on the context at `ctx` and returns `r0`.
    ///
    /// Never allocates and takes no lock of its own, so that it may run in a signal handler.
    ///
    /// # Errors
    /// [`Trap`] if something happens that the verifier excluded: always a defect of hitless. An engine that does not
    /// check never returns one.
    ///
    /// # Safety
    /// - `ctx` points to a context of the layout that the image was lowered for (its `host_off` and `host_len()`),
    ///   `ctx_len` bytes long, and stays valid and unaliased for the call, as does the memory that its pointer fields name.
    /// - What `env` [contains](Env::contains) is memory that stays valid for the call, that other threads touch with atomic
    ///   operations only, and whose provenance is exposed.
    unsafe fn run(&self, ctx: *mut u8, ctx_len: usize, env: &mut dyn Env) -> Result<u64, Trap>;
}

/// What the runtime offers to code while it runs.
pub trait Env {
    /// Calls a BPF helper by number.
    ///
    /// # Errors
    /// [`Trap`] if the helper does not exist or its arguments are not what the verifier promised.
    fn helper(&mut self, id: u32, args: [u64; 5]) -> Result<u64, Trap>;

    /// Whether `len` bytes at `addr` lie wholly inside one object of the region (one map value, the packet, the memory
    /// behind a context field). Asked for every region but the stack and the context, which the engine knows.
    fn contains(&self, region: Region, addr: u64, len: usize, write: bool) -> bool;

    /// `bpf_map_trace_update_elem()`: runs the tracers for the update helper that the traced variant has just called.
    fn trace_update(&mut self);

    /// `bpf_map_trace_delete_elem()`: likewise for a delete helper.
    fn trace_delete(&mut self);

    /// `bpf_map_trace_register_pointer()`: the program is about to write at `addr`, which lies in a map value.
    fn register_pointer(&mut self, addr: u64);

    /// `bpf_map_trace_pointer_update()`: the program is about to exit; runs the tracers for every registered element.
    fn flush_pointers(&mut self);
}

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
    /// A helper that the runtime does not have, or arguments that it cannot take.
    #[error("insn {pc}: helper {id}: {reason}")]
    Helper {
        /// Slot of the call.
        pc: usize,
        /// The helper's number.
        id: u32,
        /// What was wrong.
        reason: &'static str,
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

//! An eBPF subsystem in user space whose stateful programs are replaced while they run.
//!
//! A [`Runtime`] loads the objects that clang makes ([`Runtime::load`]), verifies their programs as the Linux kernel does, and
//! runs them at [`Hook`]s of this process. [`Runtime::trace_map`] attaches programs to the changes of a map. An
//! [`upgrade::Upgrade`] replaces a running object by a new one whose maps may have another layout: while programs keep
//! running, every change is mirrored into the new maps, and no update is lost, resurrected or counted twice.

// What the derives make names everything from `::hitless`, in this crate, too.
extern crate self as hitless;

mod btf_type;
pub mod context;
mod env;
mod facts;
mod fault;
mod func;
mod gate;
mod header;
mod helpers;
mod hook;
mod link;
mod load;
mod load_maps;
mod load_options;
mod lock;
mod map;
pub mod maps;
#[cfg(hitless_model)]
pub mod model;
mod object;
mod primitive;
mod program;
mod program_type;
mod region;
mod resolve;
mod run;
mod runtime;
mod scratch;
mod spin;
mod sys;
mod trace;
mod trace_pipe;
mod types;
pub mod upgrade;
mod verdict;

pub use btf_type::{BtfType, LayoutMismatch, Value, btf_of};
pub use context::{Packet, Xdp, XdpAction};
pub use header::{c_header, hooks_of};
pub use hook::{Hook, RunError};
pub use link::{AttachError, Link};
pub use load::{Collection, LoadError};
pub use load_options::{KERNEL_VERSION, LoadOptions};
pub use map::{
    BatchCursor, BatchError, Entries, Entry, Map, MapCreateError, MapDef, MapError, MapFlags, MapHandle, PerfBuffer,
    PerfRecord, UpdateFlags, WaitError, WaitEvent,
};
pub use object::{NotInObject, Object, OpenError};
pub use program::{BuildError, Program};
pub use program_type::ProgramType;
pub use run::{Forked, SyncError};
pub use runtime::{Engine, Options, Runtime};
pub use trace::{MAX_TRACERS, TraceEvent};
pub use trace_pipe::{TracePipe, TraceText};
pub use verdict::{Verdict, VerifyError, VerifyOptions, verify};

pub use hitless_btf as btf;
pub use hitless_derive::{BtfType, Ctx, Value};
pub use hitless_object::{ObjectError, ObjectSpec, Pinning};
pub use hitless_verifier::{LogLevel, MapKind, ProgramKind};

/// What the derives refer to; not to be used otherwise.
#[doc(hidden)]
pub mod private {
    pub use bytemuck;

    /// Compiles for plain data only.
    pub const fn plain<T: bytemuck::Pod>() {}

    /// Compiles for what programs may write.
    pub const fn writable<T: crate::context::Writable>() {}
}

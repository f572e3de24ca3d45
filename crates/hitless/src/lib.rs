//! An eBPF subsystem in user space whose stateful programs are replaced while they run.
//!
//! An [`Object`], made by clang, is loaded into a [`Runtime`]: its programs are verified as the Linux kernel does, compiled,
//! and run at [`Hook`]s of this process.
//!
//! - A hook of your own passes programs a Rust struct, `#[derive(Ctx)]` ([`context`]); [`Runtime::header`] writes it as
//!   a C header. Programs that were written for Linux run at hooks that have their contexts ([`Xdp`] and others).
//! - Their maps are used with Rust types ([`maps`]), or as bytes ([`Map`]).
//! - An [`upgrade`] replaces a running object by a new one whose maps may have another layout: while programs keep
//!   running, every change is mirrored into the new maps, and no update is lost, resurrected or counted twice.
//! - [`Runtime::trace_map`] attaches programs to the changes of a map.
//!
//! `docs/embedding.md` in the repository is a guide that begins with an empty directory.
//!
//! # Examples
//! A server asks a plugin what to do with a request. The plugin's function begins
//! `SEC("hook/request") int filter(struct request *ctx)`.
//!
//! ```
//! use hitless::context::Bytes;
//! use hitless::{Ctx, Object, Runtime};
//!
//! #[derive(Ctx)]
//! #[repr(C)]
//! struct Request<'a> {
//!     client: u32,
//!     trusted: u32,
//!     now_ns: u64,
//!     path: Bytes<'a>,
//! }
//!
//! # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
//! let runtime = Runtime::default();
//! let hook = runtime.hook::<Request>("request");
//! let plugin = Object::open("bpf/filter_v1.bpf.o")?.set_global("limit", 10u32)?.load(&runtime)?;
//! let _link = runtime.attach(&hook, plugin.program("filter").unwrap())?;
//!
//! let mut request = Request { client: 7, trusted: 0, now_ns: 0, path: Bytes::new(b"/admin/users") };
//! assert_eq!(hook.run(&mut request)?, 403);
//! assert_eq!(plugin.global::<u64>("denied")?.get()?, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Threads, signals, processes
//! Everything may be shared between threads, and a program runs on the thread that runs its hook. Hooks may be run and
//! maps used from signal handlers: what would have to wait for the interrupted code fails as busy instead. In a forked child
//! hooks and maps are inert ([`Forked`]). Runtimes of one process have nothing in common.

// What the derives make names everything from `::hitless`, in this crate, too.
extern crate self as hitless;

mod attach;
mod btf_type;
mod by_number;
mod chain;
mod changes;
pub mod context;
mod env;
mod execution;
mod extension;
mod facts;
mod fault;
mod func;
mod gate;
mod header;
mod helpers;
mod hook;
mod iter;
mod lease;
mod link;
mod load;
mod load_maps;
mod load_options;
mod load_program;
mod lock;
mod map;
pub mod maps;
mod memory;
#[cfg(hitless_model)]
pub mod model;
mod object;
mod objects;
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
mod test_functions;
mod test_run;
mod timer;
mod trace;
mod trace_pipe;
mod types;
pub mod upgrade;
mod verdict;
mod version;

pub use attach::{AttachOptions, HookPrograms};
pub use btf_type::{BtfType, LayoutMismatch, Value, btf_of};
pub use by_number::HookName;
pub use chain::{AttachMode, Beside, MAX_PROGRAMS, Place};
pub use changes::{Change, Changes, ChangesError};
pub use context::{Packet, Xdp, XdpAction};
pub use execution::ProgramStats;
pub use extension::ExtensionError;
pub use facts::is_gpl_compatible;
pub use fault::access;
pub use header::{c_header, hooks_of};
pub use hook::{Hook, RunError};
pub use iter::{Iter, IterError};
pub use link::{AttachError, Link, LinkInfo, LinkTarget};
pub use load::{Collection, LoadError};
pub use load_options::{KERNEL_VERSION, LoadOptions};
pub use map::{
    Audit, BatchCursor, BatchError, Entries, Entry, Finding, FindingKind, Map, MapCreateError, MapDef, MapError,
    MapFlags, MapHandle, MapOpenError, MapOpenReason, MapTypes, OpenedMap, PerfBuffer, PerfRecord, RingFiles,
    UpdateFlags, WaitError, WaitEvent, check_map, repair_map,
};
pub use memory::MemoryLimit;
pub use object::{NotInObject, Object, OpenError};
pub use program::{BuildError, Program};
pub use program_type::ProgramType;
pub use run::{Forked, SyncError};
pub use runtime::{Engine, Options, Runtime, StatsEnabled};
pub use test_run::{TestResult, TestRun, TestRunError};
pub use trace::{MAX_TRACERS, TraceEvent};
pub use trace_pipe::{TracePipe, TraceText};
pub use verdict::{Verdict, VerifyError, VerifyOptions, verify};

pub use hitless_btf as btf;
pub use hitless_derive::{BtfType, Ctx, Value};
pub use hitless_jit::native::Symbols;
pub use hitless_object::{ObjectError, ObjectSpec, Pinning};
pub use hitless_verifier::{Log, LogLevel, MapKind, ProgramKind};

/// What the derives refer to; not to be used otherwise.
#[doc(hidden)]
pub mod private {
    pub use bytemuck;

    /// Compiles for plain data only.
    pub const fn plain<T: bytemuck::Pod>() {}

    /// Compiles for what programs may write.
    pub const fn writable<T: crate::context::Writable>() {}
}

//! Contexts: what hooks pass to programs.
//!
//! A hook has the type of its context, [`Context`]: what the host hands to [`Hook::run`](crate::Hook::run) for each
//! invocation, what programs get of it, and what comes of their results. There are two sorts:
//!
//! - Those of Linux ([`Xdp`] and its neighbours). Programs see the kernel's struct, the runtime keeps the fields in one of its own,
//!   as the tables of the verifier say (`host_off`); accesses are converted when a program is lowered.
//! - Those that a host defines: a `#[repr(C)]` struct with a description in BTF. Programs see it as it is, under the section
//!   `hook/NAME`, and nothing is converted. `host.rs` makes of the description what the verifier is told.

mod buffer;
mod clones;
mod frame;
mod host;
mod redirect;
mod skb;
mod tracing;
mod variable;
mod verdict;
mod xdp;

pub use buffer::PacketBuf;
pub use clones::CloneRedirect;
pub use host::{Bytes, BytesMut};
pub use redirect::Redirect;
pub use skb::{CgroupEgress, CgroupIngress, CgroupVerdict, SkBuff, SkbFields, SkbFrame, SocketFilter, Tc, TcAction};
pub use tracing::{
    Arguments, Fentry, Fexit, FmodRet, Kprobe, Kretprobe, Lsm, MAX_ARGUMENTS, PerfEvent, PerfSample, RawTracepoint,
    Registers, TpBtf,
};
pub use variable::{Syscall, Tracepoint};
pub use verdict::Verdict;
pub use xdp::{Packet, Xdp, XdpAction};

pub(crate) use buffer::PacketBounds;
pub(crate) use frame::PacketFrame;
pub(crate) use host::{Describe, Writable, facts, facts_of};

use std::ops::ControlFlow;

use hitless_btf::{Builder, TypeId};
use hitless_verifier::ProgramKind;

/// What a hook passes to programs, and what their results mean.
///
/// Implemented by the runtime for the contexts of Linux, and by a host for its own: `#[derive(Ctx)]` does that.
///
/// ```
/// use hitless::Ctx;
/// use hitless::context::Bytes;
///
/// /// Plugins see `struct request { u32 method; u32 status; struct hitless_bytes path; }`.
/// #[derive(Ctx)]
/// #[repr(C)]
/// struct Request<'a> {
///     method: u32,
///     #[hitless(writable)]
///     status: u32,
///     path: Bytes<'a>,
/// }
///
/// let runtime = hitless::Runtime::default();
/// let hook = runtime.hook::<Request>("request"); // SEC("hook/request") int filter(struct request *ctx)
/// let mut request = Request { method: 1, status: 200, path: Bytes::new(b"/index.html") };
/// assert_eq!(hook.run(&mut request), Ok(0));
/// ```
///
/// The struct is `#[repr(C)]` and has named fields of integers, `bool`, arrays and structs of those (with
/// `#[derive(BtfType)]`), and at most one [`Bytes`] or [`BytesMut`]. On a field, `#[hitless(writable)]` lets programs write
/// it, and `#[hitless(name = "...")]` is its name in C; on the struct, `#[hitless(name = "...")]` is the struct's name in
/// C, `#[hitless(verdict = Type)]` what the results of the programs come to ([`Verdict`]; by default an `i32`, which is what the
/// first program returned that did not return 0, or else 0).
///
/// What it derives, written out for a struct that borrows nothing:
///
/// ```
/// use std::ops::ControlFlow;
/// use hitless::btf::{Builder, TypeId};
/// use hitless::BtfType;
/// use hitless::context::Context;
///
/// #[derive(BtfType)]
/// #[repr(C)]
/// struct Request {
///     method: u32,
///     status: u32,
///     path: [u8; 64],
/// }
///
/// // SAFETY: the frame is the struct that `describe` describes, and any number is a status.
/// unsafe impl Context for Request {
///     type Input<'a> = Request;
///     type Frame = Request;
///     type Verdict = u64;
///     const WRITABLE: &'static [&'static str] = &["status"];
///
///     fn describe(types: &mut Builder) -> Option<TypeId> {
///         Some(<Request as BtfType>::describe(types))
///     }
///
///     unsafe fn with_frame<R>(request: &mut Request, run: impl FnOnce(&mut Request) -> R) -> R {
///         run(request)
///     }
///
///     fn initial() -> u64 {
///         0
///     }
///
///     /// The first program that returns something decides.
///     fn combine(verdict: &mut u64, result: u64) -> ControlFlow<()> {
///         *verdict = result;
///         if result == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
///     }
/// }
///
/// let runtime = hitless::Runtime::default();
/// let hook = runtime.hook::<Request>("request");
/// let mut request = Request { method: 1, status: 200, path: [0; 64] };
/// assert_eq!(hook.run(&mut request), Ok(0));
/// ```
///
/// # Safety
/// - [`with_frame`](Context::with_frame) calls its argument with a frame of the layout that [`describe`](Context::describe)
///   describes or, if it describes none, that the verifier's table has for each of [`KINDS`](Context::KINDS). All that is
///   described is initialised.
/// - Whatever a program may write ([`WRITABLE`](Context::WRITABLE)) may hold any bytes.
/// - Memory that pointers in the frame name (packets, [`Bytes`]) is valid for reads and writes, and nobody else's, until the
///   call returns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no context of a hook",
    note = "derive it on a `#[repr(C)]` struct: `#[derive(hitless::Ctx)]`; in signatures its lifetime is `'static`"
)]
pub unsafe trait Context: 'static {
    /// What the host passes for one invocation. For a context of the host's own the struct itself, with its lifetime if it has one.
    type Input<'a>;

    /// What programs get the address of. Its size is that of the context: a slice where invocations differ in that.
    type Frame: ?Sized;

    /// What the results of the programs come to.
    type Verdict;

    /// The kinds of programs that such a hook takes.
    const KINDS: &'static [ProgramKind] = &[ProgramKind::Hook];

    /// What the sections of such programs begin with: `SECTION/NAME` is what runs at the hook `NAME`.
    const SECTION: &'static str = "hook";

    /// Whether invocations differ in the size of the frame. A program that accesses more than there is does not run then.
    const VARIABLE: bool = false;

    /// Members of the host's own context that programs may write, with all that they consist of; of [`BytesMut`], what it points to.
    const WRITABLE: &'static [&'static str] = &[];

    /// Describes the host's own context: a struct of integers, arrays and structs of them, `bool`s, and [`Bytes`]. None for
    /// contexts of Linux.
    fn describe(types: &mut Builder) -> Option<TypeId> {
        let _ = types;
        None
    }

    /// Makes the frame of an input, calls `run` with it, and brings what programs changed back.
    ///
    /// # Safety
    /// `run` keeps nothing of the frame: it may hold borrows of the input that end before the lifetimes in its type do.
    unsafe fn with_frame<R>(input: &mut Self::Input<'_>, run: impl FnOnce(&mut Self::Frame) -> R) -> R;

    /// The verdict of a hook without programs.
    fn initial() -> Self::Verdict;

    /// Adds the result of one more program to the verdict. Breaks if the programs behind it are not to run.
    fn combine(verdict: &mut Self::Verdict, result: u64) -> ControlFlow<()>;
}

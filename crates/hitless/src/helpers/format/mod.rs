//! Printing by the kernel's formats: what `bpf_trace_printk()`, `bpf_trace_vprintk()`, `bpf_snprintf()` and
//! `bpf_seq_printf()` have in common.
//!
//! The kernel prints in two steps, and programs can tell. First it goes through the format and *stages* each argument in a
//! buffer of 512 bytes (`staging.rs`): numbers as they are, strings and addresses of networks copied from where they point,
//! so that a long string leaves less room for those behind it, and an argument for which there is none fails with `-ENOSPC`.
//! Then it prints by the format and the staged bytes (`render.rs`), which cannot fail, only be cut off. Both steps here keep
//! the kernel's layout of the buffer, since a text that is cut off may be followed by what was staged for others.
//!
//! `bpf_snprintf_btf()` and `bpf_seq_printf_btf()` print by types instead (`typed.rs`).
//!
//! Everything lies on the stack of the caller, so that a signal handler may print while the code that it interrupts does.

mod number;
mod output;
mod render;
mod staging;
mod typed;

pub(super) use output::Output;
pub(super) use render::Hide;
pub(super) use staging::Staged;
pub(super) use typed::{FLAGS as TYPED_FLAGS, Typed};

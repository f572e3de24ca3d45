//! Types as text: one line for each as [`raw`], or C declarations that compile as [`c`].

mod c;
mod decl;
mod fit;
mod names;
mod order;
mod raw;

pub use c::{DumpError, c, c_guarded, c_of};
pub use raw::{Raw, raw};

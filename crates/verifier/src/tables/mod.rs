//! What Linux knows of programs, as data: map types, helpers, kfuncs, program types. The runtime hands parts of it to the
//! verifier.

pub mod helpers;
pub mod kfuncs;
pub mod map_trace;
pub mod map_types;
pub mod program_types;
pub(crate) mod sockets;

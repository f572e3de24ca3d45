//! Hooks and BPF helpers as data: what the runtime hands to the verifier.

pub mod helpers;
pub mod program_types;

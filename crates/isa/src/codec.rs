//! Slots to instructions and back.
//!
//! Decoding is strict: a field that an opcode does not use must be zero, as the kernel demands, so that it can get a
//! meaning later. Hence encoding a decoded instruction gives the same slots again.

mod decode;
mod encode;

pub use decode::decode;
pub use encode::encode;

/// Kinds in the `src` field, of wide immediates and then of calls.
mod pseudo {
    pub(super) const VALUE: u8 = 0;
    pub(super) const MAP_FD: u8 = 1;
    pub(super) const MAP_VALUE: u8 = 2;
    pub(super) const BTF_ID: u8 = 3;
    pub(super) const FUNC: u8 = 4;
    pub(super) const MAP_IDX: u8 = 5;
    pub(super) const MAP_IDX_VALUE: u8 = 6;

    pub(super) const CALL_HELPER: u8 = 0;
    pub(super) const CALL_SUBPROG: u8 = 1;
    pub(super) const CALL_KFUNC: u8 = 2;
}

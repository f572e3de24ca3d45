//! What compiled code calls: functions of the runtime, by address.
//!
//! Compiled code trusts its arguments to be what the verifier proved. Where the runtime finds that they are not, nothing
//! can be trusted any more, and the process ends with a message.

use crate::{DispatchFn, HelperFn, Services, Trap, defect};

/// A function to be called: its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct EntryPoint {
    pub(super) address: usize,
    /// How many 64-bit arguments it is given, the environment included.
    pub(super) args: usize,
    /// Whether it returns a 64-bit value.
    pub(super) returns: bool,
}

const fn entry(address: usize, args: usize, returns: bool) -> EntryPoint {
    EntryPoint { address, args, returns }
}

/// A BPF helper, of whose arguments only the first ones matter: `(env, r1, ...)`.
pub(super) fn helper(function: HelperFn, args: usize) -> EntryPoint {
    entry(function as usize, args, true)
}

/// Calls a helper by number: `(env, id, r1, r2, r3, r4, r5)`.
pub(super) fn dispatch(function: DispatchFn) -> EntryPoint {
    entry(function as usize, 7, true)
}

/// Runs the tracers of an update: `(env)`.
pub(super) fn trace_update(services: &Services) -> EntryPoint {
    entry(services.trace_update as usize, 1, false)
}

/// Runs the tracers of a delete: `(env)`.
pub(super) fn trace_delete(services: &Services) -> EntryPoint {
    entry(services.trace_delete as usize, 1, false)
}

/// Notes a write to a map value: `(env, address)`.
pub(super) fn register_pointer(services: &Services) -> EntryPoint {
    entry(services.register_pointer as usize, 2, false)
}

/// Runs the tracers of all writes noted: `(env)`.
pub(super) fn flush_pointers(services: &Services) -> EntryPoint {
    entry(services.flush_pointers as usize, 1, false)
}

/// Reached what the verifier found unreachable: `(pc)`.
pub(super) fn unreachable() -> EntryPoint {
    entry(reached as *const () as usize, 1, false)
}

extern "C" fn reached(pc: u64) {
    defect(&Trap::Unreachable { pc: pc as usize })
}

//! What compiled code calls: functions of the runtime, by address.
//!
//! Compiled code trusts its arguments to be what the verifier proved. Where the runtime finds that they are not, nothing
//! can be trusted any more, and the process ends with a message.

use std::ffi::c_void;
use std::mem;

use hitless_isa::Size;

use crate::callee::AnyFn;
use crate::runtime::EntryFn;
use crate::{DispatchFn, Services, Trap, Vm, defect};

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

/// A function that a program calls, of whose arguments only the first ones matter.
pub(super) fn function(function: AnyFn, args: usize) -> EntryPoint {
    entry(function as usize, args, true)
}

/// Loads an object's bytes: `(address)`.
pub(super) fn probe(services: &Services, size: Size) -> EntryPoint {
    entry(
        services.probes[size.bytes().trailing_zeros() as usize] as usize,
        1,
        true,
    )
}

/// Loads bytes of the packet: `(env, offset, size)`.
pub(super) fn load_packet(services: &Services) -> EntryPoint {
    entry(services.load_packet as usize, 3, true)
}

/// Runs what the latest tail call goes to: `(env)`.
pub(super) fn go_on() -> EntryPoint {
    entry(go_on_with_next as *const () as usize, 1, true)
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

/// Runs the program that the latest tail call goes to, and those that it ends with tail calls of, one after the other.
///
/// # Safety
/// `vm` is that of a run of native code, in which a tail call is pending.
pub(super) unsafe extern "C" fn go_on_with_next(vm: *mut Vm) -> u64 {
    loop {
        // SAFETY: the environment is there, and nothing uses it while no code runs.
        let next = unsafe { (*vm).take_next() };
        // SAFETY: as above.
        unsafe { (*vm).owner = next.owner };
        // SAFETY: the entry is that of a program for the same sort of context, which `Vm::tail_call` was given; its code lives
        // as long as the run.
        let result = unsafe { (next.entry.body)(vm, next.ctx, next.entry.state) };
        // SAFETY: as above.
        if unsafe { (*vm).pending } == 0 {
            return result;
        }
    }
}

/// Runs a program that may end with a tail call. `state` is the address of its code.
///
/// # Safety
/// As for [`Entry::run`](crate::Entry::run), of the entry of that code.
pub(super) unsafe extern "C" fn begin(vm: *mut Vm, ctx: u64, state: *const c_void) -> u64 {
    // SAFETY: that is what `NativeCode::entry` has put there.
    let body = unsafe { mem::transmute::<*const c_void, EntryFn>(state) };
    // SAFETY: the environment is there.
    let owner = unsafe { (*vm).owner };
    // SAFETY: as for this function.
    let result = unsafe { body(vm, ctx, state) };
    // SAFETY: the environment is there.
    if unsafe { (*vm).pending } == 0 {
        return result;
    }
    // SAFETY: a tail call is pending.
    let result = unsafe { go_on_with_next(vm) };
    // SAFETY: the environment is there.
    unsafe { (*vm).owner = owner };
    result
}

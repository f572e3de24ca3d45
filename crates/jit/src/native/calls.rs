//! What compiled code calls: the entry points into the runtime.
//!
//! Compiled code trusts its arguments to be what the verifier proved. Where the runtime finds that they are not, nothing
//! can be trusted any more, and the process ends with a message.

use crate::{Env, MAX_LOOPS, Trap};

/// What a run is passed besides its context. Compiled code counts `turns` down itself.
#[repr(C)]
pub(super) struct Vm<'a> {
    /// Always 0. Code loads it, so that Cranelift cannot fold a constant that was combined with it (`Translator::unseen`).
    zero: u64,
    /// Turns of `may_goto` that are left.
    turns: u32,
    env: &'a mut dyn Env,
}

impl<'a> Vm<'a> {
    /// Where `zero` is.
    pub(super) const ZERO: i32 = std::mem::offset_of!(Vm<'static>, zero) as i32;
    /// Where `turns` is.
    pub(super) const TURNS: i32 = std::mem::offset_of!(Vm<'static>, turns) as i32;

    pub(super) fn new(env: &'a mut dyn Env) -> Vm<'a> {
        Vm {
            zero: 0,
            turns: MAX_LOOPS,
            env,
        }
    }
}

/// An entry point: its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct EntryPoint {
    pub(super) address: usize,
    /// How many 64-bit arguments it takes, the [`Vm`] included.
    pub(super) args: usize,
    /// Whether it returns a 64-bit value.
    pub(super) returns: bool,
}

const fn entry(address: usize, args: usize, returns: bool) -> EntryPoint {
    EntryPoint { address, args, returns }
}

/// Calls a BPF helper: `(vm, id, r1, r2, r3, r4, r5)`.
pub(super) fn helper_entry() -> EntryPoint {
    entry(helper as *const () as usize, 7, true)
}

/// Runs the tracers of an update: `(vm)`.
pub(super) fn trace_update_entry() -> EntryPoint {
    entry(trace_update as *const () as usize, 1, false)
}

/// Runs the tracers of a delete: `(vm)`.
pub(super) fn trace_delete_entry() -> EntryPoint {
    entry(trace_delete as *const () as usize, 1, false)
}

/// Notes a write to a map value: `(vm, address)`.
pub(super) fn register_pointer_entry() -> EntryPoint {
    entry(register_pointer as *const () as usize, 2, false)
}

/// Runs the tracers of all writes noted: `(vm)`.
pub(super) fn flush_pointers_entry() -> EntryPoint {
    entry(flush_pointers as *const () as usize, 1, false)
}

/// Reached what the verifier found unreachable: `(vm, pc)`.
pub(super) fn unreachable_entry() -> EntryPoint {
    entry(unreachable as *const () as usize, 2, false)
}

extern "C" fn helper(vm: &mut Vm<'_>, id: u64, r1: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> u64 {
    match vm.env.helper(id as u32, [r1, r2, r3, r4, r5]) {
        Ok(value) => value,
        Err(trap) => defect(&trap),
    }
}

extern "C" fn trace_update(vm: &mut Vm<'_>) {
    vm.env.trace_update();
}

extern "C" fn trace_delete(vm: &mut Vm<'_>) {
    vm.env.trace_delete();
}

extern "C" fn register_pointer(vm: &mut Vm<'_>, addr: u64) {
    vm.env.register_pointer(addr);
}

extern "C" fn flush_pointers(vm: &mut Vm<'_>) {
    vm.env.flush_pointers();
}

extern "C" fn unreachable(_: &mut Vm<'_>, pc: u64) {
    defect(&Trap::Unreachable { pc: pc as usize })
}

/// Something that the verifier excluded has happened in code that relies on it.
#[cold]
fn defect(trap: &Trap) -> ! {
    eprintln!("hitless: a verified program did what was proved impossible: {trap}");
    std::process::abort()
}

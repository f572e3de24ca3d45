//! What the runtime gives to programs: the memory of a run, and functions by address.
//!
//! A run has one piece of memory that everything finds its things in: the *environment*. It begins with a [`Vm`], which
//! engines use; what follows is the runtime's. Code passes its address to whatever it calls. Which functions those are is
//! decided when a program is lowered ([`Resolve`], [`Services`]), so a call at run time is a call and nothing else.

use std::ffi::c_void;
use std::mem::{MaybeUninit, offset_of};
use std::ptr;

use hitless_verifier::Region;

use crate::{MAX_LOOPS, Trap, interp};

/// Loads bytes at an address that may be anything, zero-extended; 0 if they cannot be read.
pub type ProbeFn = unsafe extern "C" fn(addr: u64) -> u64;

/// An environment: what the runtime keeps of a run, and what it does for code while it runs.
///
/// # Safety
/// The type is `#[repr(C)]` and begins with a [`Vm`].
pub unsafe trait Env {
    /// Load one, two, four and eight bytes of objects, of which nothing proves that they are there. No address may end the
    /// process.
    const PROBES: [ProbeFn; 4];

    /// Whether `len` bytes at `addr` lie wholly inside one object of the region (one map value, the packet, the memory
    /// behind a context field). Asked by the interpreter for every region but the stack and the context, which it knows.
    fn contains(&self, region: Region, addr: u64, len: usize, write: bool) -> bool;

    /// Legacy packet access: `size` bytes (1, 2 or 4) at an offset of the packet, in the host's byte order; `None` if the packet
    /// is not that long.
    fn load_packet(&mut self, off: i32, size: u32) -> Option<u32>;

    /// `bpf_map_trace_update_elem()`: runs the tracers for the update helper that the traced variant has just called.
    fn trace_update(&mut self);

    /// `bpf_map_trace_delete_elem()`: likewise for a delete helper.
    fn trace_delete(&mut self);

    /// `bpf_map_trace_register_pointer()`: the program is about to write at `addr`, which lies in a map value.
    fn register_pointer(&mut self, addr: u64);

    /// `bpf_map_trace_pointer_update()`: the program is about to exit; runs the tracers for every registered element.
    fn flush_pointers(&mut self);
}

/// The functions of an [`Env`], by address. An image that was lowered with them runs with environments of that type only.
#[derive(Clone, Copy, Debug)]
pub struct Services {
    pub(crate) probes: [ProbeFn; 4],
    pub(crate) load_packet: unsafe extern "C" fn(*mut c_void, off: u64, size: u64) -> u64,
    pub(crate) contains: unsafe extern "C" fn(*const c_void, &Region, u64, usize, bool) -> bool,
    pub(crate) trace_update: unsafe extern "C" fn(*mut c_void),
    pub(crate) trace_delete: unsafe extern "C" fn(*mut c_void),
    pub(crate) register_pointer: unsafe extern "C" fn(*mut c_void, u64),
    pub(crate) flush_pointers: unsafe extern "C" fn(*mut c_void),
}

/// An environment that no code runs with.
#[repr(C)]
struct NoEnv {
    vm: Vm,
}

// SAFETY: the type is `repr(C)`, and a `Vm` is its first field.
unsafe impl Env for NoEnv {
    const PROBES: [ProbeFn; 4] = [no_probe; 4];

    fn load_packet(&mut self, _: i32, _: u32) -> Option<u32> {
        None
    }

    fn contains(&self, _: Region, _: u64, _: usize, _: bool) -> bool {
        false
    }

    fn trace_update(&mut self) {}

    fn trace_delete(&mut self) {}

    fn register_pointer(&mut self, _: u64) {}

    fn flush_pointers(&mut self) {}
}

unsafe extern "C" fn no_probe(_: u64) -> u64 {
    0
}

impl Services {
    /// For images that are compiled, but not run, or that are run with nothing but a [`Vm`] and do not trace.
    pub const NONE: Services = Services::of::<NoEnv>();

    /// Those of a type of environment, whatever its lifetimes are.
    #[must_use]
    pub const fn of<E: Env>() -> Services {
        Services {
            probes: E::PROBES,
            load_packet: load_packet::<E>,
            contains: contains::<E>,
            trace_update: trace_update::<E>,
            trace_delete: trace_delete::<E>,
            register_pointer: register_pointer::<E>,
            flush_pointers: flush_pointers::<E>,
        }
    }
}

impl PartialEq for Services {
    fn eq(&self, other: &Services) -> bool {
        ptr::fn_addr_eq(self.flush_pointers, other.flush_pointers)
    }
}

impl Eq for Services {}

unsafe extern "C" fn contains<E: Env>(env: *const c_void, region: &Region, addr: u64, len: usize, write: bool) -> bool {
    // SAFETY: engines pass the environment that they run with, of the type that the image was lowered for, which nothing
    // else uses while code calls out.
    unsafe { &*env.cast::<E>() }.contains(*region, addr, len, write)
}

/// What `load_packet` returns if there is nothing.
pub(crate) const NO_PACKET: u64 = u64::MAX;

unsafe extern "C" fn load_packet<E: Env>(env: *mut c_void, off: u64, size: u64) -> u64 {
    // SAFETY: as in `contains`.
    let loaded = unsafe { &mut *env.cast::<E>() }.load_packet(off as i32, size as u32);
    loaded.map_or(NO_PACKET, u64::from)
}

unsafe extern "C" fn trace_update<E: Env>(env: *mut c_void) {
    // SAFETY: as in `contains`.
    unsafe { &mut *env.cast::<E>() }.trace_update();
}

unsafe extern "C" fn trace_delete<E: Env>(env: *mut c_void) {
    // SAFETY: as in `contains`.
    unsafe { &mut *env.cast::<E>() }.trace_delete();
}

unsafe extern "C" fn register_pointer<E: Env>(env: *mut c_void, addr: u64) {
    // SAFETY: as in `contains`.
    unsafe { &mut *env.cast::<E>() }.register_pointer(addr);
}

unsafe extern "C" fn flush_pointers<E: Env>(env: *mut c_void) {
    // SAFETY: as in `contains`.
    unsafe { &mut *env.cast::<E>() }.flush_pointers();
}

/// How many tail calls a run may make (the kernel's `MAX_TAIL_CALL_CNT`).
const MAX_TAIL_CALLS: u32 = 33;

/// The part of an environment that engines use.
#[derive(Debug)]
#[repr(C)]
pub struct Vm {
    /// Turns of `may_goto` that are left to native code.
    pub(crate) turns: u32,
    /// The run's slot: this world's CPU.
    pub(crate) slot: u32,
    /// What runs: the runtime's own words, which change with a tail call.
    pub(crate) owner: [usize; 2],
    /// 1 if the program has ended with a tail call, of `next`.
    pub(crate) pending: u32,
    /// How many tail calls the run has made.
    tail_calls: u32,
    /// What of the following is there, and of what the runtime has behind it: so making an environment costs one store for
    /// all of that. See [`Vm::CHECKED`].
    flags: u64,
    /// The innermost interpreter of the run, if there is one.
    machine: MaybeUninit<*const c_void>,
    /// The check that failed, if one has. Only the interpreter has some.
    trap: MaybeUninit<Trap>,
    /// What to go on with.
    pub(crate) next: MaybeUninit<Next>,
}

impl Drop for Vm {
    fn drop(&mut self) {
        drop(self.take_trap());
    }
}

/// The program that a tail call goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) entry: Entry,
    pub(crate) ctx: u64,
    pub(crate) owner: [usize; 2],
}

impl Vm {
    /// Where `turns` is.
    pub(crate) const TURNS: i32 = offset_of!(Vm, turns) as i32;
    /// Where `slot` is.
    pub(crate) const SLOT: i32 = offset_of!(Vm, slot) as i32;
    /// Where the first word of `owner` is.
    pub(crate) const OWNER: i32 = offset_of!(Vm, owner) as i32;
    /// Where `pending` is.
    pub(crate) const PENDING: i32 = offset_of!(Vm, pending) as i32;

    /// For a run on this slot. `owner` means nothing to engines; it is the same again when the run has ended.
    #[inline]
    #[must_use]
    pub const fn new(slot: u32, owner: [usize; 2]) -> Vm {
        Vm {
            turns: MAX_LOOPS,
            slot,
            owner,
            pending: 0,
            tail_calls: 0,
            flags: 0,
            machine: MaybeUninit::uninit(),
            trap: MaybeUninit::uninit(),
            next: MaybeUninit::uninit(),
        }
    }

    /// For another run on the same slot, after one that has ended; [cleaned](Self::clean), if it was not clean.
    #[inline]
    pub const fn restart(&mut self) {
        self.turns = MAX_LOOPS;
    }

    /// In the flags: there is an interpreter.
    const CHECKED: u64 = 1;
    /// A check has failed.
    const TRAPPED: u64 = 2;
    /// A tail call was made.
    const CALLED: u64 = 4;
    /// The first of the flags that mean what the runtime wants them to.
    pub const FREE_FLAG: u64 = 1 << 8;

    /// Whether one of these flags of the runtime's is set.
    #[inline]
    #[must_use]
    pub const fn has_flag(&self, flags: u64) -> bool {
        self.flags & flags != 0
    }

    /// Sets flags of the runtime's.
    #[inline]
    pub const fn set_flag(&mut self, flags: u64) {
        self.flags |= flags;
    }

    /// Takes flags of the runtime's back.
    #[inline]
    pub const fn clear_flag(&mut self, flags: u64) {
        self.flags &= !flags;
    }

    /// Whether a run that has ended has left nothing to see to, neither to engines nor to the runtime, whose flags `but` mean
    /// nothing of that sort.
    #[inline]
    #[must_use]
    pub const fn is_clean(&self, but: u64) -> bool {
        self.flags & !but == 0
    }

    /// Sees to what a run that has ended has left. Returns the check that failed, if one has.
    pub const fn clean(&mut self) -> Option<Trap> {
        self.tail_calls = 0;
        self.flags &= !Vm::CALLED;
        self.take_trap()
    }

    /// The innermost interpreter of the run; null in native code.
    pub(crate) const fn machine(&self) -> *const c_void {
        if self.is_checked() {
            // SAFETY: the flag says that it is there.
            unsafe { self.machine.assume_init() }
        } else {
            ptr::null()
        }
    }

    /// Sets the innermost interpreter; null if there is none any more.
    pub(crate) const fn set_machine(&mut self, machine: *const c_void) {
        self.machine.write(machine);
        self.flags = if machine.is_null() {
            self.flags & !Vm::CHECKED
        } else {
            self.flags | Vm::CHECKED
        };
    }

    /// Whether a check has failed.
    pub(crate) const fn has_trap(&self) -> bool {
        self.flags & Vm::TRAPPED != 0
    }

    /// Keeps the check that failed; one that failed before is lost.
    pub(crate) fn set_trap(&mut self, trap: Trap) {
        drop(self.take_trap());
        self.trap.write(trap);
        self.flags |= Vm::TRAPPED;
    }

    /// Makes a tail call, unless the run has made 33: the calling program ends, and the one with this entry goes on with the
    /// same context. `owner` becomes its [`Vm::owner`]. Returns 1, or 0 if the program goes on.
    pub fn tail_call(&mut self, entry: Entry, ctx: u64, owner: [usize; 2]) -> u64 {
        if self.tail_calls == MAX_TAIL_CALLS {
            return 0;
        }
        self.tail_calls += 1;
        self.flags |= Vm::CALLED;
        self.pending = 1;
        self.next.write(Next { entry, ctx, owner });
        1
    }

    /// Makes another program the one that runs, in place of a subprogram of the one that does now: the one with this entry.
    /// `owner` becomes its [`Vm::owner`], until it is done. Returns what the code that has called this goes on with.
    pub fn replace(&mut self, entry: Entry, owner: [usize; 2]) -> u64 {
        self.owner = owner;
        entry.state.expose_provenance() as u64
    }

    /// What the latest tail call goes to, taken off.
    pub(crate) fn take_next(&mut self) -> Next {
        self.pending = 0;
        // SAFETY: asked only after a tail call, which has written it.
        unsafe { self.next.assume_init() }
    }

    /// The number of the run's slot.
    #[inline]
    #[must_use]
    pub const fn slot(&self) -> u32 {
        self.slot
    }

    /// What [`Vm::new`] was given, or a tail call has changed it to.
    #[inline]
    #[must_use]
    pub const fn owner(&self) -> [usize; 2] {
        self.owner
    }

    /// Whether the checked interpreter runs the program.
    #[inline]
    #[must_use]
    pub const fn is_checked(&self) -> bool {
        self.flags & Vm::CHECKED != 0
    }

    /// The check that failed, if one has; not told again.
    pub const fn take_trap(&mut self) -> Option<Trap> {
        if !self.has_trap() {
            return None;
        }
        self.flags &= !Vm::TRAPPED;
        // SAFETY: the flag said that it is there, and no longer does.
        Some(unsafe { self.trap.assume_init_read() })
    }

    /// Calls a function of the program back: `func` is what a helper was given for it. Returns what it returns; once a check
    /// has failed, 1, which ends loops.
    ///
    /// # Safety
    /// `vm` points to the beginning of the environment that the calling helper was given; `func` and the arguments are what
    /// the verifier expects of the helper. No reference to the environment is used until this returns.
    pub unsafe fn callback(vm: *mut Vm, func: u64, args: [u64; 5]) -> u64 {
        // SAFETY: valid by the caller's promise.
        if unsafe { (*vm).is_checked() } {
            // SAFETY: as for this function; an interpreter runs.
            unsafe { interp::callback(vm, func, args) }
        } else {
            // SAFETY: as for this function; native code runs, and functions are known by their addresses there.
            unsafe { crate::native::callback(vm, func, args) }
        }
    }
}

/// How a program is begun: a function, and what it is passed besides the environment and the context.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Runs the program, and those that it ends with tail calls of.
    pub(crate) call: EntryFn,
    /// Runs the program alone: a tail call is left pending.
    pub(crate) body: EntryFn,
    pub(crate) state: *const c_void,
}

pub(crate) type EntryFn = unsafe extern "C" fn(vm: *mut Vm, ctx: u64, state: *const c_void) -> u64;

// SAFETY: these are addresses of code and of data that does not change; what they are for is said by `Code`.
unsafe impl Send for Entry {}
// SAFETY: as above.
unsafe impl Sync for Entry {}

impl Entry {
    /// Runs the program on the context at `ctx` and returns `r0`. [`Vm::take_trap`] says whether that means anything.
    ///
    /// Never allocates and takes no lock of its own, so that it may run in a signal handler.
    ///
    /// # Safety
    /// - The [`Code`](crate::Code) that this is the entry of lives.
    /// - `vm` points to the beginning of an environment of the type that the image was lowered for, made for this run.
    /// - `ctx` points to a context of the layout that the image was lowered for (its `host_off` and `host_len()`), which
    ///   stays valid and unaliased for the call, as does the memory that its pointer fields name.
    /// - What the environment [contains](Env::contains) is memory that stays valid for the call, that other threads touch
    ///   with atomic operations only, and whose provenance is exposed.
    #[inline]
    pub unsafe fn run(&self, vm: *mut Vm, ctx: *mut u8) -> u64 {
        // SAFETY: by the caller's promise.
        unsafe { (self.call)(vm, ctx.expose_provenance() as u64, self.state) }
    }
}

/// Ends the process, because something has happened that the verifier excluded, in code that relies on it.
#[cold]
pub fn defect(what: &dyn std::fmt::Display) -> ! {
    eprintln!("hitless: a verified program did what was proved impossible: {what}");
    std::process::abort()
}

//! A run: registers, frames, and the loop over the steps.

use std::ffi::c_void;
use std::ptr;

use hitless_isa::{AtomicOp, Reg, Size, Width};

use super::alu::{alu32, alu64, end, extend, holds, truncate};
use super::function_index;
use super::memory::{self, FRAME_SIZE, MAX_FRAMES, Stack};
use super::step::{Access, Place, Program, Step};
use crate::callee::{ARGUMENTS, MAX_ARGS};
use crate::runtime::NO_PACKET;
use crate::{Arg, Code, DispatchFn, Entry, Function, MAX_LOOPS, Trap, Vm};

/// A program compiled for the interpreter.
pub(super) struct Interpreted {
    pub(super) program: Program,
    pub(super) budget: u64,
}

impl Code for Interpreted {
    fn entry(&self) -> Entry {
        Entry {
            call: begin,
            body: begin,
            state: ptr::from_ref(self).cast(),
        }
    }

    fn function(&self, func: u64) -> Option<Function> {
        let index = function_index(func)?;
        self.program.functions.get(index as usize)?;
        Some(Function(index))
    }

    unsafe fn run_function(&self, vm: *mut Vm, function: Function, args: [u64; 5]) -> u64 {
        // SAFETY: as for this function. There is no context: nothing is reached through one.
        unsafe { self.run(vm, 0, self.program.functions[function.0 as usize], args) }
    }
}

/// Begins the main program of an [`Interpreted`].
///
/// # Safety
/// As for [`Entry::run`], of the entry of the code at `state`.
unsafe extern "C" fn begin(vm: *mut Vm, ctx: u64, state: *const c_void) -> u64 {
    // SAFETY: `state` is what `Interpreted::entry` has put there, and the caller promises that it lives.
    let code = unsafe { &*state.cast::<Interpreted>() };
    // SAFETY: as for this function.
    unsafe { code.run(vm, ctx, 0, [ctx, 0, 0, 0, 0]) }
}

impl Interpreted {
    /// Runs from a step on, on a stack of its own.
    ///
    /// # Safety
    /// As for [`Entry::run`].
    unsafe fn run(&self, vm: *mut Vm, ctx: u64, first: u32, args: [u64; 5]) -> u64 {
        let stack = Stack::new();
        let mut machine = self.machine(vm, ctx, &stack);
        // SAFETY: the environment is there for the run, by the caller's promise; this machine ends first.
        unsafe { machine.run(first, args) }
    }

    /// What runs the program with this context, on this stack.
    fn machine<'a>(&'a self, vm: *mut Vm, ctx: u64, stack: &'a Stack) -> Machine<'a> {
        Machine {
            program: &self.program,
            vm,
            regs: Registers([0; 16]),
            ctx,
            stack,
            stack_end: stack.end(),
            stack_start: 0,
            callers: [Caller::default(); MAX_FRAMES - 1],
            base: 0,
            depth: 0,
            at: 0,
            budget: self.budget,
            left: self.budget,
            loops: MAX_LOOPS,
        }
    }
}

/// Calls a function of the program back.
///
/// # Safety
/// As for [`Vm::callback`]; an interpreter runs the program.
pub(crate) unsafe fn callback(vm: *mut Vm, func: u64, args: [u64; 5]) -> u64 {
    // SAFETY: the environment is there. The machine has set this before it called the helper, and waits for it: nobody
    // else uses the machine now.
    let outer = unsafe { &mut *(*vm).machine().cast_mut().cast::<Machine<'_>>() };
    // SAFETY: as for this function.
    unsafe { outer.call_back(func, args) }
}

/// The registers, with room for any four-bit number.
struct Registers([u64; 16]);

impl Registers {
    #[inline(always)]
    fn get(&self, reg: Reg) -> u64 {
        self.0[reg.index() & 15]
    }

    #[inline(always)]
    fn set(&mut self, reg: Reg, value: u64) {
        self.0[reg.index() & 15] = value;
    }
}

/// What a call saves.
#[derive(Clone, Copy, Default)]
struct Caller {
    /// Where it goes on.
    step: usize,
    /// Its r6 to r9.
    saved: [u64; 4],
}

/// A program that another goes on with.
struct Other<'a> {
    code: &'a Interpreted,
    ctx: u64,
}

const SAVED: [Reg; 4] = [Reg::R6, Reg::R7, Reg::R8, Reg::R9];

struct Machine<'a> {
    program: &'a Program,
    /// The beginning of the environment, for the run of this machine.
    vm: *mut Vm,
    regs: Registers,
    ctx: u64,
    stack: &'a Stack,
    /// End of the outermost frame.
    stack_end: u64,
    /// Beginning of the innermost frame.
    stack_start: u64,
    callers: [Caller; MAX_FRAMES - 1],
    /// The frame that this machine began with: more than 0 in a function that a helper calls back.
    base: usize,
    /// The frame in use: how many callers are waiting, in this machine and in those around it.
    depth: usize,
    /// The step that is being done.
    at: usize,
    /// How many steps a run may take, and how many are left.
    budget: u64,
    left: u64,
    /// Turns of `may_goto` that are left.
    loops: u32,
}

impl<'a> Machine<'a> {
    /// Runs from a step on until the frame that it begins with is left. What fails is left in the [`Vm`].
    ///
    /// # Safety
    /// `self.vm` points to an environment that nothing else uses meanwhile.
    unsafe fn run(&mut self, first: u32, args: [u64; 5]) -> u64 {
        for (reg, value) in ARGUMENTS.into_iter().zip(args) {
            self.regs.set(reg, value);
        }
        self.enter_frame();
        // SAFETY: the environment is there, as the caller promises. What is behind the pointer goes to whoever was there
        // before when this machine is done.
        let (outer, owner) = unsafe { ((*self.vm).machine(), (*self.vm).owner) };
        self.publish();
        let result = self.steps(first as usize);
        // SAFETY: as above.
        let vm = unsafe { &mut *self.vm };
        vm.set_machine(outer);
        vm.owner = owner;
        result.unwrap_or_else(|trap| {
            vm.set_trap(trap);
            1
        })
    }

    /// Lets functions that are called find this machine.
    fn publish(&mut self) {
        let (vm, machine) = (self.vm, ptr::from_mut(self));
        // SAFETY: the environment is there while `run` lasts, and is not borrowed while steps are done.
        unsafe { (*vm).set_machine(machine.cast_const().cast()) };
    }

    /// Runs a function on the stack of this machine, which waits for a helper.
    ///
    /// # Safety
    /// As for [`Machine::run`].
    unsafe fn call_back(&mut self, func: u64, args: [u64; 5]) -> u64 {
        let pc = self.program.pcs[self.at];
        let first = function_index(func).and_then(|index| self.program.functions.get(index as usize));
        // SAFETY: the environment is there, as the caller promises.
        let vm = unsafe { &mut *self.vm };
        if vm.has_trap() {
            return 1;
        }
        let Some(&first) = first else {
            vm.set_trap(Trap::Unreachable { pc });
            return 1;
        };
        if self.depth + 1 >= MAX_FRAMES {
            vm.set_trap(Trap::CallDepth { pc });
            return 1;
        }
        let mut inner = Machine {
            regs: Registers([0; 16]),
            callers: [Caller::default(); MAX_FRAMES - 1],
            base: self.depth + 1,
            depth: self.depth + 1,
            ..*self
        };
        // SAFETY: as for this function.
        let result = unsafe { inner.run(first, args) };
        (self.left, self.loops) = (inner.left, inner.loops);
        result
    }

    fn steps(&mut self, first: usize) -> Result<u64, Trap> {
        let mut program = self.program;
        let mut next = first;
        loop {
            let at = next;
            next += 1;
            if self.left == 0 {
                return Err(Trap::Budget { limit: self.budget });
            }
            self.left -= 1;
            match program.steps[at] {
                Step::Set { dst, value } => self.regs.set(dst, value),
                Step::Alu64 { op, dst, src } => {
                    let result = alu64(op, self.regs.get(dst), self.regs.get(src));
                    self.regs.set(dst, result);
                }
                Step::Alu64Imm { op, dst, imm } => {
                    let result = alu64(op, self.regs.get(dst), sign_extended(imm));
                    self.regs.set(dst, result);
                }
                Step::Alu32 { op, dst, src } => {
                    let result = alu32(op, self.regs.get(dst), self.regs.get(src));
                    self.regs.set(dst, result);
                }
                Step::Alu32Imm { op, dst, imm } => {
                    let result = alu32(op, self.regs.get(dst), sign_extended(imm));
                    self.regs.set(dst, result);
                }
                Step::Extend { width, bits, dst, src } => {
                    let result = extend(width, bits, self.regs.get(src));
                    self.regs.set(dst, result);
                }
                Step::Neg { width, dst } => {
                    let result = truncate(width, self.regs.get(dst).wrapping_neg());
                    self.regs.set(dst, result);
                }
                Step::End { op, bits, dst } => {
                    let result = end(op, bits, self.regs.get(dst));
                    self.regs.set(dst, result);
                }
                Step::Load { size, dst, place } => {
                    let value = self.load(at, size, place)?;
                    self.regs.set(dst, value);
                }
                Step::LoadSigned { size, dst, place } => {
                    let value = self.load(at, size, place)?;
                    let bits = 8 * size.bytes() as u8;
                    self.regs.set(dst, extend(Width::W64, bits, value));
                }
                Step::Store { size, src, place } => self.store(at, size, place, self.regs.get(src))?,
                Step::StoreImm { size, imm, place } => self.store(at, size, place, sign_extended(imm))?,
                Step::Atomic { size, op, src, place } => self.atomic(at, size, op, src, place)?,
                Step::LoadAcquire { size, dst, place } => {
                    let addr = self.aligned(at, size, place, false)?;
                    // SAFETY: `aligned` has found `size` readable bytes at the address, aligned.
                    self.regs.set(dst, unsafe { memory::load_acquire(addr, size) });
                }
                Step::StoreRelease { size, src, place } => {
                    let addr = self.aligned(at, size, place, true)?;
                    // SAFETY: `aligned` has found `size` writable bytes at the address, aligned.
                    unsafe { memory::store_release(addr, size, self.regs.get(src)) };
                }
                Step::Jump64 { cond, dst, src, target } => {
                    if holds(Width::W64, cond, self.regs.get(dst), self.regs.get(src)) {
                        next = target as usize;
                    }
                }
                Step::Jump64Imm { cond, dst, imm, target } => {
                    if holds(Width::W64, cond, self.regs.get(dst), sign_extended(imm)) {
                        next = target as usize;
                    }
                }
                Step::Jump32 { cond, dst, src, target } => {
                    if holds(Width::W32, cond, self.regs.get(dst), self.regs.get(src)) {
                        next = target as usize;
                    }
                }
                Step::Jump32Imm { cond, dst, imm, target } => {
                    if holds(Width::W32, cond, self.regs.get(dst), sign_extended(imm)) {
                        next = target as usize;
                    }
                }
                Step::Goto { target } => next = target as usize,
                // What is left of the budget then is for the rest of the program.
                Step::MayGoto { target } => {
                    let left = self.left > self.budget / 2;
                    match self.loops.checked_sub(1).filter(|_| left) {
                        Some(rest) => self.loops = rest,
                        None => next = target as usize,
                    }
                }
                Step::CallFunction { callee } => self.function(at, callee)?,
                Step::TailCall { callee } => {
                    // SAFETY: the environment is there while `run` lasts, and is not borrowed here.
                    let owner = unsafe { (*self.vm).owner };
                    self.function(at, callee)?;
                    if let Some(other) = self.next_program() {
                        if self.depth == 0 {
                            // In the frame of the one that made the call.
                            program = &other.code.program;
                            self.program = program;
                            self.regs.set(Reg::R1, other.ctx);
                            self.enter_frame();
                            next = 0;
                        } else {
                            let result = self.run_other(other.code, other.ctx, [other.ctx, 0, 0, 0, 0])?;
                            // SAFETY: as above.
                            unsafe { (*self.vm).owner = owner };
                            self.regs.set(Reg::R0, result);
                            match self.leave_frame() {
                                Some(step) => next = step,
                                None => return Ok(result),
                            }
                        }
                    }
                }
                Step::Replaced { callee } => {
                    let result = self.replaced(at, callee)?;
                    self.regs.set(Reg::R0, result);
                    match self.leave_frame() {
                        Some(step) => next = step,
                        None => return Ok(result),
                    }
                }
                Step::Probe {
                    size,
                    signed,
                    dst,
                    base,
                    off,
                } => {
                    let addr = self.regs.get(base).wrapping_add_signed(off.into());
                    // SAFETY: takes any address.
                    let value = unsafe { (program.services.probes[size.bytes().trailing_zeros() as usize])(addr) };
                    let bits = 8 * size.bytes() as u8;
                    self.regs
                        .set(dst, if signed { extend(Width::W64, bits, value) } else { value });
                }
                Step::LoadPacket {
                    size,
                    index,
                    off,
                    flush,
                } => {
                    let off = index
                        .map_or(0, |index| self.regs.get(index) as u32)
                        .wrapping_add_signed(off);
                    let size = size.bytes() as u64;
                    // SAFETY: the function is that of the environment's type, which is not borrowed here.
                    let loaded = unsafe { (program.services.load_packet)(self.vm.cast(), off.into(), size) };
                    self.regs.set(Reg::R0, loaded);
                    if loaded == NO_PACKET {
                        self.regs.set(Reg::R0, 0);
                        if flush {
                            // SAFETY: as above.
                            unsafe { (program.services.flush_pointers)(self.vm.cast()) };
                        }
                        match self.leave_frame() {
                            Some(step) => next = step,
                            None => return Ok(0),
                        }
                    }
                }
                Step::HelperInRegister { function, reg } => self.dispatch(at, function, reg)?,
                Step::Call { target } => {
                    self.call(at, next)?;
                    next = target as usize;
                }
                Step::Exit => match self.leave_frame() {
                    Some(step) => next = step,
                    None => return Ok(self.regs.get(Reg::R0)),
                },
                // SAFETY: the function is that of the environment's type, which is not borrowed here.
                Step::TraceUpdate => unsafe { (program.services.trace_update)(self.vm.cast()) },
                // SAFETY: as above.
                Step::TraceDelete => unsafe { (program.services.trace_delete)(self.vm.cast()) },
                Step::RegisterPointer { base, off } => {
                    let addr = self.regs.get(base).wrapping_add_signed(off.into());
                    // SAFETY: as above.
                    unsafe { (program.services.register_pointer)(self.vm.cast(), addr) };
                }
                // SAFETY: as above.
                Step::FlushPointers => unsafe { (program.services.flush_pointers)(self.vm.cast()) },
                Step::Unreachable => return Err(Trap::Unreachable { pc: program.pcs[at] }),
            }
        }
    }

    /// Makes the frame at this depth, empty.
    fn enter_frame(&mut self) {
        let end = self.stack.enter(self.depth);
        self.stack_start = end - FRAME_SIZE as u64;
        self.regs.set(Reg::R10, end);
    }

    fn call(&mut self, at: usize, next: usize) -> Result<(), Trap> {
        let Some(caller) = self.callers.get_mut(self.depth) else {
            return Err(Trap::CallDepth {
                pc: self.program.pcs[at],
            });
        };
        *caller = Caller {
            step: next,
            saved: SAVED.map(|reg| self.regs.get(reg)),
        };
        self.depth += 1;
        self.enter_frame();
        Ok(())
    }

    /// Back to the caller, if there is one.
    fn leave_frame(&mut self) -> Option<usize> {
        if self.depth == self.base {
            return None;
        }
        self.depth -= 1;
        let caller = self.callers[self.depth];
        for (reg, value) in SAVED.into_iter().zip(caller.saved) {
            self.regs.set(reg, value);
        }
        self.stack_start += FRAME_SIZE as u64;
        self.regs.set(Reg::R10, self.stack_start + FRAME_SIZE as u64);
        Some(caller.step)
    }

    fn function(&mut self, at: usize, callee: u32) -> Result<(), Trap> {
        let vm = self.before_call(at);
        let callee = &self.program.callees[callee as usize];
        let mut args = [0; MAX_ARGS];
        for (index, arg) in callee.args.iter().enumerate() {
            args[index] = match *arg {
                Arg::Env => vm.expose_provenance() as u64,
                // SAFETY: the runtime has said that its environment has a word there.
                Arg::EnvWord(off) => unsafe { vm.byte_add(off as usize).cast::<u64>().read() },
                Arg::Const(value) => value,
                Arg::Reg(reg) => self.regs.get(reg),
                // SAFETY: the runtime has said that the helper reads so many bytes there, and the verifier has found them.
                Arg::Load(reg, size) => unsafe { memory::load(self.regs.get(reg), size) },
                Arg::Bucket(key, table) => table.bucket(args[key]),
            };
        }
        let [a, b, c, d, e, f] = args;
        // SAFETY: the function is one that takes these arguments and what the verifier has found in the registers; nothing
        // of this machine is used before it returns, except by functions that it calls back.
        let result = unsafe { (callee.function)(a, b, c, d, e, f) };
        self.after_call(result)
    }

    /// The program of a tail call, if one was made. It is the one that runs now.
    fn next_program(&mut self) -> Option<Other<'a>> {
        // SAFETY: the environment is there while `run` lasts, and is not borrowed here.
        let vm = unsafe { &mut *self.vm };
        if vm.pending == 0 {
            return None;
        }
        let next = vm.take_next();
        vm.owner = next.owner;
        // SAFETY: the entry is that of a program compiled by this engine: a runtime has one. It lives as long as the run, as
        // the caller of `Vm::tail_call` has seen to.
        let code = unsafe { &*next.entry.state.cast::<Interpreted>() };
        Some(Other { code, ctx: next.ctx })
    }

    /// Runs the program that takes the place of the subprogram whose frame this is, with its arguments.
    fn replaced(&mut self, at: usize, callee: u32) -> Result<u64, Trap> {
        let args = ARGUMENTS.map(|reg| self.regs.get(reg));
        // SAFETY: the environment is there while `run` lasts, and is not borrowed here.
        let owner = unsafe { (*self.vm).owner };
        self.function(at, callee)?;
        let state = ptr::with_exposed_provenance::<Interpreted>(self.regs.get(Reg::R0) as usize);
        // SAFETY: that is the state of an entry, which `Vm::replace` was given, of a program compiled by this engine; it lives
        // as long as the run, as the caller of that has seen to.
        let code = unsafe { &*state };
        let result = self.run_other(code, self.ctx, args);
        // SAFETY: as above.
        unsafe { (*self.vm).owner = owner };
        result
    }

    /// Runs another program from its beginning to its end, on a stack of its own: it may have as many frames as any.
    fn run_other(&mut self, other: &Interpreted, ctx: u64, args: [u64; 5]) -> Result<u64, Trap> {
        let stack = Stack::new();
        let mut machine = Machine {
            left: self.left,
            ..other.machine(self.vm, ctx, &stack)
        };
        // SAFETY: the environment is there while `run` lasts, and is not borrowed here; this machine waits.
        let result = unsafe { machine.run(0, args) };
        self.left = machine.left;
        // SAFETY: as above.
        let failed = unsafe { (*self.vm).take_trap() };
        failed.map_or(Ok(result), Err)
    }

    fn dispatch(&mut self, at: usize, function: DispatchFn, reg: Reg) -> Result<(), Trap> {
        let id = self.regs.get(reg);
        let [r1, r2, r3, r4, r5] = ARGUMENTS.map(|reg| self.regs.get(reg));
        let vm = self.before_call(at);
        // SAFETY: as in `helper`.
        let result = unsafe { function(vm, id, r1, r2, r3, r4, r5) };
        self.after_call(result)
    }

    fn before_call(&mut self, at: usize) -> *mut c_void {
        self.at = at;
        self.publish();
        self.vm.cast()
    }

    /// Takes the result, if nothing has failed in a function that was called back.
    fn after_call(&mut self, result: u64) -> Result<(), Trap> {
        self.regs.set(Reg::R0, result);
        // SAFETY: the environment is there while `run` lasts.
        let failed = unsafe { (*self.vm).take_trap() };
        failed.map_or(Ok(()), Err)
    }

    #[inline(always)]
    fn load(&self, at: usize, size: Size, place: Place) -> Result<u64, Trap> {
        let addr = self.check(at, size, place, false)?;
        // SAFETY: `check` has found `size` readable bytes at the address.
        Ok(unsafe { memory::load(addr, size) })
    }

    #[inline(always)]
    fn store(&self, at: usize, size: Size, place: Place, value: u64) -> Result<(), Trap> {
        let addr = self.check(at, size, place, true)?;
        // SAFETY: `check` has found `size` writable bytes at the address.
        unsafe { memory::store(addr, size, value) };
        Ok(())
    }

    fn atomic(&mut self, at: usize, size: Size, op: AtomicOp, src: Reg, place: Place) -> Result<(), Trap> {
        let addr = self.aligned(at, size, place, true)?;
        // SAFETY: `aligned` has found `size` writable bytes at the address, aligned.
        let old = unsafe { memory::atomic(addr, size, op, self.regs.get(src), self.regs.get(Reg::R0)) };
        if op.fetches() {
            self.regs.set(if op == AtomicOp::CmpXchg { Reg::R0 } else { src }, old);
        }
        Ok(())
    }

    /// As [`Machine::check`], for operations that need alignment.
    fn aligned(&self, at: usize, size: Size, place: Place, write: bool) -> Result<u64, Trap> {
        let addr = self.check(at, size, place, write)?;
        if memory::is_aligned(addr, size) {
            Ok(addr)
        } else {
            Err(Trap::Misaligned {
                pc: self.program.pcs[at],
                addr,
                len: size.bytes(),
            })
        }
    }

    /// The address of an access, if it lies where the verifier promised. Then the bytes there may be read, and written if
    /// `write`: the stack is ours, the context is the caller's promise, and of the rest the environment has said so.
    #[inline(always)]
    fn check(&self, at: usize, size: Size, place: Place, write: bool) -> Result<u64, Trap> {
        let addr = self.regs.get(place.base).wrapping_add_signed(place.off.into());
        let access = &self.program.accesses[place.access as usize];
        if access.stack && within(addr, size, self.stack_start, self.stack_end - self.stack_start) {
            return Ok(addr);
        }
        if self.in_fields(access, addr, size) || self.in_regions(access, addr, size, write) {
            return Ok(addr);
        }
        Err(self.out_of_region(at, addr, size, access))
    }

    #[inline(always)]
    fn in_fields(&self, access: &Access, addr: u64, size: Size) -> bool {
        access.fields.iter().any(|field| {
            let (off, len) = (u64::from(field.off), u64::from(field.len));
            within(addr, size, self.ctx + off, len)
        })
    }

    #[inline(always)]
    fn in_regions(&self, access: &Access, addr: u64, size: Size, write: bool) -> bool {
        access
            .regions
            .iter()
            // SAFETY: the function is that of the environment's type; the environment is not borrowed here.
            .any(|region| unsafe {
                (self.program.services.contains)(self.vm.cast(), region, addr, size.bytes(), write)
            })
    }

    #[cold]
    fn out_of_region(&self, at: usize, addr: u64, size: Size, access: &Access) -> Trap {
        Trap::OutOfRegion {
            pc: self.program.pcs[at],
            addr,
            len: size.bytes(),
            regions: access.text.clone(),
        }
    }
}

#[inline(always)]
fn sign_extended(imm: i32) -> u64 {
    i64::from(imm).cast_unsigned()
}

/// Whether an access of this size at `addr` lies in the `len` bytes at `start`.
#[inline(always)]
fn within(addr: u64, size: Size, start: u64, len: u64) -> bool {
    let size = size.bytes() as u64;
    size <= len && addr.wrapping_sub(start) <= len - size
}

//! A run: registers, frames, and the loop over the steps.

use hitless_isa::{AtomicOp, Reg, Size, Width};

use super::alu::{alu32, alu64, end, extend, holds, truncate};
use super::memory::{self, FRAME_SIZE, MAX_FRAMES, Stack};
use super::step::{Access, Place, Program, Step};
use crate::{Code, Env, MAX_LOOPS, Trap};

/// A program compiled for the interpreter.
pub(super) struct Interpreted {
    pub(super) program: Program,
    pub(super) budget: u64,
}

impl Code for Interpreted {
    unsafe fn run(&self, ctx: *mut u8, ctx_len: usize, env: &mut dyn Env) -> Result<u64, Trap> {
        let stack = Stack::new();
        let mut machine = Machine {
            program: &self.program,
            env,
            regs: Registers([0; 16]),
            ctx: ctx.expose_provenance() as u64,
            ctx_len: ctx_len as u64,
            stack: &stack,
            stack_end: stack.end(),
            stack_start: 0,
            callers: [Caller::default(); MAX_FRAMES - 1],
            depth: 0,
        };
        machine.regs.set(Reg::R1, machine.ctx);
        machine.enter_frame();
        machine.run(self.budget)
    }
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

const SAVED: [Reg; 4] = [Reg::R6, Reg::R7, Reg::R8, Reg::R9];

struct Machine<'a> {
    program: &'a Program,
    env: &'a mut dyn Env,
    regs: Registers,
    ctx: u64,
    ctx_len: u64,
    stack: &'a Stack,
    /// End of the outermost frame.
    stack_end: u64,
    /// Beginning of the innermost frame.
    stack_start: u64,
    callers: [Caller; MAX_FRAMES - 1],
    /// How many callers are waiting.
    depth: usize,
}

impl Machine<'_> {
    fn run(&mut self, budget: u64) -> Result<u64, Trap> {
        let program = self.program;
        let (mut left, mut loops) = (budget, MAX_LOOPS);
        let mut next = 0;
        loop {
            let at = next;
            next += 1;
            if left == 0 {
                return Err(Trap::Budget { limit: budget });
            }
            left -= 1;
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
                Step::MayGoto { target } => match loops.checked_sub(1).filter(|_| left > budget / 2) {
                    Some(rest) => loops = rest,
                    None => next = target as usize,
                },
                Step::Helper { id } => self.helper(at, id)?,
                Step::HelperInRegister { reg } => self.helper(at, self.regs.get(reg) as u32)?,
                Step::Call { target } => {
                    self.call(at, next)?;
                    next = target as usize;
                }
                Step::Exit => match self.leave_frame() {
                    Some(step) => next = step,
                    None => return Ok(self.regs.get(Reg::R0)),
                },
                Step::TraceUpdate => self.env.trace_update(),
                Step::TraceDelete => self.env.trace_delete(),
                Step::RegisterPointer { base, off } => {
                    self.env
                        .register_pointer(self.regs.get(base).wrapping_add_signed(off.into()));
                }
                Step::FlushPointers => self.env.flush_pointers(),
                Step::Unreachable => return Err(Trap::Unreachable { pc: program.pcs[at] }),
            }
        }
    }

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
        self.depth = self.depth.checked_sub(1)?;
        let caller = self.callers[self.depth];
        for (reg, value) in SAVED.into_iter().zip(caller.saved) {
            self.regs.set(reg, value);
        }
        self.stack_start += FRAME_SIZE as u64;
        self.regs.set(Reg::R10, self.stack_start + FRAME_SIZE as u64);
        Some(caller.step)
    }

    fn helper(&mut self, at: usize, id: u32) -> Result<(), Trap> {
        let args = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5].map(|reg| self.regs.get(reg));
        match self.env.helper(id, args) {
            Ok(value) => self.regs.set(Reg::R0, value),
            // The runtime does not know where the call stands.
            Err(Trap::Helper { id, reason, .. }) => {
                return Err(Trap::Helper {
                    pc: self.program.pcs[at],
                    id,
                    reason,
                });
            }
            Err(trap) => return Err(trap),
        }
        Ok(())
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
            off + len <= self.ctx_len && within(addr, size, self.ctx + off, len)
        })
    }

    #[inline(always)]
    fn in_regions(&self, access: &Access, addr: u64, size: Size, write: bool) -> bool {
        access
            .regions
            .iter()
            .any(|region| self.env.contains(*region, addr, size.bytes(), write))
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

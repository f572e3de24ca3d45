//! Memory as programs see it: addresses are numbers. The only unsafe code of the interpreter.
//!
//! Values are shared between threads, so everything goes through atomics: relaxed ones of the access's size where it is
//! aligned, else byte by byte, which may tear, as it may in the kernel.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use hitless_isa::{AtomicOp, Size};

/// Frames that a run may have at once.
pub(super) const MAX_FRAMES: usize = 8;
/// Bytes of stack in a frame.
pub(super) const FRAME_SIZE: usize = 512;

/// The stack of a run: the outermost frame at the end, the innermost below it.
#[repr(align(16))]
pub(super) struct Stack(UnsafeCell<MaybeUninit<[u8; MAX_FRAMES * FRAME_SIZE]>>);

impl Stack {
    pub(super) const fn new() -> Stack {
        Stack(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// The address of the first byte behind the stack.
    pub(super) fn end(&self) -> u64 {
        (self.0.get().expose_provenance() + MAX_FRAMES * FRAME_SIZE) as u64
    }

    /// Clears a frame, the outermost being 0, and returns the address of its end, the frame pointer.
    pub(super) fn enter(&self, frame: usize) -> u64 {
        assert!(frame < MAX_FRAMES, "callers check the depth");
        let start = (MAX_FRAMES - 1 - frame) * FRAME_SIZE;
        // SAFETY: `start + FRAME_SIZE` is at most the size of the array, as `frame` is below `MAX_FRAMES`. The cell allows
        // writing, and no reference to its contents is ever made.
        unsafe { self.0.get().cast::<u8>().add(start).write_bytes(0, FRAME_SIZE) };
        self.end() - (frame * FRAME_SIZE) as u64
    }
}

/// Memory at an address, of type `T`. Whether there is any is for the caller to know.
fn at<T>(addr: u64) -> *mut T {
    // Addresses of this process fit `usize`.
    ptr::with_exposed_provenance_mut(addr as usize)
}

/// Whether an address is a multiple of the size.
#[inline(always)]
pub(super) fn is_aligned(addr: u64, size: Size) -> bool {
    addr & (size.bytes() as u64 - 1) == 0
}

/// Loads a value, zero-extended.
///
/// # Safety
/// The bytes at `addr` are readable memory with exposed provenance, and other threads touch them only with atomics.
#[inline(always)]
pub(super) unsafe fn load(addr: u64, size: Size) -> u64 {
    if !is_aligned(addr, size) {
        // SAFETY: as for this function.
        return unsafe { load_bytes(addr, size) };
    }
    // SAFETY: the memory is readable for `size` by the caller's promise, aligned by the test above, and nobody accesses it
    // other than atomically meanwhile.
    unsafe {
        match size {
            Size::B => AtomicU8::from_ptr(at(addr)).load(Ordering::Relaxed).into(),
            Size::H => AtomicU16::from_ptr(at(addr)).load(Ordering::Relaxed).into(),
            Size::W => AtomicU32::from_ptr(at(addr)).load(Ordering::Relaxed).into(),
            Size::Dw => AtomicU64::from_ptr(at(addr)).load(Ordering::Relaxed),
        }
    }
}

/// # Safety
/// As for [`load`].
#[cold]
unsafe fn load_bytes(addr: u64, size: Size) -> u64 {
    let mut bytes = [0; 8];
    for (byte, at_byte) in bytes[..size.bytes()].iter_mut().zip(addr..) {
        // SAFETY: one of the bytes that the caller vouches for; a byte is always aligned.
        *byte = unsafe { AtomicU8::from_ptr(at(at_byte)) }.load(Ordering::Relaxed);
    }
    u64::from_le_bytes(bytes)
}

/// Stores the low bytes of a value.
///
/// # Safety
/// The bytes at `addr` are writable memory with exposed provenance, and other threads touch them only with atomics.
#[inline(always)]
pub(super) unsafe fn store(addr: u64, size: Size, value: u64) {
    if !is_aligned(addr, size) {
        // SAFETY: as for this function.
        return unsafe { store_bytes(addr, size, value) };
    }
    // SAFETY: the memory is writable for `size` by the caller's promise, aligned by the test above, and nobody accesses it
    // other than atomically meanwhile.
    unsafe {
        match size {
            Size::B => AtomicU8::from_ptr(at(addr)).store(value as u8, Ordering::Relaxed),
            Size::H => AtomicU16::from_ptr(at(addr)).store(value as u16, Ordering::Relaxed),
            Size::W => AtomicU32::from_ptr(at(addr)).store(value as u32, Ordering::Relaxed),
            Size::Dw => AtomicU64::from_ptr(at(addr)).store(value, Ordering::Relaxed),
        }
    }
}

/// # Safety
/// As for [`store`].
#[cold]
unsafe fn store_bytes(addr: u64, size: Size, value: u64) {
    for (byte, at_byte) in value.to_le_bytes()[..size.bytes()].iter().zip(addr..) {
        // SAFETY: one of the bytes that the caller vouches for; a byte is always aligned.
        unsafe { AtomicU8::from_ptr(at(at_byte)) }.store(*byte, Ordering::Relaxed);
    }
}

/// Loads a value, zero-extended, before anything that follows.
///
/// # Safety
/// As for [`load`]; `addr` is [aligned](is_aligned).
pub(super) unsafe fn load_acquire(addr: u64, size: Size) -> u64 {
    // SAFETY: readable, aligned and accessed atomically only, by the caller's promise.
    unsafe {
        match size {
            Size::B => AtomicU8::from_ptr(at(addr)).load(Ordering::Acquire).into(),
            Size::H => AtomicU16::from_ptr(at(addr)).load(Ordering::Acquire).into(),
            Size::W => AtomicU32::from_ptr(at(addr)).load(Ordering::Acquire).into(),
            Size::Dw => AtomicU64::from_ptr(at(addr)).load(Ordering::Acquire),
        }
    }
}

/// Stores the low bytes of a value, after everything before.
///
/// # Safety
/// As for [`store`]; `addr` is [aligned](is_aligned).
pub(super) unsafe fn store_release(addr: u64, size: Size, value: u64) {
    // SAFETY: writable, aligned and accessed atomically only, by the caller's promise.
    unsafe {
        match size {
            Size::B => AtomicU8::from_ptr(at(addr)).store(value as u8, Ordering::Release),
            Size::H => AtomicU16::from_ptr(at(addr)).store(value as u16, Ordering::Release),
            Size::W => AtomicU32::from_ptr(at(addr)).store(value as u32, Ordering::Release),
            Size::Dw => AtomicU64::from_ptr(at(addr)).store(value, Ordering::Release),
        }
    }
}

/// An atomic read-modify-write of 4 or 8 bytes; returns the old value, zero-extended. `expected` matters to
/// [`AtomicOp::CmpXchg`] only.
///
/// # Safety
/// As for [`load`] and [`store`]; `addr` is [aligned](is_aligned).
pub(super) unsafe fn atomic(addr: u64, size: Size, op: AtomicOp, operand: u64, expected: u64) -> u64 {
    const ORDER: Ordering = Ordering::SeqCst;
    if size == Size::Dw {
        // SAFETY: writable, aligned and accessed atomically only, by the caller's promise.
        let cell = unsafe { AtomicU64::from_ptr(at(addr)) };
        match op {
            AtomicOp::Add { .. } => cell.fetch_add(operand, ORDER),
            AtomicOp::Or { .. } => cell.fetch_or(operand, ORDER),
            AtomicOp::And { .. } => cell.fetch_and(operand, ORDER),
            AtomicOp::Xor { .. } => cell.fetch_xor(operand, ORDER),
            AtomicOp::Xchg => cell.swap(operand, ORDER),
            AtomicOp::CmpXchg => match cell.compare_exchange(expected, operand, ORDER, ORDER) {
                Ok(old) | Err(old) => old,
            },
        }
    } else {
        // SAFETY: writable, aligned and accessed atomically only, by the caller's promise.
        let cell = unsafe { AtomicU32::from_ptr(at(addr)) };
        let operand = operand as u32;
        let old = match op {
            AtomicOp::Add { .. } => cell.fetch_add(operand, ORDER),
            AtomicOp::Or { .. } => cell.fetch_or(operand, ORDER),
            AtomicOp::And { .. } => cell.fetch_and(operand, ORDER),
            AtomicOp::Xor { .. } => cell.fetch_xor(operand, ORDER),
            AtomicOp::Xchg => cell.swap(operand, ORDER),
            AtomicOp::CmpXchg => match cell.compare_exchange(expected as u32, operand, ORDER, ORDER) {
                Ok(old) | Err(old) => old,
            },
        };
        old.into()
    }
}

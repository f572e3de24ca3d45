//! `BPF_MAP_TYPE_QUEUE` and `BPF_MAP_TYPE_STACK`: values without keys, pushed at one end, popped at the same or the other.
//!
//! ```text
//! 0     lock, head, tail                 u32 each, head is where the next value goes
//! 64    values                           max_entries + 1, 8-byte aligned
//! ```
//!
//! Both are one ring of values; empty if head and tail are equal, hence one value more than `max_entries`. Every operation
//! holds the lock; a signal handler that interrupted its holder gets `-EBUSY`, as an NMI in Linux.

use super::audit::{Audit, FindingKind};
use super::keyless::{self, Keyless};
use super::values::ValueOps;
use super::{Creation, MapCreateError, MapError, MapOps, Special, UpdateFlags};
use crate::lock::lock;
use crate::primitive::Ordering::Relaxed;
use crate::primitive::atomic::AtomicU32;
use crate::region::{Region, SharedBytes, round_up_8};
use crate::run::Run;

const LOCK: usize = 0;
const HEAD: usize = 4;
const TAIL: usize = 8;
const VALUES: usize = 64;

/// The greatest value that Linux has memory for.
const MAX_VALUE_SIZE: u32 = 4 << 20;

/// Which end values are popped from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    /// A queue.
    FirstIn,
    /// A stack.
    LastIn,
}

#[derive(Debug)]
struct Queue {
    region: Region,
    order: Order,
    value_size: usize,
    stride: usize,
    max_entries: u32,
}

pub(super) fn make_queue(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    make(creation, Order::FirstIn)
}

pub(super) fn make_stack(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    make(creation, Order::LastIn)
}

fn make(creation: &Creation<'_>, order: Order) -> Result<Box<dyn MapOps>, MapCreateError> {
    let def = creation.def;
    creation.check(def.key_size == 0, "key_size", def.key_size, "0 for a queue or stack")?;
    creation.check(def.value_size > 0, "value_size", def.value_size, "at least 1")?;
    creation.check(def.max_entries > 0, "max_entries", def.max_entries, "at least 1")?;
    let stride = round_up_8(def.value_size as usize);
    if def.value_size > MAX_VALUE_SIZE {
        return Err(creation.too_large(stride as u64));
    }
    let values = u64::from(def.max_entries) + 1;
    let queue = Queue {
        region: creation.reserve(stride as u64, VALUES as u64 + values * stride as u64)?,
        order,
        value_size: def.value_size as usize,
        stride,
        max_entries: def.max_entries,
    };
    Ok(keyless::make(creation, queue))
}

impl Keyless for Queue {
    const REFUSAL: MapError = MapError::Keyless;

    fn special(&self) -> Special<'_> {
        Special::Values(self)
    }

    fn recover(&mut self, audit: &mut Audit) {
        let lock = self.region.word32(LOCK);
        if lock.load(Relaxed) != 0 {
            audit.note(FindingKind::Lock, 0u32);
            lock.store(0, Relaxed);
        }
        let (head, tail) = (self.head().load(Relaxed), self.tail().load(Relaxed));
        if head > self.max_entries || tail > self.max_entries {
            audit.note(FindingKind::Reference, head.max(tail));
            self.head().store(0, Relaxed);
            self.tail().store(0, Relaxed);
        } else if head >= tail {
            audit.elements = (head - tail).into();
        } else {
            audit.elements = u64::from(self.max_entries) + 1 - u64::from(tail - head);
        }
    }
}

impl Queue {
    fn head(&self) -> &AtomicU32 {
        self.region.word32(HEAD)
    }

    fn tail(&self) -> &AtomicU32 {
        self.region.word32(TAIL)
    }

    fn at(&self, index: u32) -> SharedBytes<'_> {
        self.region
            .bytes(VALUES + index as usize * self.stride, self.value_size)
    }

    fn after(&self, index: u32) -> u32 {
        if index == self.max_entries { 0 } else { index + 1 }
    }

    fn before(&self, index: u32) -> u32 {
        if index == 0 { self.max_entries } else { index - 1 }
    }

    /// Gives the next value to `take`, and removes it if that is asked for.
    fn take(&self, run: &Run<'_>, remove: bool, take: impl FnOnce(SharedBytes<'_>)) -> Result<(), MapError> {
        let _guard = lock(run, self.region.word32(LOCK))?;
        let (head, tail) = (self.head().load(Relaxed), self.tail().load(Relaxed));
        if head == tail {
            return Err(MapError::NotFound);
        }
        match self.order {
            Order::FirstIn => {
                take(self.at(tail));
                if remove {
                    self.tail().store(self.after(tail), Relaxed);
                }
            }
            Order::LastIn => {
                let top = self.before(head);
                take(self.at(top));
                if remove {
                    self.head().store(top, Relaxed);
                }
            }
        }
        Ok(())
    }
}

impl ValueOps for Queue {
    fn push(&self, run: &Run<'_>, value: SharedBytes<'_>, flags: u64) -> Result<(), MapError> {
        let replace = match UpdateFlags::from_bits(flags) {
            UpdateFlags::ANY => false,
            UpdateFlags::EXIST => true,
            _ => return Err(MapError::InvalidFlags { flags }),
        };
        let _guard = lock(run, self.region.word32(LOCK))?;
        let (head, tail) = (self.head().load(Relaxed), self.tail().load(Relaxed));
        let next = self.after(head);
        if next == tail {
            if !replace {
                return Err(MapError::Full {
                    max_entries: self.max_entries,
                });
            }
            // The oldest value makes room.
            self.tail().store(self.after(tail), Relaxed);
        }
        // SAFETY: memory of this map's region, which is writable.
        unsafe { self.at(head).write(value) };
        self.head().store(next, Relaxed);
        Ok(())
    }

    unsafe fn pop(&self, run: &Run<'_>, value: SharedBytes<'_>) -> Result<(), MapError> {
        // SAFETY: `value` is writable by the caller's word.
        self.take(run, true, |found| unsafe { value.write(found) })
    }

    unsafe fn peek(&self, run: &Run<'_>, value: SharedBytes<'_>) -> Result<(), MapError> {
        // SAFETY: as above.
        self.take(run, false, |found| unsafe { value.write(found) })
    }
}

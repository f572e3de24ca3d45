//! The stack of one frame: which bytes are initialised, and what was spilled where.
//!
//! ```text
//! offset  -16 ... -9   -8 ... -1
//!         slot 1       slot 0        (the frame pointer points behind slot 0)
//! ```
//!
//! Each byte is uninitialised, some byte, or zero. A slot may also remember the value that was stored to its first `size`
//! bytes in one piece. That is extra knowledge: the bytes alone describe the slot soundly, except that the bytes of a
//! pointer are not readable one by one.

use super::scalar::Scalar;
use super::value::{IdMap, Value};

/// Bytes in a frame.
pub(crate) const FRAME_SIZE: i64 = 512;
const SLOT: i64 = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Byte {
    Uninit,
    Any,
    Zero,
}

/// A value stored in one piece at the start of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Spill {
    value: Value,
    size: u8,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Slot {
    bytes: [Byte; SLOT as usize],
    spill: Option<Spill>,
}

const EMPTY: Slot = Slot {
    bytes: [Byte::Uninit; SLOT as usize],
    spill: None,
};

impl Slot {
    fn holds_pointer(&self) -> bool {
        matches!(
            self.spill,
            Some(Spill {
                value: Value::Pointer(_),
                ..
            })
        )
    }
}

/// Why stack memory cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StackFault {
    /// Some byte may not be initialised.
    Uninit {
        /// Its offset.
        off: i64,
    },
    /// The bytes are part of a spilled pointer, or a pointer among other bytes.
    Pointer {
        /// Offset of the first such byte.
        off: i64,
    },
}

/// The stack of one frame.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Stack {
    /// Slot `i` is the bytes from `-8 * (i + 1)`; slots beyond the end are empty.
    slots: Vec<Slot>,
}

/// Slot and byte of an offset in `-512..0`.
fn place(off: i64) -> (usize, usize) {
    ((-off - 1).div_euclid(SLOT) as usize, off.rem_euclid(SLOT) as usize)
}

impl Stack {
    fn slot(&self, index: usize) -> &Slot {
        self.slots.get(index).unwrap_or(&EMPTY)
    }

    fn slot_mut(&mut self, index: usize) -> &mut Slot {
        if index >= self.slots.len() {
            self.slots.resize(index + 1, EMPTY);
        }
        &mut self.slots[index]
    }

    /// Bytes from the lowest one ever written to the top, a multiple of 8.
    #[cfg(test)]
    fn depth(&self) -> usize {
        self.slots.len() * SLOT as usize
    }

    /// What a load of `size` bytes (1, 2, 4 or 8) at `off` yields.
    pub(crate) fn load(&self, off: i64, size: usize) -> Result<Value, StackFault> {
        let (index, first) = place(off);
        if let Some(spill) = self.slot(index).spill.filter(|_| first == 0) {
            match spill.value {
                value if usize::from(spill.size) == size => return Ok(value),
                Value::Scalar(scalar, _) if usize::from(spill.size) > size => {
                    return Ok(Value::Scalar(scalar.truncated(8 * size as u32), 0));
                }
                _ => {}
            }
        }
        self.readable(off, size as i64)?;
        Ok(if self.is_zero(off, size as i64) {
            Value::constant(0)
        } else {
            Value::Scalar(Scalar::loaded(size, false), 0)
        })
    }

    /// Whether all of `len` bytes from `off` are initialised and none is part of a pointer.
    pub(crate) fn readable(&self, off: i64, len: i64) -> Result<(), StackFault> {
        for at in off..off + len {
            let (index, byte) = place(at);
            let slot = self.slot(index);
            if slot.bytes[byte] == Byte::Uninit {
                return Err(StackFault::Uninit { off: at });
            }
            if slot.holds_pointer() {
                return Err(StackFault::Pointer { off: at });
            }
        }
        Ok(())
    }

    /// Whether all of `len` bytes from `off` are zero.
    fn is_zero(&self, off: i64, len: i64) -> bool {
        (off..off + len)
            .map(place)
            .all(|(index, byte)| self.slot(index).bytes[byte] == Byte::Zero)
    }

    /// Stores `size` bytes of `value` at `off`, which is a multiple of `size`.
    pub(crate) fn store(&mut self, off: i64, size: usize, value: &Value) {
        let (index, first) = place(off);
        let kept = match value {
            Value::Scalar(scalar, id) => {
                let low = scalar.truncated(8 * size as u32);
                // A number that fits is stored whole, and stays the same number.
                Value::Scalar(low, if low == *scalar { *id } else { 0 })
            }
            other => *other,
        };
        let slot = self.slot_mut(index);
        slot.spill = (first == 0).then_some(Spill {
            value: kept,
            size: size as u8,
        });
        let bytes = if value.is_zero() { Byte::Zero } else { Byte::Any };
        slot.bytes[first..first + size].fill(bytes);
    }

    /// Records that `len` bytes from `off` were overwritten with something, all of them.
    pub(crate) fn overwrite(&mut self, off: i64, len: i64) {
        for at in off..off + len {
            let (index, byte) = place(at);
            let slot = self.slot_mut(index);
            slot.spill = None;
            slot.bytes[byte] = Byte::Any;
        }
    }

    /// Records that some of `len` bytes from `off` may have been overwritten.
    pub(crate) fn may_overwrite(&mut self, off: i64, len: i64, zero: bool) {
        for at in off..off + len {
            let (index, byte) = place(at);
            let slot = self.slot_mut(index);
            slot.spill = None;
            if slot.bytes[byte] == Byte::Zero && !zero {
                slot.bytes[byte] = Byte::Any;
            }
        }
    }

    /// The spilled values.
    pub(crate) fn spills_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.slots
            .iter_mut()
            .filter_map(|slot| slot.spill.as_mut())
            .map(|spill| &mut spill.value)
    }

    /// The spilled values.
    pub(crate) fn spills(&self) -> impl Iterator<Item = &Value> {
        self.slots
            .iter()
            .filter_map(|slot| slot.spill.as_ref())
            .map(|spill| &spill.value)
    }

    /// Whether `self` stands for no more states than `old` (see [`Value::leq`]).
    pub(crate) fn leq(&self, old: &Stack, ids: &mut IdMap) -> bool {
        old.slots
            .iter()
            .enumerate()
            .all(|(index, old_slot)| self.slot_leq(index, old_slot, ids))
    }

    fn slot_leq(&self, index: usize, old: &Slot, ids: &mut IdMap) -> bool {
        let new = self.slot(index);
        let bytes = new.bytes.iter().zip(&old.bytes).all(|(new, old)| match old {
            Byte::Uninit => true,
            Byte::Any => *new != Byte::Uninit,
            Byte::Zero => *new == Byte::Zero,
        });
        if !bytes {
            return false;
        }
        match &old.spill {
            Some(old_spill) => {
                let off = -SLOT * (index as i64 + 1);
                self.load(off, old_spill.size.into())
                    .is_ok_and(|value| value.leq(&old_spill.value, ids))
            }
            // Bytes that could be read as numbers must not be part of a pointer.
            None => !new.holds_pointer() || old.bytes.iter().all(|byte| *byte == Byte::Uninit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pointer::{Pointer, PointerKind};

    const CTX: Value = Value::Pointer(Pointer::to(PointerKind::Context));

    fn leq(new: &Stack, old: &Stack) -> bool {
        new.leq(old, &mut IdMap::default())
    }

    #[test]
    fn places() {
        assert_eq!(place(-1), (0, 7));
        assert_eq!(place(-8), (0, 0));
        assert_eq!(place(-9), (1, 7));
        assert_eq!(place(-512), (63, 0));
    }

    #[test]
    fn only_written_bytes_are_readable() {
        let mut s = Stack::default();
        assert_eq!(s.load(-8, 8), Err(StackFault::Uninit { off: -8 }));
        s.store(-8, 4, &Value::UNKNOWN);
        assert!(s.load(-8, 4).is_ok());
        assert!(s.load(-7, 1).is_ok());
        assert_eq!(s.load(-8, 8), Err(StackFault::Uninit { off: -4 }));
        s.store(-4, 4, &Value::constant(0));
        assert_eq!(s.load(-4, 2), Ok(Value::constant(0)));
        assert!(s.load(-8, 8).is_ok());
        assert_eq!(s.depth(), 8);
    }

    #[test]
    fn spilled_values_come_back() {
        let mut s = Stack::default();
        s.store(-8, 8, &CTX);
        assert_eq!(s.load(-8, 8), Ok(CTX));
        assert_eq!(s.load(-8, 4), Err(StackFault::Pointer { off: -8 }));
        assert_eq!(s.load(-4, 4), Err(StackFault::Pointer { off: -4 }));
        s.store(-4, 4, &Value::constant(1));
        assert_eq!(s.load(-8, 8), Ok(Value::UNKNOWN));
        s.store(-16, 8, &Value::constant(0x1_0000_0002));
        assert_eq!(s.load(-16, 4), Ok(Value::constant(2)));
        assert_eq!(s.load(-12, 4), Ok(Value::Scalar(Scalar::loaded(4, false), 0)));
        s.store(-24, 4, &Value::constant(u64::MAX));
        assert_eq!(s.load(-24, 4), Ok(Value::constant(0xffff_ffff)));
    }

    #[test]
    fn uncertain_writes_initialise_nothing() {
        let mut s = Stack::default();
        s.store(-16, 8, &Value::constant(0));
        s.may_overwrite(-16, 16, false);
        assert_eq!(s.load(-16, 8), Ok(Value::UNKNOWN));
        assert_eq!(s.load(-8, 1), Err(StackFault::Uninit { off: -8 }));
        s.overwrite(-8, 8);
        assert!(s.readable(-16, 16).is_ok());
    }

    #[test]
    fn ordering() {
        let empty = Stack::default();
        let mut any = Stack::default();
        any.overwrite(-8, 8);
        let mut zero = Stack::default();
        zero.store(-8, 8, &Value::constant(0));
        let mut pointer = Stack::default();
        pointer.store(-8, 8, &CTX);
        for s in [&empty, &any, &zero, &pointer] {
            assert!(leq(s, s));
            assert!(leq(s, &empty), "what was not readable may be anything");
        }
        assert!(leq(&zero, &any));
        assert!(!leq(&any, &zero));
        assert!(!leq(&empty, &any));
        assert!(!leq(&pointer, &any) && !leq(&any, &pointer));
        let mut unknown = Stack::default();
        unknown.store(-8, 8, &Value::UNKNOWN);
        assert!(leq(&any, &unknown) && leq(&unknown, &any));
    }
}

//! The stack of one frame: which bytes are initialised, and what was spilled where.
//!
//! ```text
//! offset  -16 ... -9   -8 ... -1
//!         slot 1       slot 0        (the frame pointer points behind slot 0)
//! ```
//!
//! A slot may remember the value that was stored to its first 1, 2, 4 or 8 bytes in one piece: a *spill*. Each other byte
//! is uninitialised, some byte, or zero. That a byte is zero is always compared exactly; what a spilled number is matters
//! only where it was asked for (see `precision`), so a number is kept as a spill where it can be.
//!
//! Uninitialised bytes may be read, as in Linux by privileged programs, and are some byte each: a program that does so has
//! its frame cleared on entry ([`Subprog::clear_stack`](crate::Subprog::clear_stack)).

use std::rc::Rc;

use hitless_isa::{AluOp, Width};

use super::iterator::OpenIterator;
use super::pointer::Id;
use super::scalar::{Scalar, arithmetic};
use super::value::{IdMap, Link, Value};

/// Bytes in a frame.
pub(crate) const FRAME_SIZE: i64 = 512;
const SLOT: i64 = 8;

/// A set of slots of one frame, bit `i` for slot `i`.
pub(crate) type Slots = u64;

/// Eight bytes of the stack. Bits stand for bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Slot {
    /// The bytes that were written. Those of the spill are.
    written: u8,
    /// The bytes that are zero, the spill's not among them.
    zero: u8,
    /// How many bytes the spill has.
    size: u8,
    spill: Option<Rc<Value>>,
}

impl Slot {
    fn pointer(&self) -> Option<&Value> {
        self.spill.as_deref().filter(|value| value.as_pointer().is_some())
    }

    /// The number in some of the spill's bytes, if the bytes are all the spill's.
    fn part(&self, first: usize, size: usize) -> Option<Value> {
        let Value::Scalar(scalar, link) = self.spill.as_deref()? else {
            return None;
        };
        if first + size > usize::from(self.size) {
            return None;
        }
        let shifted = if first == 0 {
            *scalar
        } else {
            arithmetic(Width::W64, AluOp::Rsh, scalar, &Scalar::constant(8 * first as u64))
        };
        let part = shifted.truncated(8 * size as u32);
        let same = first == 0 && part == *scalar;
        Some(Value::Scalar(part, if same { *link } else { Link::NONE }))
    }

    /// Makes plain bytes of the spill.
    fn forget_spill(&mut self) {
        self.spill = None;
        self.size = 0;
    }
}

fn bits(first: usize, len: usize) -> u8 {
    ((0xffu16 >> (8 - len)) << first) as u8
}

/// What a load cannot find: part of a spilled pointer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PointerByte {
    /// Offset of the first such byte.
    pub(crate) off: i64,
}

/// What a load finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Loaded {
    /// The value.
    pub(crate) value: Value,
    /// Whether it is what was spilled there, or part of it.
    pub(crate) spilled: bool,
}

/// A number in bytes of the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Constant {
    /// What the bytes are.
    pub(crate) bytes: u64,
    /// In which slot they were spilled, as part of which number.
    pub(crate) spilled: Option<(usize, u64)>,
}

/// What is in a slot: for each byte, the lowest first, the kernel's letter for its sort, or nothing if it is the spill's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SlotBytes<'a> {
    pub(crate) bytes: [Option<char>; 8],
    pub(crate) spill: Option<&'a Value>,
}

/// What a dynptr's bytes lie in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DynptrMemory {
    /// A value of a map.
    MapValue { map: u32 },
    /// A record of a ring buffer; the dynptr is a reference.
    Record { map: u32 },
    /// The packet; `skb` says that it may be moved by a write.
    Packet { skb: bool },
}

/// Where bytes of the packet may be copied to, for a slice that would not lie in one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SliceBuffer {
    /// The stack of a frame, at this offset.
    Stack { frame: u8, off: i16 },
    /// A value of a map.
    MapValue { map: u32 },
}

/// A `struct bpf_dynptr` on the stack. Only helpers look into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Dynptr {
    /// Where it starts, a multiple of 8.
    pub(crate) off: i64,
    /// Names it, and the reference if it is one.
    pub(crate) id: Id,
    /// What its bytes lie in.
    pub(crate) memory: DynptrMemory,
}

impl Dynptr {
    /// Bytes that it takes.
    pub(crate) const SIZE: i64 = 16;

    fn meets(&self, off: i64, len: i64) -> bool {
        off < self.off + Dynptr::SIZE && self.off < off + len
    }
}

/// The stack of one frame.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Stack {
    /// Slot `i` is the bytes from `-8 * (i + 1)`; slots beyond the end are empty.
    slots: Vec<Slot>,
    /// In the order of their offsets; they do not overlap.
    dynptrs: Vec<Dynptr>,
    /// Likewise.
    iterators: Vec<OpenIterator>,
}

/// Slot and byte of an offset in `-512..0`.
fn place(off: i64) -> (usize, usize) {
    ((-off - 1).div_euclid(SLOT) as usize, off.rem_euclid(SLOT) as usize)
}

/// The slots that have some of `len` bytes from `off`.
pub(crate) fn slots_of(off: i64, len: i64) -> Slots {
    if len <= 0 {
        return 0;
    }
    let (last, first) = (place(off).0, place(off + len - 1).0);
    (u64::MAX >> (63 - last)) & (u64::MAX << first)
}

/// The slots that have nothing but bytes of the `len` from `off`.
pub(crate) fn whole_slots_of(off: i64, len: i64) -> Slots {
    let (start, end) = (-(-off / SLOT * SLOT), (off + len).div_euclid(SLOT) * SLOT);
    slots_of(start, end - start)
}

const EMPTY: Slot = Slot {
    written: 0,
    zero: 0,
    size: 0,
    spill: None,
};

impl Stack {
    fn slot(&self, index: usize) -> &Slot {
        self.slots.get(index).unwrap_or(const { &EMPTY })
    }

    fn slot_mut(&mut self, index: usize) -> &mut Slot {
        if index >= self.slots.len() {
            self.slots.resize(index + 1, EMPTY);
        }
        &mut self.slots[index]
    }

    /// The dynptrs that have some of `len` bytes from `off`.
    pub(crate) fn dynptrs(&self, off: i64, len: i64) -> impl Iterator<Item = &Dynptr> {
        self.dynptrs.iter().filter(move |dynptr| dynptr.meets(off, len))
    }

    /// The iterators that have some of `len` bytes from `off`.
    pub(crate) fn iterators(&self, off: i64, len: i64) -> impl Iterator<Item = &OpenIterator> {
        self.iterators.iter().filter(move |iterator| iterator.meets(off, len))
    }

    /// All iterators.
    pub(crate) fn all_iterators(&self) -> &[OpenIterator] {
        &self.iterators
    }

    /// Makes an iterator where there is none.
    pub(crate) fn make_iterator(&mut self, iterator: OpenIterator) {
        let index = self.iterators.partition_point(|other| other.off < iterator.off);
        self.iterators.insert(index, iterator);
    }

    /// Changes the state of an iterator.
    pub(crate) fn change_iterator(&mut self, id: Id, change: impl FnOnce(&mut OpenIterator)) {
        if let Some(iterator) = self.iterators.iter_mut().find(|iterator| iterator.id == id) {
            change(iterator);
        }
    }

    /// Iterators that have some of `len` bytes from `off` become plain bytes.
    pub(crate) fn unmake_iterators(&mut self, off: i64, len: i64) {
        self.iterators.retain(|iterator| !iterator.meets(off, len));
    }

    /// Makes a dynptr where there is none.
    pub(crate) fn make_dynptr(&mut self, dynptr: Dynptr) {
        self.overwrite(dynptr.off, Dynptr::SIZE);
        let index = self.dynptrs.partition_point(|other| other.off < dynptr.off);
        self.dynptrs.insert(index, dynptr);
    }

    /// A dynptr becomes plain bytes.
    pub(crate) fn unmake_dynptr(&mut self, id: Id) {
        self.dynptrs.retain(|dynptr| dynptr.id != id);
    }

    /// What a load of `size` bytes (1, 2, 4 or 8) at `off`, a multiple of `size`, yields.
    pub(crate) fn load(&self, off: i64, size: usize) -> Result<Loaded, PointerByte> {
        let (index, first) = place(off);
        let slot = self.slot(index);
        if let Some(pointer) = slot.pointer() {
            if first == 0 && size == 8 {
                return Ok(Loaded {
                    value: *pointer,
                    spilled: true,
                });
            }
            return Err(PointerByte { off });
        }
        if let Some(value) = slot.part(first, size) {
            return Ok(Loaded { value, spilled: true });
        }
        let value = if bits(first, size) & !slot.zero == 0 {
            Value::constant(0)
        } else {
            Value::Scalar(Scalar::loaded(size, false), Link::NONE)
        };
        Ok(Loaded { value, spilled: false })
    }

    /// The number in `len` bytes from `off`, if it is known as Linux knows it: all bytes are zero, or they are a constant
    /// that was spilled, or its end.
    pub(crate) fn constant(&self, off: i64, len: i64) -> Option<Constant> {
        let zero = |at: i64| {
            let (index, byte) = place(at);
            self.slot(index).zero & 1 << byte != 0
        };
        if (off..off + len).all(zero) {
            return Some(Constant {
                bytes: 0,
                spilled: None,
            });
        }
        let (index, first) = place(off);
        let slot = self.slot(index);
        let whole = slot.spill.as_deref()?.as_scalar()?.as_constant()?;
        (first as i64 + len == slot.size.into()).then_some(Constant {
            bytes: whole >> (8 * first),
            spilled: Some((index, whole)),
        })
    }

    /// Whether all of `len` bytes from `off` were written.
    pub(crate) fn is_written(&self, off: i64, len: i64) -> bool {
        (off..off + len).all(|at| {
            let (index, byte) = place(at);
            self.slot(index).written & 1 << byte != 0
        })
    }

    /// Whether bytes of the slots `read` that were written in `old` are not in `self`.
    pub(crate) fn lacks_written(&self, old: &Stack, read: Slots) -> bool {
        old.slots
            .iter()
            .enumerate()
            .any(|(index, old)| read & 1 << index != 0 && old.written & !self.slot(index).written != 0)
    }

    /// Whether a store at `off` keeps what is stored as a spill; otherwise zero is kept as zero bytes.
    pub(crate) fn keeps_spill(off: i64) -> bool {
        place(off).1 == 0
    }

    /// Stores `size` bytes of `value` at `off`, which is a multiple of `size`.
    pub(crate) fn store(&mut self, off: i64, size: usize, value: &Value) {
        let (index, first) = place(off);
        let kept = match value {
            Value::Scalar(scalar, link) => {
                let low = scalar.truncated(8 * size as u32);
                // A number that fits is stored whole, and stays the same number.
                Value::Scalar(low, if low == *scalar { *link } else { Link::NONE })
            }
            other => *other,
        };
        let slot = self.slot_mut(index);
        let stored = bits(first, size);
        slot.written |= stored;
        slot.zero &= !stored;
        slot.forget_spill();
        if Stack::keeps_spill(off) {
            slot.spill = Some(Rc::new(kept));
            slot.size = size as u8;
        } else if value.is_zero() {
            slot.zero |= stored;
        }
    }

    /// Records that `len` bytes from `off` were overwritten with something, all of them.
    pub(crate) fn overwrite(&mut self, off: i64, len: i64) {
        self.change(off, len, |slot, bytes| {
            slot.forget_spill();
            slot.written |= bytes;
            slot.zero &= !bytes;
        });
    }

    /// Records that some of `len` bytes from `off` may have been overwritten.
    pub(crate) fn may_overwrite(&mut self, off: i64, len: i64, zero: bool) {
        self.change(off, len, |slot, bytes| {
            // A zero that may have become zero stays one.
            if zero && slot.spill.as_deref().is_none_or(Value::is_zero) {
                return;
            }
            slot.forget_spill();
            if !zero {
                slot.zero &= !bytes;
            }
        });
    }

    /// Changes each slot that has some of `len` bytes from `off`.
    fn change(&mut self, off: i64, len: i64, change: impl Fn(&mut Slot, u8)) {
        let mut at = off;
        while at < off + len {
            let (index, first) = place(at);
            let part = (SLOT - first as i64).min(off + len - at);
            let slot = self.slot_mut(index);
            change(slot, bits(first, part as usize));
            at += part;
        }
    }

    /// The spilled values that `concerns` holds of, to be changed.
    pub(crate) fn spills_mut(&mut self, concerns: impl Fn(&Value) -> bool) -> impl Iterator<Item = &mut Value> {
        self.slots
            .iter_mut()
            .filter_map(|slot| slot.spill.as_mut())
            .filter(move |value| concerns(value))
            .map(Rc::make_mut)
    }

    /// The spilled values, with their slots.
    pub(crate) fn spills(&self) -> impl Iterator<Item = (usize, &Value)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(index, slot)| slot.spill.as_deref().map(|value| (index, value)))
    }

    /// The slots as the log shows them, but for those beyond the last that was used.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = (usize, SlotBytes<'_>)> {
        self.slots.iter().enumerate().map(|(index, slot)| {
            let sort = |byte| match 1u8 << byte {
                _ if byte < usize::from(slot.size) => None,
                bit if slot.zero & bit != 0 => Some('0'),
                bit if slot.written & bit != 0 => Some('m'),
                _ => Some('?'),
            };
            let spill = slot.spill.as_deref();
            let bytes = std::array::from_fn(sort);
            (index, SlotBytes { bytes, spill })
        })
    }

    /// The slots that are not the same in `other`.
    pub(crate) fn differing(&self, other: &Stack) -> Slots {
        let len = self.slots.len().max(other.slots.len());
        (0..len)
            .filter(|&index| self.slot(index) != other.slot(index))
            .fold(0, |slots, index| slots | 1 << index)
    }

    /// The slots in which both have spills of the same size, with the values of `self` and of `other`.
    pub(crate) fn spilled_in_both<'a>(
        &'a self,
        other: &'a Stack,
    ) -> impl Iterator<Item = (usize, &'a Value, &'a Value)> {
        let pairs = self.slots.iter().zip(&other.slots).enumerate();
        pairs.filter_map(|(index, (new, old))| {
            let (new_value, old_value) = (new.spill.as_deref()?, old.spill.as_deref()?);
            (new.size == old.size).then_some((index, new_value, old_value))
        })
    }

    /// Makes the number spilled in a slot any number.
    pub(crate) fn forget_number(&mut self, slot: usize) {
        let slot = &mut self.slots[slot];
        let any = Value::Scalar(Scalar::loaded(usize::from(slot.size), false), Link::NONE);
        slot.spill = Some(Rc::new(any));
    }

    /// Whether `self` stands for no more states than `old` in the slots `read`, where of the numbers spilled in `old` only
    /// those in `precise` matter (see [`Value::leq`]).
    pub(crate) fn leq(&self, old: &Stack, read: Slots, precise: Slots, ids: &mut IdMap) -> bool {
        // Dynptrs are compared wherever they are, read or not: overwriting one has consequences.
        let same_dynptrs =
            self.dynptrs.len() == old.dynptrs.len()
                && self.dynptrs.iter().zip(&old.dynptrs).all(|(new, old)| {
                    new.off == old.off && new.memory == old.memory && ids.rename_object(old.id, new.id)
                });
        let same_iterators = self.iterators.len() == old.iterators.len()
            && self
                .iterators
                .iter()
                .zip(&old.iterators)
                .all(|(new, old)| new.is(old, ids));
        if !same_dynptrs || !same_iterators {
            return false;
        }
        let mut left = read;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            if index >= old.slots.len() {
                // All of it was unwritten then, and so read as some bytes.
                break;
            }
            if !slot_leq(self.slot(index), &old.slots[index], precise & 1 << index != 0, ids) {
                return false;
            }
        }
        true
    }
}

fn slot_leq(new: &Slot, old: &Slot, precise: bool, ids: &mut IdMap) -> bool {
    let zero = if let Some(old_value) = &old.spill {
        let size = usize::from(old.size);
        let found = match new.pointer() {
            Some(pointer) if new.size == old.size => Some(*pointer),
            Some(_) => None,
            None if old_value.as_pointer().is_some() => None,
            // Bytes that were not stored in one piece are any number, or zero.
            None => new.part(0, size).or_else(|| {
                let known = bits(0, size) & !new.zero == 0;
                Some(if known {
                    Value::constant(0)
                } else {
                    Value::Scalar(Scalar::loaded(size, false), Link::NONE)
                })
            }),
        };
        if !found.is_some_and(|value| value.leq(old_value, precise, ids)) {
            return false;
        }
        old.zero
    } else if new.pointer().is_some() {
        // Bytes that could be read as numbers must not be part of a pointer, unless they were not written at all.
        return old.written == 0;
    } else {
        old.zero
    };
    // Bytes that were uninitialised may be anything: they were read as such.
    zero & !new.zero == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pointer::{Pointer, PointerKind};

    const CTX: Value = Value::Pointer(Pointer::to(PointerKind::Context));

    fn leq(new: &Stack, old: &Stack) -> bool {
        new.leq(old, u64::MAX, u64::MAX, &mut IdMap::default())
    }

    fn value(s: &Stack, off: i64, size: usize) -> Option<Value> {
        s.load(off, size).ok().map(|loaded| loaded.value)
    }

    fn unknown(size: usize) -> Value {
        Value::Scalar(Scalar::loaded(size, false), Link::NONE)
    }

    #[test]
    fn places() {
        assert_eq!(place(-1), (0, 7));
        assert_eq!(place(-8), (0, 0));
        assert_eq!(place(-9), (1, 7));
        assert_eq!(place(-512), (63, 0));
        assert_eq!(slots_of(-8, 8), 1);
        assert_eq!(slots_of(-9, 2), 0b11);
        assert_eq!(slots_of(-512, 512), u64::MAX);
        assert_eq!(slots_of(-512, 8), 1 << 63);
        assert_eq!(slots_of(-8, 0), 0);
        assert_eq!(whole_slots_of(-16, 16), 0b11);
        assert_eq!(whole_slots_of(-15, 15), 0b01);
        assert_eq!(whole_slots_of(-16, 15), 0b10);
        assert_eq!(whole_slots_of(-7, 6), 0);
    }

    #[test]
    fn what_was_not_written_is_some_number() {
        let mut s = Stack::default();
        assert_eq!(value(&s, -8, 8), Some(Value::UNKNOWN));
        assert!(!s.is_written(-8, 8));
        s.store(-8, 4, &Value::UNKNOWN);
        assert!(s.is_written(-8, 4) && s.is_written(-7, 1));
        assert!(!s.is_written(-8, 8));
        s.store(-4, 4, &Value::constant(0));
        assert_eq!(value(&s, -4, 2), Some(Value::constant(0)));
        assert!(s.is_written(-8, 8));
    }

    #[test]
    fn spilled_values_come_back() {
        let mut s = Stack::default();
        s.store(-8, 8, &CTX);
        assert_eq!(value(&s, -8, 8), Some(CTX));
        assert_eq!(s.load(-8, 4), Err(PointerByte { off: -8 }));
        assert_eq!(s.load(-4, 4), Err(PointerByte { off: -4 }));
        s.store(-4, 4, &Value::constant(1));
        assert_eq!(value(&s, -8, 8), Some(Value::UNKNOWN));
        s.store(-16, 8, &Value::constant(0x1_0000_0002));
        assert_eq!(value(&s, -16, 4), Some(Value::constant(2)));
        assert_eq!(value(&s, -12, 4), Some(Value::constant(1)));
        assert_eq!(value(&s, -12, 2), Some(Value::constant(1)));
        assert_eq!(value(&s, -10, 2), Some(Value::constant(0)));
        s.store(-24, 4, &Value::constant(u64::MAX));
        assert_eq!(value(&s, -24, 4), Some(Value::constant(0xffff_ffff)));
        assert_eq!(value(&s, -24, 8), Some(Value::UNKNOWN));
    }

    #[test]
    fn constants() {
        let known = |s: &Stack, off, len| s.constant(off, len).map(|constant| constant.bytes);
        let mut s = Stack::default();
        assert_eq!(known(&s, -4, 4), None, "nothing was written");
        s.store(-8, 8, &Value::constant(0x5_0000_0002));
        assert_eq!(known(&s, -8, 8), Some(0x5_0000_0002));
        assert_eq!(known(&s, -4, 4), Some(5), "the bytes, not the whole number");
        assert_eq!(
            known(&s, -8, 4),
            None,
            "Linux does not look at the start of a longer one"
        );
        s.store(-16, 4, &Value::constant(7));
        assert_eq!(known(&s, -16, 4), Some(7));
        s.store(-12, 4, &Value::constant(0));
        assert_eq!(known(&s, -12, 4), Some(0));
        assert_eq!(known(&s, -14, 4), None, "partly spilled");
        s.store(-20, 4, &Value::constant(3));
        assert_eq!(known(&s, -20, 4), None, "only zero is kept beside the start of a slot");
        s.overwrite(-16, 1);
        assert_eq!(known(&s, -16, 4), None);
    }

    #[test]
    fn narrow_spills_keep_the_other_bytes() {
        let mut s = Stack::default();
        s.store(-4, 4, &Value::constant(0));
        s.store(-8, 4, &Value::constant(7));
        assert_eq!(value(&s, -8, 4), Some(Value::constant(7)));
        assert_eq!(value(&s, -4, 4), Some(Value::constant(0)));
        assert_eq!(value(&s, -8, 8), Some(Value::UNKNOWN));
        // A later store beside it destroys the spill, not the bytes.
        s.store(-4, 1, &Value::constant(0));
        assert_eq!(value(&s, -8, 4), Some(unknown(4)));
        assert!(s.is_written(-8, 8));
    }

    #[test]
    fn links_survive_spills_of_the_whole_number() {
        let link = Link { id: 3, off: 1 };
        let mut s = Stack::default();
        s.store(-8, 4, &Value::Scalar(Scalar::loaded(2, false), link));
        assert_eq!(value(&s, -8, 4), Some(Value::Scalar(Scalar::loaded(2, false), link)));
        assert_eq!(value(&s, -8, 2), Some(Value::Scalar(Scalar::loaded(2, false), link)));
        assert_eq!(value(&s, -8, 1), Some(unknown(1)));
        s.store(-8, 1, &Value::Scalar(Scalar::loaded(2, false), link));
        assert_eq!(value(&s, -8, 1), Some(unknown(1)));
    }

    #[test]
    fn uncertain_writes_initialise_nothing() {
        let mut s = Stack::default();
        s.store(-12, 4, &Value::constant(0));
        s.store(-16, 4, &Value::constant(0));
        s.store(-24, 8, &Value::constant(1));
        s.may_overwrite(-24, 24, true);
        assert_eq!(value(&s, -12, 4), Some(Value::constant(0)));
        assert_eq!(value(&s, -16, 4), Some(Value::constant(0)));
        assert_eq!(value(&s, -24, 8), Some(Value::UNKNOWN));
        s.may_overwrite(-16, 16, false);
        assert_eq!(value(&s, -16, 8), Some(Value::UNKNOWN));
        assert!(!s.is_written(-8, 1));
        s.overwrite(-8, 8);
        assert!(s.is_written(-16, 16));
    }

    #[test]
    fn ordering() {
        let empty = Stack::default();
        let mut any = Stack::default();
        any.overwrite(-8, 8);
        let mut zero = Stack::default();
        zero.store(-7, 1, &Value::constant(0));
        let mut pointer = Stack::default();
        pointer.store(-8, 8, &CTX);
        let mut five = Stack::default();
        five.store(-8, 8, &Value::constant(5));
        for s in [&empty, &any, &zero, &pointer, &five] {
            assert!(leq(s, s));
            assert!(leq(s, &empty), "what was not written may be anything");
        }
        assert!(leq(&zero, &any) && leq(&five, &any));
        assert!(!leq(&any, &zero));
        assert!(leq(&empty, &any) && empty.lacks_written(&any, 1) && !any.lacks_written(&zero, 1));
        assert!(!leq(&pointer, &any) && !leq(&any, &pointer) && !leq(&five, &pointer));
        let mut unknown = Stack::default();
        unknown.store(-8, 8, &Value::UNKNOWN);
        assert!(leq(&any, &unknown) && leq(&unknown, &any) && leq(&five, &unknown));
        assert!(!leq(&unknown, &five));
        let mut ids = IdMap::default();
        assert!(unknown.leq(&five, 1, 0, &mut ids), "the number does not matter");
        assert!(!pointer.leq(&five, 1, 0, &mut ids), "that it is one does");
        assert!(pointer.leq(&five, 0, 0, &mut ids), "nothing reads it");
    }
}

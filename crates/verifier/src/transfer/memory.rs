//! Loads, stores and atomics.

use hitless_isa::{AtomicOp, Operand, Reg, Size};

use super::{Ids, linked, object, operand};
use crate::domain::object::Object;
use crate::domain::pointer::{Pointer, PointerKind};
use crate::domain::scalar::{Scalar, sign_extend};
use crate::domain::stack::{SliceBuffer, Stack, slots_of, whole_slots_of};
use crate::domain::value::{Link, Value};
use crate::facts::{ContextFieldKind, Kptr, MapFacts};
use crate::program::{NamedMap, Program};
use crate::state::State;
use crate::uses::{StackSlot, Uses};

/// `dst = *(size *)(base + off)`.
#[allow(clippy::too_many_arguments, reason = "the fields of one instruction")]
pub(super) fn load(
    program: &Program<'_>,
    state: &mut State,
    ids: &mut Ids,
    uses: &mut Uses,
    size: Size,
    signed: bool,
    dst: Reg,
    base: Reg,
    off: i16,
) {
    let value = match state.reg(base) {
        Value::Pointer(pointer) => loaded(program, state, ids, uses, &pointer, i64::from(off), size),
        _ => Value::Scalar(Scalar::loaded(size.bytes(), false), Link::NONE),
    };
    let bits = 8 * size.bytes() as u32;
    let value = match value {
        Value::Scalar(scalar, link) if signed => {
            let extended = sign_extend(&scalar, bits);
            Value::Scalar(extended, if extended == scalar { link } else { Link::NONE })
        }
        value => value,
    };
    state.set(dst, value);
}

fn loaded(
    program: &Program<'_>,
    state: &State,
    ids: &mut Ids,
    uses: &mut Uses,
    pointer: &Pointer,
    off: i64,
    size: Size,
) -> Value {
    let unknown = Value::Scalar(Scalar::loaded(size.bytes(), false), Link::NONE);
    let Some(at) = pointer.constant_offset().map(|at| at + off) else {
        return unknown;
    };
    match pointer.kind {
        PointerKind::Stack { frame } => match state.stack(frame).load(at, size.bytes()) {
            Ok(loaded) => {
                uses.spill = loaded.spilled.then(|| slot(frame, at));
                loaded.value
            }
            Err(_) => unknown,
        },
        PointerKind::Context => context_field(program, ids, at).unwrap_or(unknown),
        PointerKind::Map { map } => program
            .map_struct(map)
            .and_then(|(_, object)| object::loaded(program, state, ids, object, at, size.bytes()))
            .unwrap_or(unknown),
        PointerKind::Object(object) => object::loaded(program, state, ids, object, at, size.bytes()).unwrap_or(unknown),
        PointerKind::MapValue { map, .. } => match (kptr_at(program, map, at), program.named_map(map)) {
            (Some(kptr), _) => object::loaded_kptr(program, state, ids, kptr),
            (None, NamedMap::Itself(_)) => frozen(program.map(map), at, size.bytes()).map_or(unknown, Value::constant),
            (None, NamedMap::InnerOf(_)) => unknown,
        },
        _ => unknown,
    }
}

/// The pointer in the context field at `at`, if it holds one.
fn context_field(program: &Program<'_>, ids: &mut Ids, at: i64) -> Option<Value> {
    let fields = &program.input.context.fields;
    let (index, field) = fields
        .iter()
        .enumerate()
        .find(|(_, field)| i64::from(field.off) == at)?;
    let kind = match field.kind {
        ContextFieldKind::Scalar | ContextFieldKind::Record | ContextFieldKind::Unsupported(_) => return None,
        ContextFieldKind::Packet => PointerKind::Packet { id: 0, range: 0 },
        ContextFieldKind::PacketEnd => PointerKind::PacketEnd,
        ContextFieldKind::PacketMeta => PointerKind::PacketMeta { id: 0, range: 0 },
        ContextFieldKind::Memory => PointerKind::ContextMemory {
            field: index as u16,
            id: 0,
            nullable: false,
            writable: false,
        },
        ContextFieldKind::Buffer { writable } => PointerKind::ContextMemory {
            field: index as u16,
            id: ids.fresh(),
            nullable: true,
            writable,
        },
        ContextFieldKind::Object(pointer) => PointerKind::Object(Object::new(pointer, || ids.fresh())),
    };
    Some(Value::Pointer(Pointer::to(kind)))
}

/// The field of a map value that begins at `at`.
fn kptr_at<'a>(program: &Program<'a>, map: u32, at: i64) -> Option<&'a Kptr> {
    program.map(map).kptrs.iter().find(|kptr| i64::from(kptr.off) == at)
}

/// The number at `at` in a value that never changes.
fn frozen(map: &MapFacts, at: i64, size: usize) -> Option<u64> {
    if !map.readonly_prog || map.max_entries != 1 {
        return None;
    }
    let at = usize::try_from(at).ok()?;
    let bytes = map.frozen.as_ref()?.get(at..at.checked_add(size)?)?;
    let mut number = [0; 8];
    number[..size].copy_from_slice(bytes);
    Some(u64::from_le_bytes(number))
}

fn slot(frame: u8, at: i64) -> StackSlot {
    StackSlot {
        frame,
        slot: slots_of(at, 1).trailing_zeros() as u8,
    }
}

/// `*(size *)(base + off) = src`.
pub(super) fn store(state: &mut State, ids: &mut Ids, uses: &mut Uses, size: Size, base: Reg, off: i16, src: Operand) {
    let Value::Pointer(pointer) = state.reg(base) else {
        return;
    };
    overwrite_buffer(state, &pointer);
    let PointerKind::Stack { frame } = pointer.kind else {
        return;
    };
    let (off, len) = (i64::from(off), size.bytes() as i64);
    let Some(at) = pointer.constant_offset().map(|at| at + off) else {
        let zero = operand(state, src).is_zero();
        if zero {
            uses.operand(src);
        }
        may_overwrite(state, frame, &pointer, off, len, zero);
        return;
    };
    let value = match src {
        Operand::Reg(reg) if reg != Reg::R10 => linked(state, reg, ids),
        src => operand(state, src),
    };
    if Stack::keeps_spill(at) {
        uses.spill = Some(slot(frame, at));
    } else if value.is_zero() {
        // Remembered as zero bytes, which always count.
        uses.operand(src);
    }
    uses.written(frame, whole_slots_of(at, len));
    end_dynptrs(state, frame, at, len);
    state.stack_mut(frame).store(at, size.bytes(), &value);
}

/// Somewhere within the range of the pointer, `len` bytes are overwritten.
pub(super) fn may_overwrite(state: &mut State, frame: u8, pointer: &Pointer, off: i64, len: i64, zero: bool) {
    let (min, max) = pointer.offsets().expect("stack accesses are bounded");
    end_dynptrs(state, frame, min + off, max - min + len);
    state.stack_mut(frame).may_overwrite(min + off, max - min + len, zero);
}

/// A write through a slice of a packet may be one to the buffer on the stack that it was copied to.
pub(super) fn overwrite_buffer(state: &mut State, pointer: &Pointer) {
    if let PointerKind::Slice {
        buffer: Some(SliceBuffer::Stack { frame, off }),
        size,
        ..
    } = pointer.kind
    {
        end_dynptrs(state, frame, off.into(), size.into());
        state.stack_mut(frame).may_overwrite(off.into(), size.into(), false);
    }
}

/// `len` bytes from `at` on are overwritten.
pub(super) fn overwrite(state: &mut State, uses: &mut Uses, frame: u8, at: i64, len: i64) {
    uses.written(frame, whole_slots_of(at, len));
    end_dynptrs(state, frame, at, len);
    state.stack_mut(frame).overwrite(at, len);
}

/// Dynptrs and iterators that have some of `len` bytes from `at` are overwritten. The references that the latter are stay.
fn end_dynptrs(state: &mut State, frame: u8, at: i64, len: i64) {
    if state.stack(frame).iterators(at, len).next().is_some() {
        state.stack_mut(frame).unmake_iterators(at, len);
    }
    loop {
        let id = state.stack(frame).dynptrs(at, len).map(|dynptr| dynptr.id).next();
        let Some(id) = id else { return };
        state.end_dynptr(frame, id);
    }
}

/// An atomic read-modify-write. What it fetches is what a load would have found: nobody else writes the stack.
pub(super) fn atomic(state: &mut State, uses: &mut Uses, size: Size, op: AtomicOp, base: Reg, off: i16, src: Reg) {
    let mut old = Value::Scalar(Scalar::loaded(size.bytes(), false), Link::NONE);
    if let Value::Pointer(pointer) = state.reg(base)
        && let PointerKind::Stack { frame } = pointer.kind
    {
        let (off, len) = (i64::from(off), size.bytes() as i64);
        match pointer.constant_offset().map(|at| at + off) {
            Some(at) => {
                if let Ok(loaded) = state.stack(frame).load(at, size.bytes()) {
                    uses.spill = loaded.spilled.then(|| slot(frame, at));
                    old = loaded.value;
                }
                overwrite(state, uses, frame, at, len);
            }
            None => may_overwrite(state, frame, &pointer, off, len, false),
        }
    }
    if op == AtomicOp::CmpXchg {
        state.set(Reg::R0, old);
    } else if op.fetches() {
        state.set(src, old);
    }
}

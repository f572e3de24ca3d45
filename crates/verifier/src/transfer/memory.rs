//! Loads, stores and atomics.

use hitless_isa::{AtomicOp, Operand, Reg, Size};

use super::{Ids, linked, operand};
use crate::domain::pointer::{Pointer, PointerKind};
use crate::domain::scalar::{Scalar, sign_extend};
use crate::domain::value::Value;
use crate::facts::{ContextFieldKind, MapFacts};
use crate::program::Program;
use crate::state::State;

/// `dst = *(size *)(base + off)`.
pub(super) fn load(program: &Program<'_>, state: &mut State, size: Size, signed: bool, dst: Reg, base: Reg, off: i16) {
    let value = match state.reg(base) {
        Value::Pointer(pointer) => loaded(program, state, &pointer, i64::from(off), size),
        _ => Value::Scalar(Scalar::loaded(size.bytes(), false), 0),
    };
    let bits = 8 * size.bytes() as u32;
    let value = match value {
        Value::Scalar(scalar, _) if signed => Value::Scalar(sign_extend(&scalar, bits), 0),
        value => value,
    };
    state.set(dst, value);
}

fn loaded(program: &Program<'_>, state: &State, pointer: &Pointer, off: i64, size: Size) -> Value {
    let unknown = Value::Scalar(Scalar::loaded(size.bytes(), false), 0);
    let Some(at) = pointer.constant_offset().map(|at| at + off) else {
        return unknown;
    };
    match pointer.kind {
        PointerKind::Stack { frame } => state.stack(frame).load(at, size.bytes()).unwrap_or(unknown),
        PointerKind::Context => context_field(program, at).unwrap_or(unknown),
        PointerKind::MapValue { map, .. } => {
            frozen(program.map(map), at, size.bytes()).map_or(unknown, Value::constant)
        }
        _ => unknown,
    }
}

/// The pointer in the context field at `at`, if it holds one.
fn context_field(program: &Program<'_>, at: i64) -> Option<Value> {
    let fields = &program.input.context.fields;
    let (index, field) = fields
        .iter()
        .enumerate()
        .find(|(_, field)| i64::from(field.off) == at)?;
    let kind = match field.kind {
        ContextFieldKind::Scalar => return None,
        ContextFieldKind::Packet => PointerKind::Packet { id: 0, range: 0 },
        ContextFieldKind::PacketEnd => PointerKind::PacketEnd,
        ContextFieldKind::PacketMeta => PointerKind::PacketMeta { id: 0, range: 0 },
        ContextFieldKind::Memory => PointerKind::ContextMemory { field: index as u16 },
    };
    Some(Value::Pointer(Pointer::to(kind)))
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

/// `*(size *)(base + off) = src`.
pub(super) fn store(state: &mut State, ids: &mut Ids, size: Size, base: Reg, off: i16, src: Operand) {
    let Value::Pointer(pointer) = state.reg(base) else {
        return;
    };
    let PointerKind::Stack { frame } = pointer.kind else {
        return;
    };
    let (off, len) = (i64::from(off), size.bytes() as i64);
    match pointer.constant_offset() {
        Some(at) => {
            let value = match src {
                Operand::Reg(reg) if reg != Reg::R10 => linked(state, reg, ids),
                src => operand(state, src),
            };
            state.stack_mut(frame).store(at + off, size.bytes(), &value);
        }
        None => {
            let zero = operand(state, src).is_zero();
            may_overwrite(state, frame, &pointer, off, len, zero);
        }
    }
}

/// Somewhere within the range of the pointer, `len` bytes are overwritten.
pub(super) fn may_overwrite(state: &mut State, frame: u8, pointer: &Pointer, off: i64, len: i64, zero: bool) {
    let (min, max) = pointer.offsets().expect("stack accesses are bounded");
    state.stack_mut(frame).may_overwrite(min + off, max - min + len, zero);
}

/// An atomic read-modify-write.
pub(super) fn atomic(state: &mut State, size: Size, op: AtomicOp, base: Reg, off: i16, src: Reg) {
    if let Value::Pointer(pointer) = state.reg(base)
        && let PointerKind::Stack { frame } = pointer.kind
    {
        let (off, len) = (i64::from(off), size.bytes() as i64);
        match pointer.constant_offset() {
            Some(at) => state.stack_mut(frame).overwrite(at + off, len),
            None => may_overwrite(state, frame, &pointer, off, len, false),
        }
    }
    let old = Value::Scalar(Scalar::loaded(size.bytes(), false), 0);
    if op == AtomicOp::CmpXchg {
        state.set(Reg::R0, old);
    } else if op.fetches() {
        state.set(src, old);
    }
}

//! Dynptrs: descriptions of memory that lie on the stack and that only helpers look into.

use hitless_isa::Reg;

use super::Context;
use super::call::wrong_type;
use super::memory::{Bytes, value_region};
use crate::domain::iterator::OpenIterator;
use crate::domain::pointer::PointerKind;
use crate::domain::stack::{Dynptr, DynptrMemory, FRAME_SIZE, slots_of};
use crate::domain::value::Value;
use crate::error::Failure;
use crate::facts::HelperProto;
use crate::state::State;
use crate::tables::helpers;

/// Frame and offset of the place for a dynptr that a pointer points to.
pub(crate) fn dynptr_place(value: &Value) -> Option<(u8, i64)> {
    let pointer = value.as_pointer()?;
    match (pointer.kind, pointer.constant_offset()) {
        (PointerKind::Stack { frame }, Some(off)) if off % 8 == 0 && (-FRAME_SIZE..=-Dynptr::SIZE).contains(&off) => {
            Some((frame, off))
        }
        _ => None,
    }
}

/// The dynptr that a pointer points to, and the frame that it lies in, if it does not come from outside.
pub(crate) fn dynptr_at(state: &State, value: &Value) -> Option<(Option<u8>, Dynptr)> {
    if let Some((0, PointerKind::Dynptr { id, memory })) = value
        .as_pointer()
        .and_then(|pointer| Some((pointer.constant_offset()?, pointer.kind)))
    {
        return Some((None, Dynptr { off: 0, id, memory }));
    }
    let (frame, off) = dynptr_place(value)?;
    let mut found = state.stack(frame).dynptrs(off, Dynptr::SIZE);
    found
        .find(|dynptr| dynptr.off == off)
        .map(|dynptr| (Some(frame), *dynptr))
}

/// The pointer is to the stack, at an offset where a dynptr can be.
fn place(reg: Reg, value: &Value) -> Result<(u8, i64), Failure> {
    let Some(pointer) = value.as_pointer() else {
        return Err(wrong_type(value, reg, "fp, dynptr_ptr"));
    };
    if !matches!(pointer.kind, PointerKind::Stack { .. }) {
        return Err(wrong_type(value, reg, "fp, dynptr_ptr"));
    }
    let message = match (dynptr_place(value), pointer.constant_offset()) {
        (Some(place), _) => return Ok(place),
        (None, Some(off)) => format!("cannot pass in dynptr at an offset={off}"),
        (None, None) => "dynptr has to be at a constant offset".to_owned(),
    };
    Err(Failure::new(value.to_string(), message))
}

/// There is a dynptr, of the sort that the helper works on.
pub(super) fn initialized(
    cx: &mut Context<'_, '_>,
    proto: &HelperProto,
    reg: Reg,
    value: &Value,
) -> Result<(), Failure> {
    let found = dynptr_at(cx.state, value);
    if !matches!(found, Some((None, _))) {
        place(reg, value)?;
    }
    let fail = |message: String| Err(Failure::new(value.to_string(), message));
    if proto.releases && !found.is_some_and(|(_, dynptr)| cx.state.holds(dynptr.id)) {
        return fail(format!("arg {} is an unacquired reference", reg.index()));
    }
    let Some((frame, dynptr)) = found else {
        return fail(format!("Expected an initialized dynptr as arg #{}", reg.index() - 1));
    };
    used(cx, frame, &dynptr, proto.id == helpers::DYNPTR_WRITE);
    Ok(())
}

/// Notes that a dynptr is looked at, and maybe its memory written.
fn used(cx: &mut Context<'_, '_>, frame: Option<u8>, dynptr: &Dynptr, written: bool) {
    if let (true, DynptrMemory::MapValue { map }) = (written, dynptr.memory) {
        cx.recorder.stored(value_region(cx, map), true);
    }
    if let Some(frame) = frame {
        cx.recorder
            .stack(cx.state.frames()[usize::from(frame)].subprog, dynptr.off);
        cx.uses.read(frame, slots_of(dynptr.off, Dynptr::SIZE));
    }
}

/// There is a dynptr for a kfunc, which may write its memory.
pub(super) fn of_kfunc(cx: &mut Context<'_, '_>, reg: Reg, value: &Value, written: bool) -> Result<(), Failure> {
    let arg = reg.index() - 1;
    let found = dynptr_at(cx.state, value);
    if let Some((None, dynptr)) = found {
        used(cx, None, &dynptr, written);
        return Ok(());
    }
    let on_stack = value
        .as_pointer()
        .is_some_and(|pointer| matches!(pointer.kind, PointerKind::Stack { .. }));
    if !on_stack {
        let message = format!("arg#{arg} expected pointer to stack or const struct bpf_dynptr");
        return Err(Failure::new(value.to_string(), message));
    }
    place(reg, value)?;
    let Some((frame, dynptr)) = found else {
        let message = format!("Expected an initialized dynptr as arg #{arg}");
        return Err(Failure::new(value.to_string(), message));
    };
    used(cx, frame, &dynptr, written);
    Ok(())
}

/// There is room for a dynptr.
pub(super) fn uninitialized(cx: &mut Context<'_, '_>, reg: Reg, value: &Value) -> Result<(), Failure> {
    let (frame, off) = place(reg, value)?;
    let mut found = cx.state.stack(frame).dynptrs(off, Dynptr::SIZE);
    if found.any(|dynptr| cx.state.holds(dynptr.id)) {
        return Err(Failure::new(value.to_string(), "cannot overwrite referenced dynptr"));
    }
    cx.recorder.stack(cx.state.frames()[usize::from(frame)].subprog, off);
    Ok(())
}

/// No dynptr is read as bytes.
pub(super) fn unread(cx: &Context<'_, '_>, bytes: &Bytes<'_>, frame: u8, off: i64, len: i64) -> Result<(), Failure> {
    if let Some(iterator) = cx.state.stack(frame).iterators(off, len).next() {
        return Err(part_of_iterator(bytes, off, iterator));
    }
    match cx.state.stack(frame).dynptrs(off, len).next() {
        None => Ok(()),
        Some(dynptr) if bytes.pointer.constant_offset().is_some() => {
            let at = off.max(dynptr.off) - off;
            let message = format!("invalid read from stack off {off}+{at} size {}", bytes.len);
            Err(Failure::new("part of a dynptr", message))
        }
        Some(dynptr) => Err(read_somewhere(bytes, off, dynptr)),
    }
}

/// Bytes of an iterator are for its functions only.
fn part_of_iterator(bytes: &Bytes<'_>, off: i64, iterator: &OpenIterator) -> Failure {
    let at = off.max(iterator.off) - off;
    let message = match bytes.pointer.constant_offset() {
        Some(_) => format!("invalid read from stack off {off}+{at} size {}", bytes.len),
        None => {
            let (reg, bits) = (bytes.reg, bytes.pointer.var.bits);
            format!("invalid read from stack R{reg} var_off {bits}+{at} size {}", bytes.len)
        }
    };
    Failure::new("part of an iterator", message)
}

/// A read at an unknown offset that may be of a dynptr.
fn read_somewhere(bytes: &Bytes<'_>, off: i64, dynptr: &Dynptr) -> Failure {
    let (reg, bits, at) = (bytes.reg, bytes.pointer.var.bits, off.max(dynptr.off) - off);
    let message = format!("invalid read from stack R{reg} var_off {bits}+{at} size {}", bytes.len);
    Failure::new("part of a dynptr", message)
}

/// No dynptr is overwritten that is a reference: it would be lost.
pub(super) fn kept(cx: &Context<'_, '_>, bytes: &Bytes<'_>, frame: u8, off: i64, len: i64) -> Result<(), Failure> {
    let mut found = cx.state.stack(frame).dynptrs(off, len);
    if found.any(|dynptr| cx.state.holds(dynptr.id)) {
        return Err(Failure::new(
            bytes.pointer.to_string(),
            "cannot overwrite referenced dynptr",
        ));
    }
    Ok(())
}

/// Memory that a helper takes has no dynptr in it.
pub(super) fn untouched(cx: &Context<'_, '_>, bytes: &Bytes<'_>, frame: u8, off: i64, len: i64) -> Result<(), Failure> {
    if let Some(iterator) = cx.state.stack(frame).iterators(off, len).next() {
        let at = off.max(iterator.off) - off;
        let message = format!(
            "invalid read from stack R{} off {off}+{at} size {}",
            bytes.reg, bytes.len
        );
        return Err(Failure::new("an iterator", message));
    }
    let Some(dynptr) = cx.state.stack(frame).dynptrs(off, len).next() else {
        return Ok(());
    };
    let at = off.max(dynptr.off);
    let message = if bytes.write {
        format!("potential write to dynptr at off={at} disallowed")
    } else if bytes.pointer.constant_offset().is_none() {
        return Err(read_somewhere(bytes, off, dynptr));
    } else {
        let (reg, at, len) = (bytes.reg, at - off, bytes.len);
        format!("invalid read from stack R{reg} off {off}+{at} size {len}")
    };
    Err(Failure::new("a dynptr", message))
}

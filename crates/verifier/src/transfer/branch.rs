//! Conditional jumps: what each outcome tells, and which outcomes there are.

use hitless_isa::{AluOp, Cond, Operand, Reg, Width};

use super::{Flow, operand};
use crate::domain::pointer::{MAX_PACKET_OFFSET, Pointer, PointerKind};
use crate::domain::scalar::{Scalar, arithmetic, assume};
use crate::domain::value::{Link, Value};
use crate::state::State;
use crate::uses::Uses;

/// A conditional jump.
#[derive(Clone, Copy)]
pub(super) struct Jump {
    pub(super) width: Width,
    pub(super) cond: Cond,
    pub(super) dst: Reg,
    pub(super) src: Operand,
}

/// A conditional jump to `jump`; `next` is the following instruction.
pub(super) fn jump(state: &mut State, uses: &mut Uses, insn: Jump, jump: usize, next: usize) -> Flow {
    let (left, right) = (state.reg(insn.dst), operand(state, insn.src));
    if let (Value::Scalar(a, a_link), Value::Scalar(b, b_link)) = (&left, &right) {
        let outcome = |holds| assume(insn.width, insn.cond, holds, a, b);
        let (jumps, falls) = match (outcome(true), outcome(false)) {
            (Some(jumps), Some(falls)) => (jumps, falls),
            (jumps, falls) => {
                // The numbers decide.
                uses.value(insn.dst);
                uses.operand(insn.src);
                return match (jumps, falls) {
                    (Some(_), _) => Flow::To(jump),
                    (_, Some(_)) => Flow::To(next),
                    _ => Flow::End,
                };
            }
        };
        note_links(state, uses, *a_link, *b_link);
        let mut taken = Box::new(state.clone());
        for (state, (a, b)) in [(&mut *taken, jumps), (state, falls)] {
            update(state, insn.dst, Value::Scalar(a, *a_link));
            if let Operand::Reg(src) = insn.src {
                update(state, src, Value::Scalar(b, *b_link));
            }
        }
        return Flow::Fork { jump, taken, next };
    }
    // Whether a number is NULL is asked, so it matters.
    match (&left, &right) {
        (Value::Pointer(_), null) if null.is_zero() => uses.operand(insn.src),
        (null, Value::Pointer(_)) if null.is_zero() => uses.value(insn.dst),
        _ => {}
    }
    let mut taken = Box::new(state.clone());
    let jumps = pointer_outcome(&mut taken, &left, &right, insn, true);
    let falls = pointer_outcome(state, &left, &right, insn, false);
    match (jumps, falls) {
        (true, true) => Flow::Fork { jump, taken, next },
        (true, false) => {
            *state = *taken;
            Flow::To(jump)
        }
        (false, true) => Flow::To(next),
        (false, false) => Flow::End,
    }
}

/// Restricts `state` to what it can be if a comparison with a pointer comes out so; returns whether it can be anything.
fn pointer_outcome(state: &mut State, left: &Value, right: &Value, insn: Jump, holds: bool) -> bool {
    let cond = insn.cond;
    if insn.width == Width::W32 {
        return true;
    }
    let equal = match cond {
        Cond::Eq => Some(holds),
        Cond::Ne => Some(!holds),
        _ => None,
    };
    match (left, right) {
        (Value::Pointer(pointer), null) | (null, Value::Pointer(pointer)) if null.is_zero() => match equal {
            Some(true) if pointer.is_known_not_null() => false,
            // As in Linux, a comparison with a register that is zero finds nothing out.
            Some(is_null) if matches!(insn.src, Operand::Imm(_)) => {
                null_check(state, pointer, is_null);
                true
            }
            _ => true,
        },
        (Value::Pointer(a), Value::Pointer(b)) if equal == Some(true) => {
            for (pointer, other) in [(a, b), (b, a)] {
                if other.is_certainly_not_null() {
                    null_check(state, pointer, false);
                }
            }
            true
        }
        (Value::Pointer(a), Value::Pointer(b)) => match limit(a, b) {
            Limit::Right => packet(state, a, cond, holds),
            Limit::Left => packet(state, b, mirrored(cond), holds),
            Limit::Neither => true,
        },
        _ => true,
    }
}

/// Notes which numbers are narrowed together with operands that are linked so.
fn note_links(state: &State, uses: &mut Uses, a: Link, b: Link) {
    if a.id == 0 && b.id == 0 {
        return;
    }
    let concerned = |value: &Value| value.link().is_some_and(|link| link.id == a.id || link.id == b.id);
    let places = state.places(concerned);
    if places.count() > 1 {
        uses.linked = Some(Box::new(places));
    }
}

/// Sets a number, and those that are linked to it.
fn update(state: &mut State, reg: Reg, value: Value) {
    if reg == Reg::R10 || state.reg(reg) == value {
        return;
    }
    let (Value::Scalar(scalar, _), Some(link)) = (value, value.link()) else {
        state.set(reg, value);
        return;
    };
    let linked = |value: &Value| value.link().is_some_and(|other| other.id == link.id);
    state.for_each_value(linked, |value| {
        let Value::Scalar(known, other) = value else { return };
        let narrowed = if other.off == link.off {
            scalar
        } else {
            let greater = i64::from(other.off) - i64::from(link.off);
            arithmetic(Width::W64, AluOp::Add, &scalar, &Scalar::constant(greater as u64))
        };
        *known = known.meet(&narrowed).unwrap_or(narrowed);
    });
}

/// The pointer is, or is not, NULL: so are its copies.
fn null_check(state: &mut State, pointer: &Pointer, is_null: bool) {
    let kind = pointer.kind;
    if !kind.is_nullable() {
        return;
    }
    let same = |value: &Value| value.as_pointer().is_some_and(|other| kind.is_null_with(other.kind));
    state.for_each_value(same, |value| {
        if is_null {
            *value = Value::constant(0);
        } else if let Value::Pointer(pointer) = value {
            pointer.kind = pointer.kind.not_null();
        }
    });
    if let Some(id) = kind.null_id().filter(|id| is_null && kind.reference() == Some(*id)) {
        // There is nothing to be released.
        state.forget_reference(id);
    }
}

/// Which of two compared packet pointers is the limit of the other.
enum Limit {
    Left,
    Right,
    Neither,
}

fn limit(a: &Pointer, b: &Pointer) -> Limit {
    let limits = |pointer: &Pointer, limit: &Pointer| match (pointer.kind, limit.kind) {
        (PointerKind::Packet { .. }, PointerKind::PacketEnd) => true,
        (PointerKind::PacketMeta { .. }, PointerKind::Packet { .. }) => limit.constant_offset() == Some(0),
        _ => false,
    };
    if limits(a, b) {
        Limit::Right
    } else if limits(b, a) {
        Limit::Left
    } else {
        Limit::Neither
    }
}

/// The condition with its operands exchanged.
fn mirrored(cond: Cond) -> Cond {
    match cond {
        Cond::Gt => Cond::Lt,
        Cond::Ge => Cond::Le,
        Cond::Lt => Cond::Gt,
        Cond::Le => Cond::Ge,
        cond => cond,
    }
}

/// `pointer cond limit` comes out as `holds`, where `limit` is the end of what `pointer` points into.
fn packet(state: &mut State, pointer: &Pointer, cond: Cond, holds: bool) -> bool {
    let (PointerKind::Packet { range, .. } | PointerKind::PacketMeta { range, .. }) = pointer.kind else {
        return true;
    };
    let range = i64::from(range);
    let known = |bytes: i64| range > 0 && 0 <= bytes && bytes <= range;
    // Whether the pointer then lies before the limit, and whether it may also be equal.
    let (before, inclusive) = match (cond, holds) {
        (Cond::Lt, true) | (Cond::Ge, false) => (true, false),
        (Cond::Le, true) | (Cond::Gt, false) => (true, true),
        (Cond::Gt, true) | (Cond::Le, false) => (false, false),
        (Cond::Ge, true) | (Cond::Lt, false) => (false, true),
        _ => return true,
    };
    if before {
        // Linux learns nothing of the first byte from a comparison that leaves no doubt about it.
        let end = match (inclusive, pointer.fixed) {
            (true, fixed) => fixed,
            (false, 0) => 0,
            (false, fixed) => fixed + 1,
        };
        extend(state, pointer, end);
        return true;
    }
    // `pointer > limit` and `pointer >= limit` are impossible where the opposite is known.
    !known(if inclusive { pointer.fixed + 1 } else { pointer.fixed })
}

/// The first `end` bytes after the unknown part of `pointer` lie before the limit: so they do for all that share it.
fn extend(state: &mut State, pointer: &Pointer, end: i64) {
    // Offsets are small enough for the sum not to wrap.
    let bounded = i64::try_from(pointer.var.u64.max).is_ok_and(|max| max.saturating_add(end) <= MAX_PACKET_OFFSET);
    let Some(end) = u32::try_from(end).ok().filter(|_| bounded) else {
        return;
    };
    let same_part = |value: &Value| range_of(value, pointer).is_some_and(|range| range < end);
    state.for_each_value(same_part, |value| {
        if let Value::Pointer(Pointer {
            kind: PointerKind::Packet { range, .. } | PointerKind::PacketMeta { range, .. },
            ..
        }) = value
        {
            *range = end;
        }
    });
}

/// The range of `value`, if it is a pointer that has its unknown part in common with `pointer`.
fn range_of(value: &Value, pointer: &Pointer) -> Option<u32> {
    match (value.as_pointer()?.kind, pointer.kind) {
        (PointerKind::Packet { id, range }, PointerKind::Packet { id: other, .. })
        | (PointerKind::PacketMeta { id, range }, PointerKind::PacketMeta { id: other, .. })
            if id == other =>
        {
            Some(range)
        }
        _ => None,
    }
}

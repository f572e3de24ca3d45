//! Calls, of helpers and of subprograms, and returns.

use hitless_isa::Reg;

use super::memory::may_overwrite;
use super::{Flow, Ids};
use crate::check::{arg_reg, lock_at, map_argument, size_range};
use crate::domain::pointer::{Pointer, PointerKind};
use crate::domain::value::Value;
use crate::facts::{ArgType, HelperProto, RetType};
use crate::state::{Frame, State};
use crate::tables::helpers;

/// Enters a subprogram: it gets `r1` to `r5`; the caller finds only `r6` to `r9` unchanged.
pub(super) fn enter(state: &mut State, subprog: usize, call_pc: usize) {
    let mut callee = Frame::new(subprog, call_pc);
    for index in 0..5 {
        callee.set(arg_reg(index), state.reg(arg_reg(index)));
    }
    state.frame_mut().clobber_caller_saved();
    state.push_frame(callee);
}

/// Leaves a subprogram, or the program.
pub(super) fn exit(state: &mut State) -> Flow {
    let result = state.reg(Reg::R0);
    let Some(frame) = state.pop_frame() else {
        return Flow::End;
    };
    state.set(Reg::R0, result);
    Flow::To(frame.call_pc + 1)
}

/// Calls a helper.
pub(super) fn helper(proto: &HelperProto, state: &mut State, ids: &mut Ids) {
    let map = map_argument(proto, state);
    for (index, ty) in (0..).zip(&proto.args) {
        match ty {
            ArgType::UninitMem => fill(state, index),
            ArgType::SpinLock => {
                let lock = lock_at(&state.reg(arg_reg(index)));
                state.lock = lock.filter(|_| proto.id == helpers::SPIN_LOCK);
            }
            _ => {}
        }
    }
    state.frame_mut().clobber_caller_saved();
    let result = match (proto.ret, map) {
        (RetType::Integer, _) => Value::UNKNOWN,
        (RetType::MapValueOrNull, Some(map)) => Value::Pointer(Pointer::to(PointerKind::MapValue {
            map,
            id: ids.fresh(),
            nullable: true,
        })),
        (RetType::Void | RetType::MapValueOrNull, _) => Value::Uninit,
    };
    state.set(Reg::R0, result);
}

/// The helper writes memory of the size in the next argument: all of it, if the size is known.
fn fill(state: &mut State, index: u8) {
    let Value::Pointer(pointer) = state.reg(arg_reg(index)) else {
        return;
    };
    let PointerKind::Stack { frame } = pointer.kind else {
        return;
    };
    let size = arg_reg(index + 1);
    let Ok((min, max)) = size_range(&state.reg(size), size, true) else {
        return;
    };
    match pointer.constant_offset() {
        Some(at) if min == max => state.stack_mut(frame).overwrite(at, max),
        _ => may_overwrite(state, frame, &pointer, 0, max, false),
    }
}

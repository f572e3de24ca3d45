//! Calls of kfuncs: what open-coded iterators do.

use hitless_isa::Reg;

use super::memory::overwrite;
use super::{Flow, Ids};
use crate::check::{cast_type, iterator_at, iterator_place};
use crate::domain::iterator::OpenIterator;
use crate::domain::object::Object;
use crate::domain::pointer::{Pointer, PointerKind};
use crate::domain::value::Value;
use crate::facts::{IteratorType, KfuncRet, ObjectPointer, ObjectType, Trust};
use crate::program::Program;
use crate::state::State;
use crate::tables::kfuncs::{IteratorStep, RegionStep};
use crate::uses::Uses;

/// Calls the kfunc at `pc`, which is followed by `next`.
pub(super) fn call(
    program: &Program<'_>,
    pc: usize,
    next: usize,
    state: &mut State,
    ids: &mut Ids,
    uses: &mut Uses,
) -> Flow {
    let Some(proto) = program.called_kfunc(pc) else {
        return Flow::End;
    };
    let first = state.reg(Reg::R1);
    let second = state.reg(Reg::R2);
    let flags = proto.known.map(|kfunc| kfunc.flags).unwrap_or_default();
    if flags.releases
        && let Some(id) = first.as_pointer().and_then(|pointer| pointer.kind.reference())
    {
        state.release(id);
    }
    state.frame_mut().clobber_caller_saved();
    let named = |name| program.struct_named(name).map(ObjectType::Btf);
    let object = match proto.ret() {
        KfuncRet::Object(name) => named(name).map(|ty| (ty, Trust::Plain)),
        KfuncRet::HostContext(name) => named(name).map(|ty| (ty, Trust::Trusted)),
        KfuncRet::Cast => cast_type(program, &second).map(|ty| (ObjectType::Btf(ty), Trust::Untrusted)),
        _ => None,
    };
    let result = match (proto.ret(), object) {
        (_, Some((ty, trust))) => {
            let nullable = flags.or_null;
            let mut object = Object::new(ObjectPointer { ty, trust, nullable }, || ids.fresh());
            if flags.acquires {
                object.reference = if nullable { object.id } else { ids.fresh() };
                state.acquire(object.reference, pc);
            }
            Value::Pointer(Pointer::to(PointerKind::Object(object)))
        }
        (KfuncRet::Number | KfuncRet::Element, None) => Value::UNKNOWN,
        (_, None) => Value::Uninit,
    };
    state.set(Reg::R0, result);
    match proto.region() {
        Some(RegionStep::RcuLock) => state.regions.rcu = true,
        Some(RegionStep::RcuUnlock) => state.end_rcu(),
        Some(RegionStep::PreemptDisable) => state.regions.preempt += 1,
        Some(RegionStep::PreemptEnable) => state.regions.preempt = state.regions.preempt.saturating_sub(1),
        None => {}
    }
    match proto.iterator() {
        Some((ty, IteratorStep::New)) => make(state, ids, uses, pc, &first, ty),
        Some((ty, IteratorStep::Destroy)) => {
            if let Some((frame, iterator)) = iterator_at(state, &first, ty) {
                overwrite(state, uses, frame, iterator.off, ty.size.into());
                state.release(iterator.id);
            }
        }
        Some((ty, IteratorStep::Next)) => {
            if let Some((frame, iterator)) = iterator_at(state, &first, ty) {
                return advance(state, frame, iterator, next);
            }
        }
        None => {}
    }
    Flow::To(next)
}

fn make(state: &mut State, ids: &mut Ids, uses: &mut Uses, pc: usize, place: &Value, ty: IteratorType) {
    let Some((frame, off)) = iterator_place(place, ty) else {
        return;
    };
    let id = ids.fresh();
    overwrite(state, uses, frame, off, ty.size.into());
    state.stack_mut(frame).make_iterator(OpenIterator {
        off,
        ty,
        id,
        drained: false,
        turns: 0,
    });
    state.acquire(id, pc);
}

/// Takes an element, or none: after that there is none any more.
fn advance(state: &mut State, frame: u8, iterator: OpenIterator, next: usize) -> Flow {
    let taken = (!iterator.drained).then(|| {
        let mut taken = Box::new(state.clone());
        taken
            .stack_mut(frame)
            .change_iterator(iterator.id, |iterator| iterator.turns += 1);
        let element = PointerKind::Element {
            iterator: iterator.id,
            size: iterator.ty.element,
        };
        taken.set(Reg::R0, Value::Pointer(Pointer::to(element)));
        taken
    });
    state
        .stack_mut(frame)
        .change_iterator(iterator.id, |iterator| iterator.drained = true);
    state.set(Reg::R0, Value::constant(0));
    match taken {
        Some(taken) => Flow::Element { next, taken },
        None => Flow::To(next),
    }
}

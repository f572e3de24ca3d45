//! Calls of kfuncs: what they return, and what open-coded iterators, lists and trees do.

use hitless_isa::Reg;

use super::memory::{may_overwrite, overwrite, overwrite_buffer};
use super::{Flow, Ids};
use crate::check::{
    arg_reg, cast_type, contained_at, dynptr_at, dynptr_place, function, iterator_at, iterator_place, own_struct,
    slice_buffer,
};
use crate::domain::iterator::OpenIterator;
use crate::domain::object::Object;
use crate::domain::pointer::{Pointer, PointerKind};
use crate::domain::stack::{Dynptr, DynptrMemory, SliceBuffer};
use crate::domain::value::Value;
use crate::facts::{IteratorType, KfuncArg, KfuncProto, KfuncRet, ObjectPointer, ObjectType, Trust};
use crate::program::Program;
use crate::state::{Callback, Counted, Frame, State};
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
    let slice = slice(proto, state, ids);
    write_memory(proto, state, uses);
    make_dynptr(proto, state, ids, uses);
    let again = less(program, pc, proto, state, ids);
    if proto.keeps()
        && let Some(object) = second.as_object()
    {
        state.lend(object.reference);
    }
    state.frame_mut().clobber_caller_saved();
    let named = |name| program.struct_named(name).map(ObjectType::Btf);
    let node = contained_at(program, &first);
    let object = match proto.ret() {
        KfuncRet::Object(name) => named(name).map(|ty| (ty, Trust::Plain)),
        KfuncRet::HostContext(name) => named(name).map(|ty| (ty, Trust::Trusted)),
        KfuncRet::Cast => cast_type(program, &second).map(|ty| (ObjectType::Btf(ty), Trust::Untrusted)),
        KfuncRet::Allocated => own_struct(program, &first).map(|ty| (ty, Trust::Plain)),
        KfuncRet::Counted => first.as_object().map(|object| (object.ty, Trust::Plain)),
        KfuncRet::Node if flags.acquires => node.map(|node| (ObjectType::Own(node.ty), Trust::Plain)),
        KfuncRet::Node => node.map(|node| (ObjectType::Own(node.ty), Trust::Locked)),
        _ => None,
    };
    let result = match (proto.ret(), object) {
        (_, Some((ty, trust))) => {
            // One that the program has cannot be gone.
            let owned = first.as_object().is_some_and(|object| object.reference != 0);
            let nullable = flags.or_null && !(proto.ret() == KfuncRet::Counted && owned);
            let mut object = Object::new(ObjectPointer { ty, trust, nullable }, || ids.fresh());
            if flags.acquires {
                object.reference = if nullable { object.id } else { ids.fresh() };
                state.acquire(object.reference, pc);
            }
            let pointer = Pointer::to(PointerKind::Object(object));
            let fixed = match (proto.ret(), node) {
                (KfuncRet::Node, Some(node)) => node.off.into(),
                _ => 0,
            };
            Value::Pointer(Pointer { fixed, ..pointer })
        }
        (KfuncRet::Number | KfuncRet::Element, None) => Value::UNKNOWN,
        (KfuncRet::Slice { .. }, None) => slice.unwrap_or(Value::Uninit),
        (_, None) => Value::Uninit,
    };
    state.set(Reg::R0, result);
    if let Some((start, entered)) = again {
        return Flow::CallBack { next, start, entered };
    }
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

/// The slice of a dynptr that the kfunc returns.
fn slice(proto: &KfuncProto, state: &mut State, ids: &mut Ids) -> Option<Value> {
    let KfuncRet::Slice { writable } = proto.ret() else {
        return None;
    };
    let (_, dynptr) = dynptr_at(state, &state.reg(Reg::R1))?;
    let size = state.reg(Reg::R4).as_scalar()?.as_constant()?;
    let buffer = slice_buffer(&state.reg(Reg::R3));
    state.has_stack_slices |= matches!(buffer, Some(SliceBuffer::Stack { .. }));
    Some(Value::Pointer(Pointer::to(PointerKind::Slice {
        dynptr: dynptr.id,
        memory: dynptr.memory,
        id: ids.fresh(),
        size: u32::try_from(size).ok()?,
        nullable: true,
        readonly: !writable,
        buffer,
    })))
}

/// Memory on the stack that the kfunc is given may be written.
fn write_memory(proto: &KfuncProto, state: &mut State, uses: &mut Uses) {
    for (index, arg) in (0..).zip(proto.args()) {
        let size = match arg {
            KfuncArg::FixedMemory(size) => i64::from(size),
            KfuncArg::Memory { .. } => match state.reg(arg_reg(index + 1)).as_scalar() {
                Some(size) => size.s64.max,
                None => continue,
            },
            _ => continue,
        };
        let Value::Pointer(pointer) = state.reg(arg_reg(index)) else {
            continue;
        };
        overwrite_buffer(state, &pointer);
        if let PointerKind::Stack { frame } = pointer.kind {
            match (pointer.constant_offset(), arg) {
                (Some(at), KfuncArg::FixedMemory(_)) => overwrite(state, uses, frame, at, size),
                _ => may_overwrite(state, frame, &pointer, 0, size, false),
            }
        }
    }
}

/// The dynptr that the kfunc makes: a copy, or one of the packet.
fn make_dynptr(proto: &KfuncProto, state: &mut State, ids: &mut Ids, uses: &mut Uses) {
    let Some(index) = proto.args().position(|arg| arg == KfuncArg::UninitDynptr) else {
        return;
    };
    let Some((frame, off)) = dynptr_place(&state.reg(arg_reg(index as u8))) else {
        return;
    };
    let copied = dynptr_at(state, &state.reg(Reg::R1)).filter(|_| proto.clones());
    let memory = copied.map_or(
        DynptrMemory::Packet {
            skb: proto.name != "bpf_dynptr_from_xdp",
        },
        |(_, dynptr)| dynptr.memory,
    );
    overwrite(state, uses, frame, off, Dynptr::SIZE);
    let id = ids.fresh();
    state.stack_mut(frame).make_dynptr(Dynptr { off, id, memory });
}

/// The kfunc has two nodes compared, once more, if it does that.
fn less(
    program: &Program<'_>,
    pc: usize,
    proto: &KfuncProto,
    state: &mut State,
    ids: &mut Ids,
) -> Option<(usize, Box<State>)> {
    if !proto.calls_back() {
        return None;
    }
    let calling = state.frame_mut().calling.take()?;
    let index = proto.args().position(|arg| arg == KfuncArg::Less)?;
    let subprog = function(&state.reg(arg_reg(index as u8)))?;
    let contained = contained_at(program, &state.reg(Reg::R1))?;
    let mut frame = Frame::new(subprog, pc);
    frame.callback = Some(Callback {
        asynchronous: false,
        returns: (0, 1),
        locked: true,
    });
    for reg in [Reg::R1, Reg::R2] {
        let pointer = ObjectPointer {
            ty: ObjectType::Own(contained.ty),
            trust: Trust::Locked,
            nullable: false,
        };
        let object = PointerKind::Object(Object::new(pointer, || ids.fresh()));
        frame.set(
            reg,
            Value::Pointer(Pointer {
                fixed: contained.off.into(),
                ..Pointer::to(object)
            }),
        );
    }
    let mut entered = Box::new(state.clone());
    entered.frame_mut().calling = Some(Counted {
        turns: calling.turns + 1,
        ..calling
    });
    entered.push_frame(frame);
    Some((program.subprogs[subprog].0, entered))
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

//! Calls, of helpers and of subprograms, and returns.

use hitless_isa::Reg;

use super::memory::{may_overwrite, overwrite, overwrite_buffer};
use super::{Flow, Ids, object};
use crate::check::{arg_reg, dynptr_at, dynptr_place, field_at, function, lock_at, map_argument, mem_size};
use crate::domain::object::Object;
use crate::domain::pointer::{Pointer, PointerKind};
use crate::domain::scalar::Scalar;
use crate::domain::stack::{Dynptr, DynptrMemory, SliceBuffer, Slots};
use crate::domain::value::{Link, Value};
use crate::facts::{
    ArgType, CallsBack, FuncArg, GlobalFunc, HelperProto, MapFacts, MapKind, MemSize, ObjectType, RetType,
};
use crate::program::Program;
use crate::state::{Callback, Counted, Frame, State};
use crate::tables::map_types::Lookup;
use crate::tables::{helpers, map_types};
use crate::uses::{StackSlot, Uses};

/// The greatest errno.
const MAX_ERRNO: i64 = 4095;

/// Enters a subprogram: it gets `r1` to `r5`; the caller finds only `r6` to `r9` unchanged.
pub(super) fn enter(state: &mut State, uses: &mut Uses, subprog: usize, call_pc: usize) {
    let mut callee = Frame::new(subprog, call_pc);
    for index in 0..5 {
        callee.set(arg_reg(index), state.reg(arg_reg(index)));
    }
    state.frame_mut().clobber_caller_saved();
    state.push_frame(callee);
    // Of an earlier frame at this depth nothing is left.
    uses.written(state.depth() as u8, Slots::MAX);
}

/// What a helper returns from a callback: zero to go on.
const GO_ON_OR_STOP: (i32, i32) = (0, 1);

/// A helper calls back, once more, if it can.
pub(super) fn back(
    program: &Program<'_>,
    pc: usize,
    proto: &HelperProto,
    state: &mut State,
    ids: &mut Ids,
    uses: &mut Uses,
) -> Option<(usize, Box<State>)> {
    let calling = state.frame_mut().calling.take()?;
    let sort = proto.calls_back?;
    let index = proto.args.iter().position(|ty| *ty == ArgType::Callback)?;
    let subprog = function(&state.reg(arg_reg(index as u8)))?;
    let mut frame = Frame::new(subprog, pc);
    frame.callback = Some(Callback {
        asynchronous: false,
        returns: GO_ON_OR_STOP,
        locked: false,
    });
    match sort {
        CallsBack::Turns => {
            uses.value(Reg::R1);
            let turns = state.reg(Reg::R1).as_scalar().map_or(u64::MAX, |turns| turns.u64.max);
            if u64::from(calling.turns) >= turns {
                return None;
            }
            frame.set(Reg::R1, Value::UNKNOWN);
            frame.set(Reg::R2, state.reg(Reg::R3));
        }
        CallsBack::Elements => {
            let map = map_argument(proto, state)?;
            element(&mut frame, map, ids);
            frame.set(Reg::R4, state.reg(Reg::R3));
        }
        CallsBack::Records => {
            let memory = DynptrMemory::Record {
                map: map_argument(proto, state)?,
            };
            let id = ids.fresh();
            frame.set(Reg::R1, Value::Pointer(Pointer::to(PointerKind::Dynptr { id, memory })));
            frame.set(Reg::R2, state.reg(Reg::R3));
        }
        CallsBack::Later => return None,
    }
    let mut entered = Box::new(state.clone());
    entered.frame_mut().calling = Some(Counted {
        turns: calling.turns + 1,
        ..calling
    });
    entered.push_frame(frame);
    Some((program.subprogs[subprog].0, entered))
}

/// A function that a timer in a value of `map` calls.
pub(crate) fn later(subprog: usize, map: u32, ids: &mut Ids) -> State {
    let mut frame = Frame::new(subprog, 0);
    frame.callback = Some(Callback {
        asynchronous: true,
        returns: (0, 0),
        locked: false,
    });
    element(&mut frame, map, ids);
    State::with(frame)
}

/// A callback gets a map and one of its elements.
fn element(frame: &mut Frame, map: u32, ids: &mut Ids) {
    let value = PointerKind::MapValue {
        map,
        id: ids.fresh(),
        nullable: false,
    };
    let args = [PointerKind::Map { map }, PointerKind::MapKey { map }, value];
    for (index, kind) in (0..).zip(args) {
        frame.set(arg_reg(index), Value::Pointer(Pointer::to(kind)));
    }
}

/// Leaves a subprogram, or the program.
pub(super) fn exit(program: &Program<'_>, state: &mut State, uses: &mut Uses) -> Flow {
    let result = state.reg(Reg::R0);
    let Some(frame) = state.pop_frame() else {
        return Flow::End;
    };
    let gone = state.frames().len() as u8;
    let in_frame = |value: &Value| {
        let kind = value.as_pointer().map(|pointer| pointer.kind);
        matches!(kind, Some(PointerKind::Slice { buffer: Some(SliceBuffer::Stack { frame, .. }), .. }) if frame == gone)
    };
    let result = if in_frame(&result) { Value::UNKNOWN } else { result };
    if state.has_stack_slices {
        state.for_each_value(in_frame, |value| *value = Value::UNKNOWN);
    }
    if frame.callback.is_some() {
        uses.callback = true;
        forget_records(program, frame.call_pc, state);
        return Flow::Back(frame.call_pc);
    }
    state.set(Reg::R0, result);
    Flow::To(frame.call_pc + 1)
}

/// The state behind the call of a subprogram that a tail call has replaced: all that is known of the other program is that
/// it gets the context, and may move the packet. In the main program there is none.
pub(super) fn replaced(state: &State) -> Option<(usize, Box<State>)> {
    let mut state = Box::new(state.clone());
    let frame = state.pop_frame()?;
    state.set(Reg::R0, Value::UNKNOWN);
    forget_packet(&mut state);
    Some((frame.call_pc + 1, state))
}

/// Calls a global function, of which nothing but its types is known.
pub(super) fn global(state: &mut State, uses: &mut Uses, func: &GlobalFunc, changes_packet: bool) {
    let args = func.args.as_deref().unwrap_or_default();
    for (index, arg) in (0..).zip(args) {
        if let (FuncArg::Memory { .. }, Value::Pointer(pointer)) = (arg, state.reg(arg_reg(index))) {
            overwrite_buffer(state, &pointer);
        }
        if let (FuncArg::Memory { size, .. }, Value::Pointer(pointer)) = (arg, state.reg(arg_reg(index)))
            && let PointerKind::Stack { frame } = pointer.kind
        {
            match pointer.constant_offset() {
                Some(at) => overwrite(state, uses, frame, at, (*size).into()),
                None => may_overwrite(state, frame, &pointer, 0, (*size).into(), false),
            }
        }
    }
    state.frame_mut().clobber_caller_saved();
    if changes_packet {
        forget_packet(state);
    }
    state.set(Reg::R0, Value::UNKNOWN);
}

/// What a callback got of the record that it was given is the writer's again.
fn forget_records(program: &Program<'_>, call_pc: usize, state: &mut State) {
    let helper = program.called_helper(call_pc);
    if helper.is_none_or(|proto| proto.calls_back != Some(CallsBack::Records)) {
        return;
    }
    let of_host = |memory| match memory {
        DynptrMemory::Record { map } => program.map(map).kind == MapKind::UserRingbuf,
        DynptrMemory::MapValue { .. } | DynptrMemory::Packet { .. } => false,
    };
    let in_record = |value: &Value| match value.as_pointer().map(|pointer| pointer.kind) {
        Some(PointerKind::Dynptr { memory, .. } | PointerKind::Slice { memory, .. }) => of_host(memory),
        _ => false,
    };
    state.for_each_value(in_record, |value| *value = Value::UNKNOWN);
}

fn forget_packet(state: &mut State) {
    let in_packet = |value: &Value| {
        let kind = value.as_pointer().map(|pointer| pointer.kind);
        kind.is_some_and(|kind| kind.is_packet_family() || kind.is_packet_slice())
    };
    state.for_each_value(in_packet, |value| *value = Value::UNKNOWN);
}

/// Calls a helper.
pub(super) fn helper(
    program: &Program<'_>,
    pc: usize,
    proto: &HelperProto,
    state: &mut State,
    ids: &mut Ids,
    uses: &mut Uses,
) {
    let map = map_argument(proto, state);
    let size = alloc_size(proto, state);
    let returned = if proto.returns_size {
        returned_size(program, proto, state)
    } else {
        None
    };
    let slice = dynptr_slice(proto, state);
    uses.index = map.and_then(|map| constant_index(proto.id, program.map(map), state, uses));
    let certain = uses.index.is_some();
    let cast = match state.reg(Reg::R1) {
        Value::Pointer(pointer) if helpers::SOCKET_CASTS.contains(&proto.id) => pointer.kind.reference(),
        _ => None,
    };
    let kptr = field_at(program, &state.reg(Reg::R1)).filter(|_| proto.ret == RetType::KptrOrNull);
    if let (Some(_), Value::Pointer(given)) = (kptr, state.reg(Reg::R2))
        && let Some(id) = given.kind.reference()
    {
        state.release(id);
    }
    let memory = match (map, state.reg(Reg::R1)) {
        (Some(map), _) => Some(DynptrMemory::Record { map }),
        (
            None,
            Value::Pointer(Pointer {
                kind: PointerKind::MapValue { map, .. },
                ..
            }),
        ) => Some(DynptrMemory::MapValue { map }),
        _ => None,
    };
    if let (true, Value::Pointer(pointer)) = (proto.releases, state.reg(Reg::R1))
        && let Some(id) = pointer.kind.reference()
    {
        state.release(id);
    }
    for (index, ty) in (0..).zip(&proto.args) {
        if let Some(memory) = ty.memory().filter(|memory| memory.usage.writes()) {
            fill(program, proto, state, uses, index, memory.size);
        }
        if let (ArgType::UninitDynptr, Some(memory)) = (*ty, memory)
            && let Some((frame, off)) = dynptr_place(&state.reg(arg_reg(index)))
        {
            let id = ids.fresh();
            overwrite(state, uses, frame, off, Dynptr::SIZE);
            state.stack_mut(frame).make_dynptr(Dynptr { off, id, memory });
            if proto.acquires {
                state.acquire(id, pc);
            }
        }
        if let (ArgType::Dynptr, true) = (*ty, proto.releases)
            && let Some((Some(frame), dynptr)) = dynptr_at(state, &state.reg(arg_reg(index)))
        {
            state.end_dynptr(frame, dynptr.id);
        }
        if *ty == ArgType::SpinLock {
            match proto.id {
                helpers::SPIN_LOCK => state.lock = lock_at(&state.reg(arg_reg(index))),
                _ => state.unlock(program),
            }
        }
    }
    let moves = proto.id == helpers::DYNPTR_WRITE
        && dynptr_at(state, &state.reg(Reg::R1))
            .is_some_and(|(_, dynptr)| dynptr.memory == DynptrMemory::Packet { skb: true });
    state.frame_mut().clobber_caller_saved();
    if proto.changes_packet || moves {
        forget_packet(state);
    }
    let value_of = |map, nullable, ids: &mut Ids| {
        let id = ids.fresh();
        Value::Pointer(Pointer::to(PointerKind::MapValue { map, id, nullable }))
    };
    let result = match (proto.ret, map) {
        (RetType::Integer, _) => returned.map_or(Value::UNKNOWN, |size| Value::Scalar(size, Link::NONE)),
        (RetType::MapValueOrNull, Some(map)) => {
            match (program.inner_map(map), map_types::of(program.map(map).kind).lookup) {
                (Some(map), _) => Value::Pointer(Pointer::to(PointerKind::InnerMapOrNull { map, id: ids.fresh() })),
                (None, Lookup::Socket) => {
                    let socket = object::socket_or_null(ObjectType::Socket, ids);
                    state.acquire(socket.id, pc);
                    pointer_to(Object {
                        reference: socket.id,
                        ..socket
                    })
                }
                (None, Lookup::XdpSocket) => pointer_to(object::socket_or_null(ObjectType::XdpSocket, ids)),
                (None, _) => value_of(map, !certain, ids),
            }
        }
        (RetType::MapValue, Some(map)) => value_of(map, false, ids),
        (RetType::MemOrNull, None) => slice.map_or(Value::Uninit, |dynptr| {
            Value::Pointer(Pointer::to(PointerKind::Slice {
                dynptr: dynptr.id,
                memory: dynptr.memory,
                id: ids.fresh(),
                size,
                nullable: true,
                readonly: false,
                buffer: None,
            }))
        }),
        (RetType::MemOrNull, Some(map)) => {
            let id = ids.fresh();
            state.acquire(id, pc);
            Value::Pointer(Pointer::to(PointerKind::Record {
                map,
                id,
                size,
                nullable: true,
            }))
        }
        (ret, _) => match object::returned(program, ret, kptr, ids) {
            Some(object) if proto.acquires => {
                let reference = if object.nullable { object.id } else { ids.fresh() };
                state.acquire(reference, pc);
                pointer_to(Object { reference, ..object })
            }
            Some(object) => pointer_to(Object {
                reference: cast.unwrap_or(0),
                ..object
            }),
            None => Value::Uninit,
        },
    };
    state.set(Reg::R0, result);
}

/// The constant index of the element of an array that is looked up, or of the program that is called, if there is one.
fn constant_index(helper: u32, map: &MapFacts, state: &State, uses: &mut Uses) -> Option<u32> {
    let small = |index: &u64| *index < map.max_entries.into();
    let index = match helper {
        helpers::MAP_LOOKUP_ELEM if matches!(map.kind, MapKind::Array | MapKind::PercpuArray) => {
            let Value::Pointer(key) = state.reg(Reg::R2) else {
                return None;
            };
            let (PointerKind::Stack { frame }, Some(off)) = (key.kind, key.constant_offset()) else {
                return None;
            };
            let key = state.stack(frame).constant(off, map.key_size.into())?;
            if let Some((slot, whole)) = key.spilled {
                // Linux compares the whole number, of whose end it may be. The end of one that is so small is zero.
                Some(whole).filter(small)?;
                let slot = slot as u8;
                uses.slot_value = Some(StackSlot { frame, slot });
            }
            key.bytes
        }
        helpers::TAIL_CALL => {
            let index = state.reg(Reg::R3).as_scalar()?.as_constant().filter(small)?;
            uses.value(Reg::R3);
            index
        }
        _ => return None,
    };
    Some(index).filter(small).and_then(|index| u32::try_from(index).ok())
}

fn pointer_to(object: Object) -> Value {
    Value::Pointer(Pointer::to(PointerKind::Object(object)))
}

/// The dynptr of which the helper returns a slice.
fn dynptr_slice(proto: &HelperProto, state: &State) -> Option<Dynptr> {
    let index = proto.args.iter().position(|ty| *ty == ArgType::Dynptr)?;
    dynptr_at(state, &state.reg(arg_reg(index as u8))).map(|(_, dynptr)| dynptr)
}

/// What a helper returns that says how much it wrote: at most the size that it was given, or a negated errno.
fn returned_size(program: &Program<'_>, proto: &HelperProto, state: &State) -> Option<Scalar> {
    let sized = |ty: &ArgType| ty.memory().is_some_and(|memory| memory.size == MemSize::NextArgument);
    let index = proto.args.iter().position(sized)?;
    let (_, max) = mem_size(program, proto, state, index as u8, MemSize::NextArgument).ok()?;
    Scalar::signed(-MAX_ERRNO, max)
}

/// The size of the memory that the helper returns. Of one beyond 32 bits the low half is certain, as a helper that takes
/// 32 bits sees no more.
fn alloc_size(proto: &HelperProto, state: &State) -> u32 {
    let index = proto.args.iter().position(|ty| *ty == ArgType::AllocSize);
    let size = index.and_then(|index| state.reg(arg_reg(index as u8)).as_scalar()?.as_constant());
    size.map_or(0, |size| size as u32)
}

/// The helper writes memory: all of it, if the size is known.
fn fill(program: &Program<'_>, proto: &HelperProto, state: &mut State, uses: &mut Uses, index: u8, size: MemSize) {
    let Value::Pointer(pointer) = state.reg(arg_reg(index)) else {
        return;
    };
    overwrite_buffer(state, &pointer);
    let PointerKind::Stack { frame } = pointer.kind else {
        return;
    };
    let Ok((min, max)) = mem_size(program, proto, state, index, size) else {
        return;
    };
    match pointer.constant_offset() {
        Some(at) if min == max => overwrite(state, uses, frame, at, max),
        _ => may_overwrite(state, frame, &pointer, 0, max, false),
    }
}

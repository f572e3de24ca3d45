//! Calls of kfuncs.

use hitless_btf::{Type, TypeId};
use hitless_isa::Reg;

use super::call::{arg_reg, context, function, memory, size_range, wrong_type};
use super::dynptr::dynptr_at;
use super::memory::Bytes;
use super::{Context, dynptr, graph, object, region};
use crate::domain::iterator::OpenIterator;
use crate::domain::pointer::{Pointer, PointerKind};
use crate::domain::stack::{DynptrMemory, FRAME_SIZE, SliceBuffer, slots_of};
use crate::domain::value::Value;
use crate::error::Failure;
use crate::facts::{IteratorType, KfuncArg, KfuncProto, KfuncRet, MemUse};
use crate::program::Program;
use crate::state::State;
use crate::tables::kfuncs::IteratorStep;

/// The kfunc can be offered.
pub(super) fn hosted(cx: &Context<'_, '_>) -> Result<(), Failure> {
    let proto = cx.program.called_kfunc(cx.pc);
    match proto.and_then(|proto| Some((&proto.name, proto.excluded?))) {
        None => Ok(()),
        Some((name, reason)) => {
            let message = format!("kernel function {name} is not available in user space: {reason}");
            Err(Failure::new(reason, message))
        }
    }
}

/// The kfunc may be called by such programs, and here.
pub(super) fn callable(cx: &Context<'_, '_>) -> Result<(), Failure> {
    let Some(proto) = cx.program.called_kfunc(cx.pc) else {
        return Ok(());
    };
    let name = &proto.name;
    if proto.known.is_none() {
        let message = format!("calling kernel function {name} is not allowed");
        return Err(Failure::new("a kfunc that is not known", message));
    }
    if !cx.program.input.gpl_compatible {
        let message = "cannot call kernel function from non-GPL compatible program";
        return Err(Failure::new("another license", message));
    }
    if let KfuncRet::Object(object) | KfuncRet::HostContext(object) = proto.ret()
        && cx.program.struct_named(object).is_none()
    {
        let message = format!("{name} returns a struct {object}, which the host does not have");
        return Err(Failure::new(format!("no struct {object}"), message));
    }
    if let Some(what) = proto.unsupported() {
        return Err(Failure::new(what, format!("{name}: {what} are not supported")));
    }
    if proto.might_sleep() && !cx.program.input.context.sleepable {
        let message = format!("program must be sleepable to call sleepable kfunc {name}");
        return Err(Failure::new("one that may not sleep", message));
    }
    if proto.might_sleep() {
        region::may_sleep(cx, |region| {
            format!("kernel func {name} is sleepable within {region} region")
        })?;
    }
    slice(cx, proto)?;
    region::step(cx, proto)
}

/// The argument in this position is what the kfunc takes.
pub(super) fn argument(cx: &mut Context<'_, '_>, index: u8) -> Result<(), Failure> {
    let Some(proto) = cx.program.called_kfunc(cx.pc) else {
        return Ok(());
    };
    let reg = arg_reg(index);
    let value = cx.state.reg(reg);
    match proto.args().nth(index.into()) {
        Some(KfuncArg::Ignored) | None => Ok(()),
        _ if value == Value::Uninit => Err(Failure::new("nothing", format!("R{} !read_ok", reg.index()))),
        Some(KfuncArg::Number) if value.as_scalar().is_none() => {
            let message = format!("R{} is not a scalar", reg.index());
            Err(Failure::new(value.to_string(), message))
        }
        Some(KfuncArg::Constant) => match value.as_scalar() {
            Some(scalar) if scalar.as_constant().is_some() => {
                cx.uses.value(reg);
                struct_id(cx, proto, &value)
            }
            Some(_) => {
                let message = format!("R{} must be a known constant", reg.index());
                Err(Failure::new(value.to_string(), message))
            }
            None => {
                let message = format!("R{} is not a scalar", reg.index());
                Err(Failure::new(value.to_string(), message))
            }
        },
        Some(KfuncArg::UninitDynptr) => new_dynptr(cx, proto, reg, &value),
        Some(KfuncArg::Memory { optional: true }) if value.is_zero() => {
            cx.uses.value(reg);
            Ok(())
        }
        Some(KfuncArg::Memory { .. }) => sized_memory(cx, proto, index, &value),
        Some(KfuncArg::FixedMemory(size)) => memory(cx, index, &value, size.into(), MemUse::ReadAndWrite, false),
        Some(KfuncArg::OwnType) => graph::own_type(cx, reg, &value),
        Some(KfuncArg::Allocated) => graph::allocated(cx, reg, &value),
        Some(KfuncArg::Counted) => graph::counted(cx, reg, &value),
        Some(KfuncArg::Head { tree }) => graph::head(cx, reg, &value, tree),
        Some(KfuncArg::Node { tree }) => graph::node(cx, proto, reg, &value, tree),
        Some(KfuncArg::Less) => less(cx, reg, &value),
        Some(KfuncArg::Dynptr { written }) => dynptr::of_kfunc(cx, reg, &value, written),
        Some(KfuncArg::Context) => context(&value, reg),
        Some(KfuncArg::Object { nullable: true, .. }) if value.is_zero() => {
            cx.uses.value(reg);
            Ok(())
        }
        Some(KfuncArg::Object { name, nullable }) => object::of_kfunc(cx, proto, reg, &value, name, nullable),
        Some(KfuncArg::Iterator(ty)) => match proto.iterator() {
            Some((_, IteratorStep::New)) => uninitialized(cx, reg, &value, ty),
            _ => initialized(cx, reg, &value, ty),
        },
        _ => Ok(()),
    }
}

/// There is room for a dynptr. Of those that are references there is one only.
fn new_dynptr(cx: &mut Context<'_, '_>, proto: &KfuncProto, reg: Reg, value: &Value) -> Result<(), Failure> {
    let copied = dynptr_at(cx.state, &cx.state.reg(Reg::R1)).filter(|_| proto.clones());
    if copied.is_some_and(|(_, dynptr)| matches!(dynptr.memory, DynptrMemory::Record { .. })) {
        let message = format!("{}: copies of dynptrs of records are not supported", proto.name);
        return Err(Failure::new("a dynptr of a record", message));
    }
    dynptr::uninitialized(cx, reg, value)
}

/// Memory of the size in the next argument. Where a slice of a packet may lie in it, it is known which that is.
fn sized_memory(cx: &mut Context<'_, '_>, proto: &KfuncProto, index: u8, value: &Value) -> Result<(), Failure> {
    let size_reg = arg_reg(index + 1);
    let (_, max) = size_range(&cx.state.reg(size_reg), size_reg, true)?;
    cx.uses.value(size_reg);
    memory(cx, index, value, max, MemUse::ReadAndWrite, false)?;
    if matches!(proto.ret(), KfuncRet::Slice { .. }) && slice_buffer(value).is_none() {
        let message = format!("{}: such buffers are not supported", proto.name);
        return Err(Failure::new(value.to_string(), message));
    }
    Ok(())
}

/// Where a slice of a packet may lie, if it is given this buffer.
pub(crate) fn slice_buffer(value: &Value) -> Option<SliceBuffer> {
    let pointer = value.as_pointer()?;
    match pointer.kind {
        PointerKind::Stack { frame } => Some(SliceBuffer::Stack {
            frame,
            off: pointer.constant_offset()?.try_into().ok()?,
        }),
        PointerKind::MapValue { map, .. } => Some(SliceBuffer::MapValue { map }),
        _ => None,
    }
}

/// Slices that may be written are for programs that may write the packet.
fn slice(cx: &Context<'_, '_>, proto: &KfuncProto) -> Result<(), Failure> {
    if proto.ret() == (KfuncRet::Slice { writable: true }) && !cx.program.input.context.packet_writable {
        let message = "the prog does not allow writes to packet data";
        return Err(Failure::new(cx.program.input.context.name.clone(), message));
    }
    Ok(())
}

/// The address of a function, as it was loaded.
fn less(cx: &mut Context<'_, '_>, reg: Reg, value: &Value) -> Result<(), Failure> {
    match (function(value), value.as_pointer().and_then(Pointer::constant_offset)) {
        (Some(subprog), Some(0)) => {
            cx.recorder.call_back(cx.pc, subprog);
            Ok(())
        }
        _ => {
            let message = format!("arg#{} expected pointer to func", reg.index() - 1);
            Err(Failure::new(value.to_string(), message))
        }
    }
}

/// If the kfunc makes an object of the struct with this id: there is such a struct.
fn struct_id(cx: &Context<'_, '_>, proto: &KfuncProto, value: &Value) -> Result<(), Failure> {
    if proto.ret() != KfuncRet::Cast || cast_type(cx.program, value).is_some() {
        return Ok(());
    }
    let message = format!("kfunc {} type ID argument must be of a struct or void", proto.name);
    Err(Failure::new(value.to_string(), message))
}

/// The struct whose id a constant is.
pub(crate) fn cast_type(program: &Program<'_>, id: &Value) -> Option<TypeId> {
    let id = TypeId(u32::try_from(id.as_scalar()?.as_constant()?).ok()?);
    let ty = program.input.types?.get(id)?;
    matches!(ty, Type::Struct(_) | Type::Union(_)).then_some(id)
}

/// Frame and offset of the place for an iterator that a pointer points to.
pub(crate) fn iterator_place(value: &Value, ty: IteratorType) -> Option<(u8, i64)> {
    let pointer = value.as_pointer()?;
    let PointerKind::Stack { frame } = pointer.kind else {
        return None;
    };
    let off = pointer.constant_offset()?;
    (off % 8 == 0 && (-FRAME_SIZE..=-i64::from(ty.size)).contains(&off)).then_some((frame, off))
}

/// The iterator that a pointer points to, and its frame.
pub(crate) fn iterator_at(state: &State, value: &Value, ty: IteratorType) -> Option<(u8, OpenIterator)> {
    let (frame, off) = iterator_place(value, ty)?;
    let mut found = state.stack(frame).iterators(off, ty.size.into());
    found
        .find(|iterator| iterator.off == off && iterator.ty == ty)
        .map(|iterator| (frame, *iterator))
}

/// The pointer is to the stack; returns whether an iterator can be there.
fn on_stack(reg: Reg, value: &Value, ty: IteratorType) -> Result<Option<(u8, i64)>, Failure> {
    let pointer = value.as_pointer().map(|pointer| pointer.kind);
    match pointer {
        Some(PointerKind::Stack { .. }) => Ok(iterator_place(value, ty)),
        Some(_) => {
            let message = format!("arg#{} expected pointer to an iterator on stack", reg.index() - 1);
            Err(Failure::new(value.to_string(), message))
        }
        None => Err(wrong_type(value, reg, "fp")),
    }
}

/// There is such an iterator.
fn initialized(cx: &mut Context<'_, '_>, reg: Reg, value: &Value, ty: IteratorType) -> Result<(), Failure> {
    on_stack(reg, value, ty)?;
    let Some((frame, OpenIterator { off, .. })) = iterator_at(cx.state, value, ty) else {
        let message = format!("expected an initialized {} as arg #{}", ty.name, reg.index() - 1);
        return Err(Failure::new(value.to_string(), message));
    };
    cx.recorder.stack(cx.state.frames()[usize::from(frame)].subprog, off);
    cx.uses.read(frame, slots_of(off, ty.size.into()));
    Ok(())
}

/// There is room for an iterator, and none yet.
fn uninitialized(cx: &mut Context<'_, '_>, reg: Reg, value: &Value, ty: IteratorType) -> Result<(), Failure> {
    let size = i64::from(ty.size);
    let free = |&(frame, off): &(u8, i64)| cx.state.stack(frame).iterators(off, size).next().is_none();
    let Some((frame, off)) = on_stack(reg, value, ty)?.filter(free) else {
        let message = format!("expected uninitialized {} as arg #{}", ty.name, reg.index() - 1);
        return Err(Failure::new(value.to_string(), message));
    };
    if let Some(pointer) = value.as_pointer() {
        let bytes = Bytes {
            reg: reg.index(),
            pointer,
            off: 0,
            len: size,
            read: false,
            write: true,
        };
        dynptr::kept(cx, &bytes, frame, off, size)?;
    }
    cx.recorder.stack(cx.state.frames()[usize::from(frame)].subprog, off);
    Ok(())
}

//! Arguments of BPF helpers.

use hitless_isa::Reg;

use super::Context;
use super::memory::{Bytes, aligned, argument_memory, buffer_region, bytes_of_object, stack_bytes, stack_range};
use super::{dynptr, kptr, object, reference_count, text};
use crate::domain::pointer::{Argument, MAX_OFFSET, Pointer, PointerKind};
use crate::domain::scalar::Scalar;
use crate::domain::value::Value;
use crate::error::Failure;
use crate::facts::{ArgType, CallsBack, HelperProto, MapFacts, MapKind, MemArg, MemSize, MemUse, Region};
use crate::program::{NamedMap, Program};
use crate::requirements::Access;
use crate::state::{HeldLock, LockOwner, State};
use crate::tables::map_types::Lookup;
use crate::tables::{helpers, map_types};

/// The register of an argument.
pub(crate) fn arg_reg(index: u8) -> Reg {
    Reg::new(index + 1).expect("helpers take at most five arguments")
}

/// The map given to a helper.
pub(crate) fn map_argument(proto: &HelperProto, state: &State) -> Option<u32> {
    let index = proto.args.iter().position(|ty| *ty == ArgType::ConstMap)?;
    match state.reg(arg_reg(index as u8)).as_pointer()?.kind {
        PointerKind::Map { map } => Some(map),
        _ => None,
    }
}

/// The argument in this position is what the prototype asks for.
pub(super) fn argument(cx: &mut Context<'_, '_>, helper: u32, index: u8, ty: ArgType) -> Result<(), Failure> {
    let Some(proto) = cx.program.helper(helper) else {
        return Err(Failure::new("no prototype", format!("invalid func unknown#{helper}")));
    };
    let state = cx.state;
    let reg = arg_reg(index);
    let value = state.reg(reg);
    if value == Value::Uninit {
        return Err(Failure::new("nothing", format!("R{} !read_ok", reg.index())));
    }
    one_reference(cx, proto, index, ty)?;
    let map = map_argument(proto, state).map(|map| cx.program.map(map).kind);
    if let (ArgType::MapValue, Some(MapKind::Sockmap | MapKind::Sockhash)) = (ty, map) {
        return object::socket(cx, proto, reg, &value, true);
    }
    if let Some(argument) = ty.memory() {
        return memory_argument(cx, proto, index, &value, argument);
    }
    match ty {
        ArgType::Context => context(&value, reg),
        ArgType::ContextOrNull if value.is_zero() => {
            cx.uses.value(reg);
            Ok(())
        }
        ArgType::ContextOrNull => context(&value, reg),
        ArgType::ConstMap => match value.as_pointer().map(|pointer| pointer.kind) {
            Some(PointerKind::Map { map }) => timer_map(cx, proto, map),
            _ => Err(wrong_type(&value, reg, "map_ptr")),
        },
        ArgType::Socket => object::socket(cx, proto, reg, &value, false),
        ArgType::AnySocket => object::socket(cx, proto, reg, &value, true),
        ArgType::BtfOrNull(_) if value.is_zero() => {
            cx.uses.value(reg);
            Ok(())
        }
        ArgType::Btf(name) => object::typed(cx, reg, &value, name, false),
        ArgType::BtfOrNull(name) => object::typed(cx, reg, &value, name, true),
        ArgType::Kptr => kptr::field(cx, index, reg, &value),
        ArgType::OwnedObjectOrNull => kptr::owned(cx, reg, &value),
        ArgType::Timer => timer(cx, reg, &value),
        ArgType::Callback => callback(cx, proto, reg, &value),
        ArgType::StackOrNull => match value.as_pointer().map(|pointer| pointer.kind) {
            Some(PointerKind::Stack { .. }) => Ok(()),
            None if value.is_zero() => {
                cx.uses.value(reg);
                Ok(())
            }
            _ => Err(wrong_type(&value, reg, "fp")),
        },
        ArgType::SpinLock => spin_lock(cx, helper, reg, &value),
        ArgType::AllocSize => alloc_size(cx, reg, &value),
        ArgType::RingbufRecord => record(cx, reg, &value),
        ArgType::ConstString => text::constant(cx, index, &value),
        ArgType::Dynptr => dynptr::initialized(cx, proto, reg, &value),
        ArgType::UninitDynptr => dynptr::uninitialized(cx, reg, &value),
        // Sizes are checked with the memory before them.
        _ => Ok(()),
    }
}

/// Of the arguments that are looked at one at most is part of a reference, as in Linux.
fn one_reference(cx: &Context<'_, '_>, proto: &HelperProto, index: u8, ty: ArgType) -> Result<(), Failure> {
    let reference = |index, ty| match ty {
        // What a field lies in is not given away.
        ArgType::Anything | ArgType::Kptr => None,
        _ => {
            let id = cx.state.reg(arg_reg(index)).as_pointer()?.kind.reference();
            id.filter(|id| cx.state.holds(*id))
        }
    };
    let earlier = (0..index).zip(proto.args).find_map(|(index, ty)| reference(index, ty));
    match (reference(index, ty), earlier) {
        (Some(id), Some(earlier)) => {
            let reg = arg_reg(index).index();
            let message = format!("more than one arg with ref_obj_id R{reg} {id} {earlier}");
            Err(Failure::new("two references", message))
        }
        _ => Ok(()),
    }
}

/// Memory of the size that the prototype asks for can be used so.
fn memory_argument(
    cx: &mut Context<'_, '_>,
    proto: &HelperProto,
    index: u8,
    value: &Value,
    argument: MemArg,
) -> Result<(), Failure> {
    let kind = value.as_pointer().map(|pointer| pointer.kind);
    if !proto.packet && matches!(kind, Some(PointerKind::Packet { .. } | PointerKind::PacketMeta { .. })) {
        return Err(Failure::new(
            value.to_string(),
            "helper access to the packet is not allowed",
        ));
    }
    if argument.size == MemSize::NextArgument {
        cx.uses.value(arg_reg(index + 1));
    }
    let (min, max) = mem_size(cx.program, proto, cx.state, index, argument.size)?;
    if max == 0 && matches!(argument.size, MemSize::MapKey | MemSize::MapValue) {
        return Err(Failure::new("a map without them", "invalid zero-sized read"));
    }
    let usage = match argument.usage {
        // Some of the bytes may stay as they are.
        MemUse::Initialize if min != max => MemUse::ReadAndWrite,
        usage => usage,
    };
    if argument.nullable && value.is_zero() {
        if max > 0 && argument.size == MemSize::NextArgument {
            return Err(wrong_type(value, arg_reg(index), "fp"));
        }
        cx.uses.value(arg_reg(index));
        cx.recorder.argument(cx.pc, index, None, usage.writes());
        return Ok(());
    }
    if proto.id == helpers::DYNPTR_FROM_MEM
        && !matches!(
            value.as_pointer(),
            Some(Pointer {
                kind: PointerKind::MapValue { nullable: false, .. },
                ..
            })
        )
    {
        let message = format!(
            "Unsupported reg type {} for bpf_dynptr_from_mem data",
            value.type_name()
        );
        return Err(Failure::new(value.to_string(), message));
    }
    let aligned = matches!(argument.size, MemSize::Fixed(_)) && usage.writes();
    // Where NULL will do the helper looks whether it is.
    let value = if argument.nullable { value.not_null() } else { *value };
    memory(cx, index, &value, max, usage, aligned)
}

/// The least and the greatest size of a memory argument.
pub(crate) fn mem_size(
    program: &Program<'_>,
    proto: &HelperProto,
    state: &State,
    index: u8,
    size: MemSize,
) -> Result<(i64, i64), Failure> {
    let of_map = |size: fn(&MapFacts) -> u32| match map_argument(proto, state) {
        Some(map) => Ok((size(program.map(map)).into(), size(program.map(map)).into())),
        None => Err(Failure::new("no map", "invalid map_ptr to access map->key")),
    };
    match size {
        MemSize::MapKey => of_map(|map| map.key_size),
        MemSize::MapValue => of_map(|map| map.value_size),
        MemSize::Fixed(size) => Ok((size.into(), size.into())),
        MemSize::NextArgument => {
            let zero_allowed = proto.args.get(usize::from(index) + 1) == Some(&ArgType::SizeOrZero);
            let reg = arg_reg(index + 1);
            size_range(&state.reg(reg), reg, zero_allowed)
        }
    }
}

/// The context, as it was passed to the program.
pub(super) fn context(value: &Value, reg: Reg) -> Result<(), Failure> {
    let Some(pointer) = value
        .as_pointer()
        .filter(|pointer| pointer.kind == PointerKind::Context)
    else {
        return Err(wrong_type(value, reg, "ctx"));
    };
    let index = reg.index();
    let message = match pointer.constant_offset() {
        Some(0) => return Ok(()),
        Some(off) => format!("dereference of modified ctx ptr R{index} off={off} disallowed"),
        None => format!("variable ctx access var_off={} disallowed", pointer.var.bits),
    };
    Err(Failure::new(value.to_string(), message))
}

pub(super) fn wrong_type(value: &Value, reg: Reg, expected: &str) -> Failure {
    let message = format!("R{} type={} expected={expected}", reg.index(), value.type_name());
    Failure::new(value.to_string(), message)
}

/// The least and the greatest value of a size argument.
pub(crate) fn size_range(size: &Value, reg: Reg, zero_allowed: bool) -> Result<(i64, i64), Failure> {
    let reg = reg.index();
    let fail = |message: String| Err(Failure::new(size.to_string(), message));
    let scalar: &Scalar = match size {
        Value::Scalar(scalar, _) => scalar,
        Value::Uninit => return fail(format!("R{reg} !read_ok")),
        Value::Pointer(_) => return fail(format!("R{reg} type={} expected=scalar", size.type_name())),
    };
    if scalar.s64.min < 0 {
        return fail(format!(
            "R{reg} min value is negative, either use unsigned or 'var &= const'"
        ));
    }
    if scalar.s64.min == 0 && !zero_allowed {
        return fail(format!("R{reg} invalid zero-sized read: u64={}", scalar.u64));
    }
    if scalar.s64.max >= MAX_OFFSET {
        return fail(format!(
            "R{reg} unbounded memory access, use 'var &= const' or 'if (var < const)'"
        ));
    }
    Ok((scalar.s64.min, scalar.s64.max))
}

/// `len` bytes at the pointer in an argument can be used so.
pub(super) fn memory(
    cx: &mut Context<'_, '_>,
    index: u8,
    value: &Value,
    len: i64,
    usage: MemUse,
    align: bool,
) -> Result<(), Failure> {
    let reg = arg_reg(index);
    let write = usage.writes();
    let expected = "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_";
    let Some(pointer) = value.as_pointer() else {
        return Err(wrong_type(value, reg, expected));
    };
    let bytes = Bytes {
        reg: reg.index(),
        pointer,
        off: 0,
        len,
        read: usage != MemUse::Initialize,
        write,
    };
    let region = match pointer.kind {
        PointerKind::Context
        | PointerKind::PacketEnd
        | PointerKind::Map { .. }
        | PointerKind::Func { .. }
        | PointerKind::Dynptr { .. }
        | PointerKind::InnerMapOrNull { .. }
        | PointerKind::MapValue { nullable: true, .. }
        | PointerKind::Slice { nullable: true, .. }
        | PointerKind::ContextMemory { nullable: true, .. }
        | PointerKind::Symbol { .. }
        | PointerKind::Record { nullable: true, .. }
        | PointerKind::Argument(Argument { nullable: true, .. }) => return Err(wrong_type(value, reg, expected)),
        PointerKind::Object(object) if object.is_trusted_memory() => {
            let access = if write {
                Access::Store
            } else {
                Access::Load { signed: false }
            };
            object::accessible(cx, &bytes, object, access)?
        }
        PointerKind::Object(_) => return Err(wrong_type(value, reg, expected)),
        PointerKind::MapKey { .. } | PointerKind::Element { .. } | PointerKind::Slice { readonly: true, .. }
            if write =>
        {
            let message = format!("R{} cannot write into {}", reg.index(), pointer.kind.name());
            return Err(Failure::new(value.to_string(), message));
        }
        PointerKind::Argument(_) if align => return Err(wrong_type(value, reg, "fp, map_value")),
        PointerKind::Argument(argument) => {
            argument_memory(&bytes, argument)?;
            cx.recorder.argument(cx.pc, index, None, write);
            cx.recorder.pass_argument(cx.pc, index, argument);
            return Ok(());
        }
        PointerKind::Stack { frame } => {
            if align {
                aligned(&bytes, "stack ")?;
            }
            let (min, max) = stack_range(pointer, 0, len, reg.index(), write)?;
            dynptr::untouched(cx, &bytes, frame, min, max - min + len)?;
            if usage != MemUse::Initialize {
                stack_bytes(cx, frame, min, max - min + len);
            }
            cx.recorder.stack(cx.state.frames()[usize::from(frame)].subprog, min);
            Region::Stack
        }
        _ => {
            if align {
                aligned(&bytes, "value ")?;
            }
            if let PointerKind::Slice {
                buffer: Some(buffer), ..
            } = pointer.kind
            {
                let elsewhere = buffer_region(cx, buffer);
                cx.recorder.argument(cx.pc, index, Some(elsewhere), write);
            }
            bytes_of_object(cx, &bytes)?
        }
    };
    cx.recorder.argument(cx.pc, index, Some(region), write);
    Ok(())
}

/// The map is one that the helper works on.
pub(super) fn suitable_map(cx: &mut Context<'_, '_>, helper: u32) -> Result<(), Failure> {
    let (Some(proto), program) = (cx.program.helper(helper), cx.program) else {
        return Ok(());
    };
    let Some(map) = map_argument(proto, cx.state) else {
        return Err(Failure::new("no map", "map_ptr is unknown"));
    };
    let facts = program.map(map);
    let ty = map_types::of(facts.kind);
    let found = || format!("map {} of type {}", facts.name, ty.name);
    let any = proto.maps.is_empty();
    if !any && !proto.maps.contains(&facts.kind) {
        let message = match helper {
            helpers::TAIL_CALL => "expected prog array map for tail call".to_owned(),
            _ if proto.calls_back == Some(CallsBack::Elements) => "callback function not allowed for map".to_owned(),
            _ => format!(
                "cannot pass map_type {} into func {}#{helper}",
                facts.kind.number(),
                proto.name
            ),
        };
        return Err(Failure::new(found(), message));
    }
    match ty.lookup {
        _ if proto.id != helpers::MAP_LOOKUP_ELEM => {}
        Lookup::InnerMap if program.inner_map(map).is_none() => {
            let message = format!("lookups in maps of type {} are not supported", ty.name);
            return Err(Failure::new(found(), message));
        }
        Lookup::Socket => reference_count(cx.state)?,
        _ => {}
    }
    if proto.writes_map && facts.is_readonly() {
        return Err(Failure::new(
            format!("read-only map {}", facts.name),
            "write into map forbidden",
        ));
    }
    if proto.id == helpers::GET_LOCAL_STORAGE {
        cx.uses.value(Reg::R2);
        let flags = cx.state.reg(Reg::R2);
        if !flags.is_zero() {
            let message = "get_local_storage() doesn't support non-zero flags";
            return Err(Failure::new(flags.to_string(), message));
        }
    }
    cx.recorder
        .map_argument(cx.pc, program.named_map(map), proto.writes_map);
    Ok(())
}

/// The lock that a pointer points to, whatever the state of it.
pub(crate) fn lock_at(value: &Value) -> Option<HeldLock> {
    match value.as_pointer()?.kind {
        PointerKind::MapValue {
            map,
            id,
            nullable: false,
        } => Some(HeldLock {
            owner: LockOwner::Map(map),
            id,
        }),
        PointerKind::Object(object) if object.reference != 0 && object.is_kept() && !object.nullable => {
            Some(HeldLock {
                owner: LockOwner::Object,
                id: object.reference,
            })
        }
        _ => None,
    }
}

/// The size of memory that a helper returns.
fn alloc_size(cx: &mut Context<'_, '_>, reg: Reg, value: &Value) -> Result<(), Failure> {
    let message = match value {
        Value::Scalar(size, _) if size.as_constant().is_some() => {
            cx.uses.value(reg);
            return Ok(());
        }
        // The quotation mark is the kernel's.
        Value::Scalar(..) => format!("R{} is not a known constant'", reg.index()),
        _ => return Err(wrong_type(value, reg, "scalar")),
    };
    Err(Failure::new(value.to_string(), message))
}

/// A record to be released, whole.
fn record(cx: &Context<'_, '_>, reg: Reg, value: &Value) -> Result<(), Failure> {
    let (pointer, id) = match value.as_pointer() {
        Some(pointer) => match pointer.kind {
            PointerKind::Record {
                id, nullable: false, ..
            } => (pointer, id),
            _ => return Err(wrong_type(value, reg, "ringbuf_mem")),
        },
        None => return Err(wrong_type(value, reg, "ringbuf_mem")),
    };
    let index = reg.index();
    let message = match pointer.constant_offset() {
        Some(0) if cx.state.holds(id) => return Ok(()),
        Some(0) => format!("R{index} must be referenced when passed to release function"),
        Some(_) => format!("R{index} must have zero offset when passed to release func or trusted arg to kfunc"),
        None => format!("variable ringbuf_mem access var_off={} disallowed", pointer.var.bits),
    };
    Err(Failure::new(value.to_string(), message))
}

/// The function that a pointer points to.
pub(crate) fn function(value: &Value) -> Option<usize> {
    match value.as_pointer()?.kind {
        PointerKind::Func { subprog } => Some(subprog as usize),
        _ => None,
    }
}

/// The address of a function, as it was loaded.
fn callback(cx: &mut Context<'_, '_>, proto: &HelperProto, reg: Reg, value: &Value) -> Result<(), Failure> {
    let (Some(pointer), Some(subprog)) = (value.as_pointer(), function(value)) else {
        return Err(wrong_type(value, reg, "func"));
    };
    let index = reg.index();
    let message = match pointer.constant_offset() {
        Some(0) => {
            let timer = cx.state.reg(Reg::R1).as_pointer().map(|pointer| pointer.kind);
            match (proto.calls_back, timer) {
                (Some(CallsBack::Later), Some(PointerKind::MapValue { map, .. })) => {
                    cx.recorder.call_later(subprog, map);
                }
                _ => cx.recorder.call_back(cx.pc, subprog),
            }
            return Ok(());
        }
        Some(off) => format!("dereference of modified func ptr R{index} off={off} disallowed"),
        None => format!("variable func access var_off={} disallowed", pointer.var.bits),
    };
    Err(Failure::new(value.to_string(), message))
}

/// A timer in a value of a map that the program names.
fn timer(cx: &Context<'_, '_>, reg: Reg, value: &Value) -> Result<(), Failure> {
    let fail = |message: String| Err(Failure::new(value.to_string(), message));
    let Some(pointer) = value.as_pointer() else {
        return Err(wrong_type(value, reg, "map_value"));
    };
    let PointerKind::MapValue {
        map, nullable: false, ..
    } = pointer.kind
    else {
        return Err(wrong_type(value, reg, "map_value"));
    };
    let Some(off) = pointer.constant_offset() else {
        let message = "doesn't have constant offset. bpf_timer has to be at the constant offset";
        return fail(format!("R{} {message}", reg.index()));
    };
    let facts = cx.program.map(map);
    let Some(timer_off) = facts.timer else {
        return fail(format!("map '{}' has no valid bpf_timer", facts.name));
    };
    if off != i64::from(timer_off) {
        return fail(format!(
            "off {off} doesn't point to 'struct bpf_timer' that is at {timer_off}"
        ));
    }
    match cx.program.named_map(map) {
        NamedMap::Itself(_) => Ok(()),
        // Nothing tells the maps in it apart.
        NamedMap::InnerOf(_) => fail("timers in maps of maps are not supported".to_owned()),
    }
}

/// A timer belongs to the map that its value is in.
fn timer_map(cx: &Context<'_, '_>, proto: &HelperProto, map: u32) -> Result<(), Failure> {
    if proto.id != helpers::TIMER_INIT {
        return Ok(());
    }
    match cx.state.reg(Reg::R1).as_pointer().map(|pointer| pointer.kind) {
        Some(PointerKind::MapValue { map: of_timer, .. }) if of_timer != map => {
            let message = "timer pointer in R1 map_uid=0 doesn't match map pointer in R2 map_uid=0";
            Err(Failure::new("another map", message))
        }
        _ => Ok(()),
    }
}

fn spin_lock(cx: &Context<'_, '_>, helper: u32, reg: Reg, value: &Value) -> Result<(), Failure> {
    let fail = |message: String| Err(Failure::new(value.to_string(), message));
    let (Some(pointer), Some(lock)) = (value.as_pointer(), lock_at(value)) else {
        return Err(wrong_type(value, reg, "map_value, ptr_"));
    };
    if in_locked_callback(cx.state) {
        return fail("can't spin_{lock,unlock} in rbtree cb".to_owned());
    }
    let Some(off) = pointer.constant_offset() else {
        let message = "doesn't have constant offset. bpf_spin_lock has to be at the constant offset";
        return fail(format!("R{} {message}", reg.index()));
    };
    let (lock_off, name) = match (lock.owner, value.as_object()) {
        (LockOwner::Map(map), _) => (
            cx.program.map(map).spin_lock,
            format!("map '{}'", cx.program.map(map).name),
        ),
        (LockOwner::Object, Some(object)) => {
            let fields = cx.program.own_fields(object.ty);
            (fields.and_then(|fields| fields.lock), "kptr".to_owned())
        }
        (LockOwner::Object, None) => (None, "kptr".to_owned()),
    };
    let Some(lock_off) = lock_off else {
        return fail(format!("{name} has no valid bpf_spin_lock"));
    };
    if off != i64::from(lock_off) {
        return fail(format!(
            "off {off} doesn't point to 'struct bpf_spin_lock' that is at {lock_off}"
        ));
    }
    match (helper == helpers::SPIN_LOCK, cx.state.lock) {
        (true, None) => Ok(()),
        (true, Some(_)) => fail("Locking two bpf_spin_locks are not allowed".to_owned()),
        (false, None) => fail("bpf_spin_unlock without taking a lock".to_owned()),
        (false, Some(held)) if held == lock => Ok(()),
        (false, Some(_)) => fail("bpf_spin_unlock of different lock".to_owned()),
    }
}

/// Whether this is, or is called by, a function that runs while a lock is held which it has to leave alone.
pub(super) fn in_locked_callback(state: &State) -> bool {
    let mut callbacks = state.frames().iter().filter_map(|frame| frame.callback);
    callbacks.any(|callback| callback.locked)
}

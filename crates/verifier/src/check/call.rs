//! Arguments of BPF helpers.

use hitless_isa::Reg;

use super::Context;
use super::memory::{Bytes, found, object, stack_range};
use crate::domain::pointer::{MAX_OFFSET, PointerKind};
use crate::domain::scalar::Scalar;
use crate::domain::value::Value;
use crate::error::Failure;
use crate::facts::{ArgType, HelperProto, MapFacts, MapKind, Region};
use crate::state::{HeldLock, State};
use crate::tables::helpers;

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
    let map = map_argument(proto, state).map(|map| cx.program.map(map));
    match ty {
        ArgType::None | ArgType::Anything => Ok(()),
        ArgType::Context => context(&value, reg),
        ArgType::ConstMap => match value.as_pointer().map(|pointer| pointer.kind) {
            Some(PointerKind::Map { .. }) => Ok(()),
            _ => Err(wrong_type(&value, reg, "map_ptr")),
        },
        ArgType::MapKey => memory(cx, index, &value, map_size(map, |facts| facts.key_size)?, Use::Read),
        ArgType::MapValue => memory(cx, index, &value, map_size(map, |facts| facts.value_size)?, Use::Read),
        ArgType::Mem | ArgType::UninitMem => {
            let zero_allowed = proto.args.get(usize::from(index) + 1) == Some(&ArgType::SizeOrZero);
            let size = state.reg(arg_reg(index + 1));
            let range = size_range(&size, arg_reg(index + 1), zero_allowed)?;
            let usage = match ty {
                ArgType::Mem => Use::Read,
                _ if range.0 == range.1 => Use::Write,
                // Some of the bytes may stay as they are.
                _ => Use::ReadAndWrite,
            };
            memory(cx, index, &value, range.1, usage)
        }
        // Checked with the memory before it.
        ArgType::Size | ArgType::SizeOrZero => Ok(()),
        ArgType::SpinLock => spin_lock(cx, helper, reg, &value),
    }
}

/// The context, as it was passed to the program.
fn context(value: &Value, reg: Reg) -> Result<(), Failure> {
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

fn wrong_type(value: &Value, reg: Reg, expected: &str) -> Failure {
    let message = format!("R{} type={} expected={expected}", reg.index(), value.type_name());
    Failure::new(value.to_string(), message)
}

fn map_size(map: Option<&MapFacts>, size: impl Fn(&MapFacts) -> u32) -> Result<i64, Failure> {
    match map {
        Some(facts) => Ok(size(facts).into()),
        None => Err(Failure::new("no map", "invalid map_ptr to access map->key")),
    }
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

/// What a helper does to memory.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Read,
    Write,
    ReadAndWrite,
}

/// `len` bytes at the pointer in an argument can be used so. NULL will do for no bytes.
fn memory(cx: &mut Context<'_, '_>, index: u8, value: &Value, len: i64, usage: Use) -> Result<(), Failure> {
    let reg = arg_reg(index);
    let write = usage != Use::Read;
    if value.is_zero() && len == 0 {
        cx.recorder.argument(cx.pc, index, None, write);
        return Ok(());
    }
    let expected = "fp, pkt, pkt_meta, map_key, map_value";
    let Some(pointer) = value.as_pointer() else {
        return Err(wrong_type(value, reg, expected));
    };
    let bytes = Bytes {
        reg: reg.index(),
        pointer,
        off: 0,
        len,
        write,
    };
    let region = match pointer.kind {
        PointerKind::Context
        | PointerKind::PacketEnd
        | PointerKind::Map { .. }
        | PointerKind::MapValue { nullable: true, .. } => return Err(wrong_type(value, reg, expected)),
        PointerKind::Stack { frame } => {
            let (min, max) = stack_range(pointer, 0, len, reg.index(), write, " indirect")?;
            if usage != Use::Write {
                cx.state.stack(frame).readable(min, max - min + len).map_err(|fault| {
                    let at = match fault {
                        crate::domain::stack::StackFault::Uninit { off }
                        | crate::domain::stack::StackFault::Pointer { off } => off - min,
                    };
                    let message = format!(
                        "invalid indirect read from stack R{} off {min}+{at} size {len}",
                        reg.index()
                    );
                    Failure::new(found(fault), message)
                })?;
            }
            cx.recorder.stack(cx.state.frames()[usize::from(frame)].subprog, min);
            Region::Stack
        }
        _ => object(cx, &bytes)?,
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
    if !proto.maps.contains(&facts.kind) {
        let number = match facts.kind {
            MapKind::Hash => 1,
            MapKind::Array => 2,
        };
        let message = format!("cannot pass map_type {number} into func {}#{helper}", proto.name);
        return Err(Failure::new(format!("map {}", facts.name), message));
    }
    if proto.writes_map && facts.readonly_prog {
        return Err(Failure::new(
            format!("read-only map {}", facts.name),
            "write into map forbidden",
        ));
    }
    cx.recorder.map_argument(cx.pc, map, proto.writes_map)
}

/// The lock that a pointer points to, whatever the state of it.
pub(crate) fn lock_at(value: &Value) -> Option<HeldLock> {
    match value.as_pointer()?.kind {
        PointerKind::MapValue {
            map,
            id,
            nullable: false,
        } => Some(HeldLock { map, id }),
        _ => None,
    }
}

fn spin_lock(cx: &Context<'_, '_>, helper: u32, reg: Reg, value: &Value) -> Result<(), Failure> {
    let fail = |message: String| Err(Failure::new(value.to_string(), message));
    let (Some(pointer), Some(lock)) = (value.as_pointer(), lock_at(value)) else {
        return Err(wrong_type(value, reg, "map_value"));
    };
    let Some(off) = pointer.constant_offset() else {
        let message = "doesn't have constant offset. bpf_spin_lock has to be at the constant offset";
        return fail(format!("R{} {message}", reg.index()));
    };
    let facts = cx.program.map(lock.map);
    let Some(lock_off) = facts.spin_lock else {
        return fail(format!("map '{}' has no valid bpf_spin_lock", facts.name));
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

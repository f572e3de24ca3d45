//! Accesses to memory: by loads, stores and atomics, and by helpers on behalf of the program.

use hitless_isa::{Reg, Size};

use super::Context;
use super::{dynptr, kptr, object};
use crate::domain::object::Object;
use crate::domain::pointer::{Argument, MAX_OFFSET, Pointer, PointerKind};
use crate::domain::stack::{DynptrMemory, FRAME_SIZE, PointerByte, SliceBuffer, slots_of};
use crate::domain::tnum::Tnum;
use crate::domain::value::Value;
use crate::error::Failure;
use crate::facts::{ContextFieldKind, ManagedField, Region};
use crate::program::NamedMap;
use crate::requirements::Access;

/// Some bytes at a pointer: `len` of them from `off` on.
#[derive(Clone, Copy)]
pub(super) struct Bytes<'a> {
    /// Number of the register with the pointer, for messages.
    pub(super) reg: usize,
    pub(super) pointer: &'a Pointer,
    pub(super) off: i64,
    pub(super) len: i64,
    pub(super) read: bool,
    pub(super) write: bool,
}

impl Bytes<'_> {
    pub(super) fn fail<T>(&self, message: String) -> Result<T, Failure> {
        Err(Failure::new(self.pointer.to_string(), message))
    }
}

/// A load, store or atomic may access `size` bytes at `base + off`.
pub(super) fn accessible(
    cx: &mut Context<'_, '_>,
    access: Access,
    size: Size,
    base: Reg,
    off: i16,
) -> Result<(), Failure> {
    let value = cx.state.reg(base);
    let reg = base.index();
    let Some(pointer) = value.as_pointer() else {
        return Err(Failure::new(
            value.to_string(),
            format!("R{reg} invalid mem access '{}'", value.type_name()),
        ));
    };
    let bytes = Bytes {
        reg,
        pointer,
        off: off.into(),
        len: size.bytes() as i64,
        read: access.reads(),
        write: access.writes(),
    };
    let atomic = matches!(access, Access::Atomic { .. });
    let region = match pointer.kind {
        PointerKind::Map { map } => map_itself(cx, &bytes, map, access)?,
        PointerKind::Func { .. }
        | PointerKind::Dynptr { .. }
        | PointerKind::InnerMapOrNull { .. }
        | PointerKind::PacketEnd
        | PointerKind::MapValue { nullable: true, .. }
        | PointerKind::Slice { nullable: true, .. }
        | PointerKind::ContextMemory { nullable: true, .. }
        | PointerKind::Record { nullable: true, .. }
        | PointerKind::Argument(Argument { nullable: true, .. })
        | PointerKind::Object(Object { nullable: true, .. }) => {
            return bytes.fail(format!("R{reg} invalid mem access '{}'", value.type_name()));
        }
        PointerKind::Context
        | PointerKind::Packet { .. }
        | PointerKind::PacketMeta { .. }
        | PointerKind::ContextMemory { .. }
        | PointerKind::Argument(_)
            if atomic =>
        {
            let direction = if access.writes() { "stores into" } else { "loads from" };
            return bytes.fail(format!(
                "BPF_ATOMIC {direction} R{reg} {} is not allowed",
                value.type_name()
            ));
        }
        PointerKind::Object(object) if atomic && object.is_socket() => {
            let direction = if access.writes() { "stores into" } else { "loads from" };
            return bytes.fail(format!(
                "BPF_ATOMIC {direction} R{reg} {} is not allowed",
                object.name()
            ));
        }
        PointerKind::Argument(argument) => {
            argument_memory(&bytes, argument)?;
            return cx.recorder.access_argument(cx.pc, argument);
        }
        PointerKind::Object(object) => {
            if atomic {
                aligned(&bytes, "")?;
            }
            object::accessible(cx, &bytes, object, access)?
        }
        PointerKind::Context => context_field(cx, &bytes, access)?,
        PointerKind::Stack { frame } => {
            aligned(&bytes, "stack ")?;
            let (min, max) = stack_range(pointer, bytes.off, bytes.len, reg, bytes.write)?;
            if atomic && access.reads() && access.writes() && min != max {
                return bytes.fail(format!(
                    "variable offset stack pointer cannot be passed into helper function; var_off={} off={} size={}",
                    pointer.var.bits,
                    pointer.fixed + bytes.off,
                    bytes.len
                ));
            }
            if access.reads() {
                dynptr::unread(cx, &bytes, frame, min, max - min + bytes.len)?;
            }
            if access.writes() {
                dynptr::kept(cx, &bytes, frame, min, max - min + bytes.len)?;
            }
            if access.reads() {
                stack_load(cx, &bytes, frame, (min, max))?;
            }
            cx.recorder.stack(cx.state.frames()[usize::from(frame)].subprog, min);
            Region::Stack
        }
        PointerKind::MapValue { .. } => {
            if atomic {
                aligned(&bytes, "value ")?;
            }
            value_access(cx, &bytes, access)?
        }
        PointerKind::Slice { readonly: true, .. } if bytes.write => {
            return bytes.fail(format!("R{reg} cannot write into rdonly_mem"));
        }
        PointerKind::Slice {
            buffer: Some(buffer), ..
        } => {
            if atomic {
                return bytes.fail("atomic operations on slices of packets are not supported".to_owned());
            }
            let region = bytes_of_object(cx, &bytes)?;
            let elsewhere = buffer_region(cx, buffer);
            cx.recorder.access(cx.pc, elsewhere, bytes.write)?;
            region
        }
        PointerKind::Record { .. } | PointerKind::Slice { .. } => {
            if atomic {
                aligned(&bytes, "")?;
            }
            bytes_of_object(cx, &bytes)?
        }
        PointerKind::Symbol { .. } if bytes.write || atomic => {
            return bytes.fail(format!("R{reg} cannot write into rdonly_mem"));
        }
        PointerKind::Symbol { size } => {
            sized(&bytes, size, &format!("memory, mem_size={size}"))?;
            Region::Object
        }
        PointerKind::MapKey { .. } if bytes.write => {
            return bytes.fail(format!("write to change key R{reg} not allowed"));
        }
        PointerKind::Element { .. } if bytes.write => {
            return bytes.fail(format!("R{reg} cannot write into rdonly_mem"));
        }
        PointerKind::Element { .. }
        | PointerKind::MapKey { .. }
        | PointerKind::ContextMemory { .. }
        | PointerKind::Packet { .. }
        | PointerKind::PacketMeta { .. } => bytes_of_object(cx, &bytes)?,
    };
    cx.recorder.access(cx.pc, region, bytes.write)
}

/// The address is certainly a multiple of the access size.
pub(super) fn aligned(bytes: &Bytes<'_>, what: &str) -> Result<(), Failure> {
    let pointer = bytes.pointer;
    let address = pointer.var.bits.add(Tnum::constant((pointer.fixed + bytes.off) as u64));
    if address.is_aligned(bytes.len as u64) {
        return Ok(());
    }
    let (var, fixed, off, len) = (pointer.var.bits, pointer.fixed, bytes.off, bytes.len);
    bytes.fail(format!("misaligned {what}access off {var}+{fixed}+{off} size {len}"))
}

/// The least and the greatest offset at which an access of `len` bytes to the stack can start. All of it is in the frame.
pub(crate) fn stack_range(
    pointer: &Pointer,
    off: i64,
    len: i64,
    reg: usize,
    write: bool,
) -> Result<(i64, i64), Failure> {
    let direction = if write { " write to" } else { " read from" };
    let fail = |message: String| Err(Failure::new(pointer.to_string(), message));
    let Some((min, max)) = pointer.offsets() else {
        return fail(format!("invalid unbounded variable-offset{direction} stack R{reg}"));
    };
    let (min, max) = (min + off, max + off);
    if -FRAME_SIZE <= min && max + len <= 0 && (len > 0 || max < 0) {
        return Ok((min, max));
    }
    if min == max {
        return fail(format!("invalid{direction} stack R{reg} off={min} size={len}"));
    }
    let bits = pointer.var.bits;
    fail(format!(
        "invalid variable-offset{direction} stack R{reg} var_off={bits} off={} size={len}",
        pointer.fixed + off
    ))
}

/// A load at one offset finds bytes, or a spilled pointer as a whole. At an unknown one it finds some bytes.
fn stack_load(cx: &mut Context<'_, '_>, bytes: &Bytes<'_>, frame: u8, (min, max): (i64, i64)) -> Result<(), Failure> {
    if min == max
        && let Err(PointerByte { off }) = cx.state.stack(frame).load(min, bytes.len as usize)
    {
        let found = format!("part of a pointer at stack offset {off}");
        return Err(Failure::new(found, "invalid size of register fill"));
    }
    stack_bytes(cx, frame, min, max - min + bytes.len);
    Ok(())
}

/// `len` bytes of the stack from `off` on are read.
pub(super) fn stack_bytes(cx: &mut Context<'_, '_>, frame: u8, off: i64, len: i64) {
    if !cx.state.stack(frame).is_written(off, len) {
        cx.recorder.clear_stack(cx.state.frames()[usize::from(frame)].subprog);
    }
    cx.uses.read(frame, slots_of(off, len));
}

/// The context field that is accessed, if it may be accessed so.
fn context_field(cx: &mut Context<'_, '_>, bytes: &Bytes<'_>, access: Access) -> Result<Region, Failure> {
    let reg = bytes.reg;
    match bytes.pointer.constant_offset() {
        Some(0) => {}
        Some(off) => return bytes.fail(format!("dereference of modified ctx ptr R{reg} off={off} disallowed")),
        None => {
            return bytes.fail(format!(
                "variable ctx access var_off={} disallowed",
                bytes.pointer.var.bits
            ));
        }
    }
    let (start, len) = (bytes.off, bytes.len);
    let end = start + len;
    let context = cx.program.input.context;
    for (index, field) in context.fields.iter().enumerate() {
        let (first, last) = (i64::from(field.off), i64::from(field.off) + i64::from(field.size));
        if start < first || end > last {
            continue;
        }
        let widths = match access {
            Access::Load { signed } if signed && !field.kind.is_number() => continue,
            Access::Load { .. } => field.loads,
            _ => field.stores,
        };
        if !widths.allow(field.off, start as u32, len as u32) {
            continue;
        }
        if let ContextFieldKind::Unsupported(what) = field.kind {
            return bytes.fail(format!("{}.{}: {what} are not supported", context.name, field.name));
        }
        if field.kind == ContextFieldKind::Record {
            cx.recorder.extent(index as u16, end - first);
        }
        return Ok(Region::Context { field: index as u16 });
    }
    let found = format!("bytes {start} to {end} of {}", context.name);
    Err(Failure::new(
        found,
        format!("invalid bpf_context access off={start} size={len}"),
    ))
}

/// The bytes lie in the packet, a map value, memory behind a context field, or a record; returns which.
///
/// The pointer is none to the context, the stack, a map or the packet's end, and is not NULL.
pub(super) fn bytes_of_object(cx: &mut Context<'_, '_>, bytes: &Bytes<'_>) -> Result<Region, Failure> {
    match bytes.pointer.kind {
        PointerKind::Packet { id, range } | PointerKind::PacketMeta { id, range } => packet(cx, bytes, id, range),
        PointerKind::MapValue {
            map, nullable: false, ..
        } => {
            let (region, offsets) = map_value(cx, bytes, map)?;
            match kptr::touched(cx.program.map(map), offsets, bytes.len) {
                None => Ok(region),
                Some(_) => bytes.fail("kptr cannot be accessed indirectly by helper".to_owned()),
            }
        }
        PointerKind::ContextMemory {
            field,
            nullable: false,
            writable,
            ..
        } => context_memory(cx, bytes, field, writable),
        PointerKind::Element { size, .. } => {
            sized(bytes, size, &format!("memory, mem_size={size}"))?;
            Ok(Region::Stack)
        }
        PointerKind::MapKey { map } => {
            let size = cx.program.map(map).key_size;
            sized(bytes, size, &format!("map key, key_size={size}"))?;
            Ok(match cx.program.named_map(map) {
                NamedMap::Itself(map) => Region::MapKey { map },
                NamedMap::InnerOf(outer) => Region::InnerMapKey { outer },
            })
        }
        PointerKind::Slice {
            memory,
            size,
            nullable: false,
            ..
        } => {
            sized(bytes, size, &format!("memory, mem_size={size}"))?;
            Ok(match memory {
                DynptrMemory::MapValue { map } => value_region(cx, map),
                DynptrMemory::Record { map } => record_region(cx, map),
                DynptrMemory::Packet { .. } => Region::Packet,
            })
        }
        PointerKind::Record {
            map,
            size,
            nullable: false,
            ..
        } => {
            let what = format!("memory, mem_size={size}");
            sized(bytes, size, &what)?;
            Ok(record_region(cx, map))
        }
        kind => bytes.fail(format!("R{} invalid mem access '{}'", bytes.reg, kind.name())),
    }
}

fn packet(cx: &Context<'_, '_>, bytes: &Bytes<'_>, id: u32, range: u32) -> Result<Region, Failure> {
    let reg = bytes.reg;
    if bytes.write && !cx.program.input.context.packet_writable {
        return bytes.fail("cannot write into packet".to_owned());
    }
    if bytes.pointer.var.s64.min < 0 {
        return bytes.fail(negative(reg));
    }
    // `range` counts from the start plus the unknown part, and that is not before the start.
    let off = bytes.pointer.fixed + bytes.off;
    if off < 0 || off + bytes.len > range.into() {
        return bytes.fail(format!(
            "invalid access to packet, off={off} size={}, R{reg}(id={id},off={off},r={range})",
            bytes.len
        ));
    }
    Ok(Region::Packet)
}

fn negative(reg: usize) -> String {
    format!("R{reg} min value is negative, either use unsigned index or do a if (index >=0) check.")
}

/// A load, store or atomic of a map value.
fn value_access(cx: &mut Context<'_, '_>, bytes: &Bytes<'_>, access: Access) -> Result<Region, Failure> {
    let PointerKind::MapValue { map, .. } = bytes.pointer.kind else {
        return bytes_of_object(cx, bytes);
    };
    let (region, offsets) = map_value(cx, bytes, map)?;
    if let Some(kptr) = kptr::touched(cx.program.map(map), offsets, bytes.len) {
        kptr::direct(cx, bytes, kptr, access)?;
    }
    Ok(region)
}

/// The bytes lie in a value of the map; returns also the least and the greatest offset of the first.
fn map_value(cx: &Context<'_, '_>, bytes: &Bytes<'_>, map: u32) -> Result<(Region, (i64, i64)), Failure> {
    let facts = cx.program.map(map);
    let size = facts.value_size;
    let forbidden = [
        ("read from", bytes.read && facts.writeonly_prog),
        ("write into", bytes.write && facts.is_readonly()),
    ];
    if let Some((what, _)) = forbidden.into_iter().find(|(_, forbidden)| *forbidden) {
        let (off, len) = (bytes.pointer.fixed + bytes.off, bytes.len);
        return bytes.fail(format!("{what} map forbidden, value_size={size} off={off} size={len}"));
    }
    let (min, max) = sized(bytes, size, &format!("map value, value_size={size}"))?;
    if let Some(lock) = facts.spin_lock.map(i64::from)
        && min < lock + 4
        && lock < max + bytes.len
    {
        return bytes.fail("bpf_spin_lock cannot be accessed directly by load/store".to_owned());
    }
    if let Some(timer) = facts.timer.map(i64::from)
        && min < timer + 16
        && timer < max + bytes.len
    {
        return bytes.fail("bpf_timer cannot be accessed directly by load/store".to_owned());
    }
    if let Some(ManagedField { name, .. }) = facts
        .managed
        .iter()
        .find(|field| field.is_touched(min, max + bytes.len))
    {
        return bytes.fail(format!("{name} cannot be accessed directly by load/store"));
    }
    Ok((value_region(cx, map), (min, max)))
}

/// A load from the host's description of a map, of which nothing is known but its type.
fn map_itself(cx: &Context<'_, '_>, bytes: &Bytes<'_>, map: u32, access: Access) -> Result<Region, Failure> {
    match cx.program.map_struct(map) {
        Some((name, _)) if access.writes() => bytes.fail(format!("only read from {name} is supported")),
        Some((_, object)) if matches!(access, Access::Load { signed: false }) => {
            object::accessible(cx, bytes, object, access)
        }
        _ => bytes.fail(format!("R{} invalid mem access 'map_ptr'", bytes.reg)),
    }
}

/// Where a slice of a packet may lie instead.
pub(super) fn buffer_region(cx: &Context<'_, '_>, buffer: SliceBuffer) -> Region {
    match buffer {
        SliceBuffer::Stack { .. } => Region::Stack,
        SliceBuffer::MapValue { map } => value_region(cx, map),
    }
}

/// The values of a map.
pub(super) fn value_region(cx: &Context<'_, '_>, map: u32) -> Region {
    match cx.program.named_map(map) {
        NamedMap::Itself(map) => Region::MapValue { map },
        NamedMap::InnerOf(outer) => Region::InnerMapValue { outer },
    }
}

fn record_region(cx: &Context<'_, '_>, map: u32) -> Region {
    match cx.program.named_map(map) {
        NamedMap::Itself(map) => Region::Record { map },
        NamedMap::InnerOf(outer) => Region::InnerRecord { outer },
    }
}

/// The bytes lie in an object of `size` bytes, `what` in messages; returns the least and the greatest offset of the first.
fn sized(bytes: &Bytes<'_>, size: u32, what: &str) -> Result<(i64, i64), Failure> {
    let outside = |off: i64| format!("invalid access to {what} off={off} size={}", bytes.len);
    let start = bytes.pointer.fixed + bytes.off;
    let var = &bytes.pointer.var;
    let variable = var.as_constant().is_none();
    if variable && (var.s64.min <= -MAX_OFFSET || start + var.s64.min < 0) {
        return bytes.fail(negative(bytes.reg));
    }
    // As in Linux the unknown part alone has to be bounded, unsigned: what may be negative is not.
    let unbounded = variable && var.u64.max >= MAX_OFFSET as u64;
    let Some((min, max)) = bytes.pointer.offsets().filter(|_| !unbounded) else {
        return bytes.fail(format!(
            "R{} unbounded memory access, make sure to bounds check any such access",
            bytes.reg
        ));
    };
    let (min, max) = (min + bytes.off, max + bytes.off);
    if min < 0 {
        return bytes.fail(outside(min));
    }
    if max + bytes.len > size.into() {
        return bytes.fail(outside(max));
    }
    Ok((min, max))
}

fn context_memory(cx: &mut Context<'_, '_>, bytes: &Bytes<'_>, field: u16, writable: bool) -> Result<Region, Failure> {
    let reg = bytes.reg;
    let name = if writable { "rdwr_buf" } else { "rdonly_buf" };
    if bytes.write && !writable {
        return bytes.fail(format!("R{reg} cannot write into rdonly_buf"));
    }
    let Some((min, max)) = bytes.pointer.offsets() else {
        let bits = bytes.pointer.var.bits;
        let off = bytes.pointer.fixed + bytes.off;
        return bytes.fail(format!(
            "R{reg} invalid variable buffer offset: off={off}, var_off={bits}"
        ));
    };
    let (min, max) = (min + bytes.off, max + bytes.off);
    if min < 0 {
        return bytes.fail(format!(
            "R{reg} invalid {name} buffer access: off={min}, size={}",
            bytes.len
        ));
    }
    cx.recorder.extent(field, max + bytes.len);
    Ok(Region::ContextMemory { field })
}

/// The bytes lie in the memory that a global function was given.
pub(super) fn argument_memory(bytes: &Bytes<'_>, argument: Argument) -> Result<(), Failure> {
    let size = i64::from(argument.size);
    let (reg, len) = (bytes.reg, bytes.len);
    if bytes.pointer.var.s64.min < 0 {
        return bytes.fail(negative(reg));
    }
    let Some((min, max)) = bytes.pointer.offsets() else {
        return bytes.fail(format!(
            "R{reg} unbounded memory access, make sure to bounds check any such access"
        ));
    };
    let (min, max) = (min + bytes.off, max + bytes.off);
    let outside = if min < 0 { min } else { max };
    if min < 0 || max + len > size {
        return bytes.fail(format!(
            "invalid access to memory, mem_size={size} off={outside} size={len}"
        ));
    }
    Ok(())
}

/// The register may be stored at an offset from `base`, which is accessible.
pub(super) fn storable(cx: &Context<'_, '_>, src: Reg, size: Size, base: Reg) -> Result<(), Failure> {
    let value = cx.state.reg(src);
    let Value::Pointer(stored) = value else { return Ok(()) };
    let fail = |message: String| Err(Failure::new(value.to_string(), message));
    let destination = cx.state.reg(base);
    let Some(PointerKind::Stack { frame }) = destination.as_pointer().map(|pointer| pointer.kind) else {
        return Ok(());
    };
    if size != Size::Dw {
        return fail("invalid size of register spill".to_owned());
    }
    match stored.kind {
        PointerKind::Stack { frame: pointee } if pointee > frame => {
            fail("cannot spill pointers to stack into stack frame of the caller".to_owned())
        }
        _ => Ok(()),
    }
}

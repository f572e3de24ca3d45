//! Registers and stacks as the kernel's log shows them: `R1=ctx()`, `R2=scalar(id=1+3,smin=…,var_off=(0x0; 0xff))`,
//! `fp-16=0000mmmm`.

use std::fmt::Write;

use hitless_btf::Btf;
use hitless_isa::Reg;

use crate::domain::object::Object;
use crate::domain::pointer::{Pointer, PointerKind};
use crate::domain::scalar::Scalar;
use crate::domain::stack::Slots;
use crate::domain::value::{Link, Value};
use crate::facts::{MapFacts, ObjectType, ProgramInput};
use crate::members;
use crate::state::State;

/// What has names.
#[derive(Clone, Copy, Default)]
pub(crate) struct Names<'a> {
    maps: &'a [MapFacts],
    types: Option<&'a Btf>,
}

impl<'a> Names<'a> {
    pub(crate) fn of(input: &ProgramInput<'a>) -> Names<'a> {
        Names {
            maps: input.maps,
            types: input.types,
        }
    }
}

/// Every register, as bits.
pub(crate) const ALL_REGS: u16 = 0x7ff;

/// The frame at `depth`: its name unless it is the main program's, then those of the registers and stack slots that hold
/// something. Each item begins with a space.
pub(crate) fn frame(input: &ProgramInput<'_>, state: &State, depth: usize, regs: u16, slots: Slots) -> String {
    let mut out = String::new();
    if depth > 0 {
        let _ = write!(out, " frame{depth}:");
    }
    let frame = &state.frames()[depth];
    for index in (0..10).filter(|index| regs & 1 << index != 0) {
        let value = frame.reg(index);
        if *value != Value::Uninit {
            let _ = write!(out, " R{index}={}", self::value(Names::of(input), value, depth));
        }
    }
    if regs & 1 << Reg::R10.index() != 0 {
        out += " R10=fp0";
    }
    for (index, slot) in frame.stack.bytes().filter(|(index, _)| slots & 1 << index != 0) {
        let spill = slot
            .spill
            .map(|spilled| value(Names::of(input), spilled, depth))
            .unwrap_or_default();
        // The kernel names bytes from the top.
        let bytes: String = slot.bytes.iter().rev().flatten().collect();
        if spill.is_empty() && bytes == "????????" {
            continue;
        }
        let _ = write!(out, " fp-{}={bytes}{spill}", 8 * (index + 1));
    }
    out
}

/// A value in the frame at `depth`.
pub(crate) fn value(names: Names<'_>, value: &Value, depth: usize) -> String {
    match value {
        Value::Uninit => "?".to_owned(),
        Value::Scalar(scalar, link) => number(scalar, *link),
        Value::Pointer(pointer) => self::pointer(names, pointer, depth),
    }
}

fn number(scalar: &Scalar, link: Link) -> String {
    if let Some(constant) = scalar.as_constant() {
        return signed(constant as i64);
    }
    let mut items = Vec::new();
    match link {
        Link { id: 0, .. } => {}
        Link { id, off: 0 } => items.push(format!("id={id}")),
        Link { id, off } => items.push(format!("id={id}{off:+}")),
    }
    push_bounds(&mut items, scalar);
    format!("scalar({})", items.join(","))
}

fn pointer(names: Names<'_>, pointer: &Pointer, depth: usize) -> String {
    let name = pointer.kind.name();
    let off = pointer.constant_offset();
    if let (PointerKind::Stack { frame }, Some(off)) = (pointer.kind, off) {
        let off = signed(off);
        return match usize::from(frame) == depth {
            true => format!("{name}{off}"),
            false => format!("{name}[{frame}]{off}"),
        };
    }
    let mut items = Vec::new();
    let map_items = |items: &mut Vec<String>, map: u32| {
        if let Some(map) = names.maps.get(map as usize) {
            items.push(format!("map={}", map.name));
            items.push(format!("ks={}", map.key_size));
            items.push(format!("vs={}", map.value_size));
        }
    };
    let mut range = None;
    match pointer.kind {
        PointerKind::Packet { id, range: known } | PointerKind::PacketMeta { id, range: known } => {
            items.extend((id != 0).then(|| format!("id={id}")));
            range = Some(format!("r={known}"));
        }
        PointerKind::Map { map } | PointerKind::MapKey { map } => map_items(&mut items, map),
        PointerKind::MapValue { map, id, nullable } => {
            items.extend((nullable && id != 0).then(|| format!("id={id}")));
            map_items(&mut items, map);
        }
        PointerKind::Object(object) => {
            items.extend((object.id != 0).then(|| format!("id={}", object.id)));
            items.extend((object.reference != 0).then(|| format!("ref_obj_id={}", object.reference)));
            items.extend((object.ty == ObjectType::Bytes).then(|| "sz=0".to_owned()));
        }
        PointerKind::Argument(argument) => items.push(format!("sz={}", argument.size)),
        _ => {}
    }
    match off {
        Some(0) => {}
        Some(off) => items.push(format!("off={off}")),
        None if pointer.fixed != 0 => items.push(format!("off={}", pointer.fixed)),
        None => {}
    }
    items.extend(range);
    if off.is_none() {
        push_bounds(&mut items, &pointer.var);
    }
    let ty = match (pointer.kind, names.types) {
        (
            PointerKind::Object(Object {
                ty: ObjectType::Btf(ty),
                ..
            }),
            Some(types),
        ) => members::name(types, ty),
        _ => "",
    };
    format!("{name}{ty}({})", items.join(","))
}

/// The bounds that say something. Those that are equal share their number.
fn push_bounds(items: &mut Vec<String>, scalar: &Scalar) {
    let (u, s) = (scalar.u64, scalar.s64);
    let (u32s, s32s) = (scalar.u32, scalar.s32);
    let both = |x: i64| i128::from(x);
    // What is shown in hexadecimal has as many digits as the number has.
    let half = |x: i32| match i16::try_from(x) {
        Ok(small) => i128::from(small),
        Err(_) => i128::from(x as u32),
    };
    // Name, number, and whether it says nothing.
    let bounds = [
        ("smin", both(s.min), s.min == i64::MIN),
        ("smax", both(s.max), s.max == i64::MAX),
        ("umin", i128::from(u.min), u.min == 0),
        ("umax", i128::from(u.max), u.max == u64::MAX),
        ("smin32", half(s32s.min), s32s.min == i32::MIN),
        ("smax32", half(s32s.max), s32s.max == i32::MAX),
        ("umin32", u32s.min.into(), u32s.min == 0),
        ("umax32", u32s.max.into(), u32s.max == u32::MAX),
    ];
    let mut left: Vec<_> = bounds.into_iter().filter(|bound| !bound.2).collect();
    while let Some(&(first, number, _)) = left.first() {
        let mut item = String::new();
        for (name, ..) in left.extract_if(.., |bound| bound.1 == number) {
            let _ = write!(item, "{name}=");
        }
        item += &match first.starts_with('s') {
            true => signed(number as i64),
            false => unsigned(number as u64),
        };
        items.push(item);
    }
    let bits = scalar.bits;
    if bits.mask != u64::MAX {
        items.push(format!("var_off=({:#x}; {:#x})", bits.value, bits.mask));
    }
}

/// Numbers of 16 bits are decimal, others hexadecimal.
fn signed(number: i64) -> String {
    match i16::try_from(number) {
        Ok(small) => small.to_string(),
        Err(_) => format!("{number:#x}"),
    }
}

fn unsigned(number: u64) -> String {
    match u16::try_from(number) {
        Ok(small) => small.to_string(),
        Err(_) => format!("{number:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::scalar::sign_extend;

    #[test]
    fn numbers() {
        let text = |value: Value| super::value(Names::default(), &value, 0);
        assert_eq!(text(Value::UNKNOWN), "scalar()");
        assert_eq!(text(Value::constant(5)), "5");
        assert_eq!(text(Value::constant(-70_000i64 as u64)), "0xfffffffffffeee90");
        let byte = Scalar::loaded(1, false);
        assert_eq!(
            text(Value::Scalar(byte, Link { id: 1, off: 3 })),
            "scalar(id=1+3,smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff))"
        );
        assert_eq!(
            text(Value::Scalar(sign_extend(&byte, 8), Link::NONE)),
            "scalar(smin=smin32=-128,smax=smax32=127)"
        );
        assert_eq!(
            text(Value::Scalar(Scalar::loaded(4, false), Link::NONE)),
            "scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))"
        );
    }

    #[test]
    fn pointers() {
        let text = |kind, fixed, var| super::pointer(Names::default(), &Pointer { kind, fixed, var }, 0);
        let none = Scalar::constant(0);
        assert_eq!(text(PointerKind::Context, 0, none), "ctx()");
        assert_eq!(text(PointerKind::Stack { frame: 0 }, -4, none), "fp-4");
        assert_eq!(
            text(PointerKind::Packet { id: 0, range: 14 }, 14, none),
            "pkt(off=14,r=14)"
        );
        assert_eq!(text(PointerKind::Stack { frame: 1 }, -4, none), "fp[1]-4");
        let var = Scalar::loaded(1, false);
        assert_eq!(
            text(PointerKind::Packet { id: 2, range: 0 }, 1, var),
            "pkt(id=2,off=1,r=0,smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff))"
        );
    }
}

//! Pointers to objects in map values: how they are loaded, stored and exchanged.

use hitless_isa::{Instruction, Operand, Reg};

use super::Context;
use super::call::wrong_type;
use super::memory::{Bytes, value_region};
use crate::domain::object::{Object, Space};
use crate::domain::pointer::{Pointer, PointerKind};
use crate::domain::value::Value;
use crate::error::Failure;
use crate::facts::{Kptr, KptrKind, MapFacts, ObjectType, Region};
use crate::members;
use crate::program::Program;
use crate::requirements::Access;

/// Bytes that such a field takes.
const SIZE: i64 = 8;

/// The first field of the map's values of which the bytes may have a part. They start between `min` and `max`.
pub(super) fn touched(map: &MapFacts, (min, max): (i64, i64), len: i64) -> Option<&Kptr> {
    map.kptrs.iter().find(|kptr| kptr.is_touched(min, max + len))
}

/// A load, store or atomic accesses the field as a whole, and stores only what may be there.
pub(super) fn direct(cx: &mut Context<'_, '_>, bytes: &Bytes<'_>, kptr: &Kptr, access: Access) -> Result<(), Failure> {
    let Some(off) = bytes.pointer.constant_offset().map(|at| at + bytes.off) else {
        return bytes.fail("kptr access cannot have variable offset".to_owned());
    };
    if off != i64::from(kptr.off) {
        let expected = kptr.off;
        return bytes.fail(format!("kptr access misaligned expected={expected} off={off}"));
    }
    if bytes.len != SIZE {
        return bytes.fail("kptr access size must be BPF_DW".to_owned());
    }
    match access {
        Access::Load { signed: false } => Ok(()),
        Access::Store if kptr.kind == KptrKind::Referenced => {
            bytes.fail("store to referenced kptr disallowed".to_owned())
        }
        Access::Store => stored(cx, bytes, kptr),
        _ => bytes.fail("kptr in map can only be accessed using BPF_MEM instruction mode".to_owned()),
    }
}

/// What is stored to a field that nobody relies on: NULL, or an object of its type.
fn stored(cx: &mut Context<'_, '_>, bytes: &Bytes<'_>, kptr: &Kptr) -> Result<(), Failure> {
    let Instruction::Store { src, .. } = *cx.program.insn(cx.pc) else {
        return bytes.fail("kptr in map can only be accessed using BPF_MEM instruction mode".to_owned());
    };
    let reg = match src {
        Operand::Imm(0) => return Ok(()),
        Operand::Imm(_) => {
            let off = kptr.off;
            return bytes.fail(format!("BPF_ST imm must be 0 when storing to kptr at off={off}"));
        }
        Operand::Reg(reg) => reg,
    };
    let value = cx.state.reg(reg);
    if value.is_zero() {
        cx.uses.value(reg);
        return Ok(());
    }
    of_type(cx, reg, &value, kptr)
}

/// The value is an object of the field's type.
fn of_type(cx: &Context<'_, '_>, reg: Reg, value: &Value, kptr: &Kptr) -> Result<(), Failure> {
    let name = |ty| match ty {
        ObjectType::Btf(ty) => cx.program.input.types.map_or("", |types| members::name(types, ty)),
        ObjectType::Own(ty) => cx.program.input.own.map_or("", |own| members::name(own.btf(), ty)),
        _ => "",
    };
    let wanted = name(kptr.ty);
    let mut found = value.type_name().to_owned();
    if let Some((pointer, object)) = typed(value) {
        let at = pointer.constant_offset().and_then(|at| u32::try_from(at).ok());
        let same = |at| match (kptr.kind, object.ty, cx.program.input.types) {
            (KptrKind::Untrusted, ObjectType::Btf(ty), Some(types)) if matches!(kptr.ty, ObjectType::Btf(_)) => {
                members::has_at(types, ty, at, wanted)
            }
            _ => at == 0 && object.ty == kptr.ty,
        };
        if object.space == Space::Host && at.is_some_and(same) {
            return Ok(());
        }
        found += name(object.ty);
    }
    let mut message = format!(
        "invalid kptr access, R{} type={found} expected=ptr_{wanted}",
        reg.index()
    );
    if kptr.kind == KptrKind::Untrusted {
        message += &format!(" or untrusted_ptr_{wanted}");
    }
    Err(Failure::new(value.to_string(), message))
}

/// The pointer, if it is one to an object of the host's types or of the program's own, with the object.
fn typed(value: &Value) -> Option<(&Pointer, Object)> {
    let is_typed = |object: &Object| matches!(object.ty, ObjectType::Btf(_) | ObjectType::Own(_));
    value.as_pointer().zip(value.as_object().filter(is_typed))
}

/// The argument points to a field that holds a reference.
pub(super) fn field(cx: &mut Context<'_, '_>, index: u8, reg: Reg, value: &Value) -> Result<(), Failure> {
    let fail = |message: String| Err(Failure::new(value.to_string(), message));
    let Some((pointer, place, kptrs)) = fields(cx.program, value) else {
        return Err(wrong_type(value, reg, "map_value, ptr_"));
    };
    let reg = reg.index();
    let Some(off) = pointer.constant_offset() else {
        let message = "doesn't have constant offset. kptr has to be at the constant offset";
        return fail(format!("R{reg} {message}"));
    };
    let readonly = matches!(place, Place::Value(map) if cx.program.map(map).is_readonly());
    if kptrs.is_empty() || readonly {
        return fail(format!("R{reg} has no valid kptr"));
    }
    match kptrs.iter().find(|kptr| i64::from(kptr.off) == off) {
        Some(kptr) if kptr.kind == KptrKind::Referenced => {}
        Some(_) => return fail(format!("off={off} kptr isn't referenced kptr")),
        None => return fail(format!("off={off} doesn't point to kptr")),
    }
    let region = match place {
        Place::Value(map) => value_region(cx, map),
        Place::Object => Region::Allocated,
    };
    cx.recorder.argument(cx.pc, index, Some(region), true);
    Ok(())
}

/// What a field is part of.
enum Place {
    /// A value of this map.
    Value(u32),
    /// An object that the program holds a reference to.
    Object,
}

/// What a pointer points into that has fields for pointers to objects, and these.
fn fields<'v, 'p>(program: &Program<'p>, value: &'v Value) -> Option<(&'v Pointer, Place, &'p [Kptr])> {
    let pointer = value.as_pointer()?;
    match pointer.kind {
        PointerKind::MapValue {
            map, nullable: false, ..
        } => Some((pointer, Place::Value(map), &program.map(map).kptrs)),
        PointerKind::Object(object) if object.reference != 0 && object.is_kept() && !object.nullable => {
            let fields = program.own_fields(object.ty);
            let kptrs = fields.map_or(&[][..], |fields| &fields.kptrs);
            Some((pointer, Place::Object, kptrs))
        }
        _ => None,
    }
}

/// The field that an argument points to, where [`field`] holds.
pub(crate) fn field_at(program: &Program<'_>, value: &Value) -> Option<Kptr> {
    let (pointer, _, kptrs) = fields(program, value)?;
    let off = pointer.constant_offset()?;
    kptrs.iter().find(|kptr| i64::from(kptr.off) == off).copied()
}

/// The argument is a reference to an object of the type of the field in the argument before, or NULL.
pub(super) fn owned(cx: &mut Context<'_, '_>, reg: Reg, value: &Value) -> Result<(), Failure> {
    if value.is_zero() {
        cx.uses.value(reg);
        return Ok(());
    }
    let Some((pointer, object)) = typed(value).filter(|(_, object)| !object.nullable) else {
        return Err(wrong_type(value, reg, "ptr_, trusted_ptr_, rcu_ptr_"));
    };
    let fail = |message: &str| Err(Failure::new(value.to_string(), format!("R{} {message}", reg.index())));
    if !cx.state.holds(object.reference) {
        return fail("must be referenced when passed to release function");
    }
    if pointer.constant_offset() != Some(0) {
        return fail("must have zero offset when passed to release func or trusted arg to kfunc");
    }
    match field_at(cx.program, &cx.state.reg(Reg::R1)) {
        Some(kptr) => of_type(cx, reg, value, &kptr),
        None => fail("has no field to go to"),
    }
}

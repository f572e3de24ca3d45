//! Arguments of kfuncs for objects that programs allocate, and for the lists and trees that these can be in.

use hitless_isa::Reg;

use super::Context;
use super::call::{in_locked_callback, lock_at, wrong_type};
use crate::domain::object::Object;
use crate::domain::value::Value;
use crate::error::Failure;
use crate::facts::{Contained, GraphField, GraphFieldKind, KfuncProto, KfuncRet, ObjectType, Trust, ValueFields};
use crate::members;
use crate::program::Program;
use crate::state::LockOwner;

/// The constant is the id of a struct that the program has.
pub(super) fn own_type(cx: &mut Context<'_, '_>, reg: Reg, value: &Value) -> Result<(), Failure> {
    let fail = |message: &str| Err(Failure::new(value.to_string(), message.to_owned()));
    let Some(scalar) = value.as_scalar() else {
        return fail(&format!("R{} is not a scalar", reg.index()));
    };
    if scalar.as_constant().is_none() {
        return fail(&format!("R{} must be a known constant", reg.index()));
    }
    cx.uses.value(reg);
    let Some(own) = cx.program.input.own else {
        return fail("bpf_obj_new/bpf_percpu_obj_new requires prog BTF");
    };
    match own_struct(cx.program, value) {
        Some(ObjectType::Own(ty)) if own.is_allocatable(ty) => Ok(()),
        _ => fail("bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct"),
    }
}

/// The struct whose id among the program's own types a constant is.
pub(crate) fn own_struct(program: &Program<'_>, id: &Value) -> Option<ObjectType> {
    let id = u32::try_from(id.as_scalar()?.as_constant()?).ok()?;
    let ty = hitless_btf::TypeId(id);
    matches!(program.input.own?.btf().get(ty)?, hitless_btf::Type::Struct(_)).then_some(ObjectType::Own(ty))
}

/// The object, if the value points to one that programs allocate and that is not NULL.
fn own_object(reg: Reg, value: &Value) -> Result<Option<Object>, Failure> {
    let object = value
        .as_object()
        .filter(|object| matches!(object.ty, ObjectType::Own(_)));
    if object.map_or(value.is_zero(), |object| object.nullable) {
        return Err(null(reg, value));
    }
    Ok(object)
}

fn null(reg: Reg, value: &Value) -> Failure {
    let message = format!("Possibly NULL pointer passed to trusted arg{}", reg.index() - 1);
    Failure::new(value.to_string(), message)
}

/// A reference to an object, whole, to be released.
pub(super) fn allocated(cx: &Context<'_, '_>, reg: Reg, value: &Value) -> Result<(), Failure> {
    let fail = |message: String| Err(Failure::new(value.to_string(), message));
    let object = own_object(reg, value)?;
    let Some(object) = object.filter(|object| object.trust == Trust::Plain) else {
        return fail(format!("arg#{} expected pointer to allocated object", reg.index() - 1));
    };
    if !cx.state.holds(object.reference) {
        return fail("allocated object must be referenced".to_owned());
    }
    whole(reg, value)
}

fn whole(reg: Reg, value: &Value) -> Result<(), Failure> {
    if value.as_pointer().and_then(|pointer| pointer.constant_offset()) == Some(0) {
        return Ok(());
    }
    let message = "must have zero offset when passed to release func or trusted arg to kfunc";
    Err(Failure::new(value.to_string(), format!("R{} {message}", reg.index())))
}

/// An object, whole, the references to which are counted.
pub(super) fn counted(cx: &Context<'_, '_>, reg: Reg, value: &Value) -> Result<(), Failure> {
    let fail = |message: &str| {
        let message = format!("arg#{} {message}", reg.index() - 1);
        Err(Failure::new(value.to_string(), message))
    };
    let object = own_object(reg, value)?;
    let Some(object) = object.filter(|object| object.is_kept() || object.trust == Trust::Rcu) else {
        return fail("is neither owning or non-owning ref");
    };
    let fields = cx.program.own_fields(object.ty);
    if fields.and_then(ValueFields::refcount).is_none() {
        return fail("doesn't point to a type with bpf_refcount field");
    }
    whole(reg, value)
}

/// The field of a list or tree that a pointer points to, if it is in a map value or in an object that the program allocated.
fn field_at(program: &Program<'_>, value: &Value) -> Option<GraphField> {
    let (pointer, object) = (value.as_pointer()?, value.as_object());
    let fields = match (lock_at(value)?.owner, object) {
        (LockOwner::Map(map), _) => &program.map(map).graph,
        (LockOwner::Object, object) => &program.own_fields(object?.ty)?.graph,
    };
    let off = pointer.constant_offset()?;
    fields.iter().find(|field| i64::from(field.off) == off).copied()
}

/// What is in the list or tree whose head a pointer points to.
pub(crate) fn contained_at(program: &Program<'_>, value: &Value) -> Option<Contained> {
    field_at(program, value)?.kind.contained()
}

/// The argument is the head of a list, or the root of a tree, and the lock beside it is held.
pub(super) fn head(cx: &mut Context<'_, '_>, reg: Reg, value: &Value, tree: bool) -> Result<(), Failure> {
    let fail = |message: String| Err(Failure::new(value.to_string(), message));
    let name = if tree { "bpf_rb_root" } else { "bpf_list_head" };
    let kind = value.as_pointer().map(|pointer| pointer.kind);
    if kind.map_or(value.is_zero(), |kind| kind.is_nullable()) {
        return Err(null(reg, value));
    }
    let arg = reg.index() - 1;
    let Some(lock) = lock_at(value) else {
        return match own_object(reg, value)? {
            Some(object) if object.trust == Trust::Plain => fail("allocated object must be referenced".to_owned()),
            _ => fail(format!("arg#{arg} expected pointer to map value or allocated object")),
        };
    };
    let off = value.as_pointer().and_then(|pointer| pointer.constant_offset());
    let Some(off) = off else {
        let reg = reg.index();
        return fail(format!(
            "R{reg} doesn't have constant offset. {name} has to be at the constant offset"
        ));
    };
    let of_kind = |field: &GraphField| match field.kind {
        GraphFieldKind::List(_) => !tree,
        GraphFieldKind::Tree(_) => tree,
        _ => false,
    };
    if field_at(cx.program, value).filter(of_kind).is_none() {
        return fail(format!("{name} not found at offset={off}"));
    }
    let lock_off = match (lock.owner, value.as_object()) {
        (LockOwner::Map(map), _) => cx.program.map(map).spin_lock,
        (LockOwner::Object, object) => {
            let fields = object.and_then(|object| cx.program.own_fields(object.ty));
            fields.and_then(|fields| fields.lock)
        }
    };
    match cx.state.lock {
        Some(held) if held == lock => {}
        Some(_) => return fail("held lock and object are not in the same allocation".to_owned()),
        None => {
            let lock_off = lock_off.unwrap_or(0);
            return fail(format!("bpf_spin_lock at off={lock_off} must be held for {name}"));
        }
    }
    if let LockOwner::Map(map) = lock.owner {
        let region = super::memory::value_region(cx, map);
        cx.recorder.stored(region, true);
    }
    Ok(())
}

/// The argument is what links an object into such lists or trees as the one in the first argument.
pub(super) fn node(
    cx: &Context<'_, '_>,
    proto: &KfuncProto,
    reg: Reg,
    value: &Value,
    tree: bool,
) -> Result<(), Failure> {
    let fail = |message: String| Err(Failure::new(value.to_string(), message));
    let (name, head_name) = match tree {
        true => ("bpf_rb_node", "bpf_rb_root"),
        false => ("bpf_list_node", "bpf_list_head"),
    };
    let arg = reg.index() - 1;
    let object = own_object(reg, value)?;
    let held = object.is_some_and(|object| cx.state.holds(object.reference));
    let object = match object {
        Some(object) if proto.keeps() && held => object,
        Some(object) if proto.keeps() && object.trust == Trust::Plain => {
            return fail("allocated object must be referenced".to_owned());
        }
        _ if proto.keeps() => return fail(format!("arg#{arg} expected pointer to allocated object")),
        Some(object) if held || object.trust == Trust::Locked => object,
        _ => {
            let function = &proto.name;
            return fail(format!(
                "{function} can only take non-owning or refcounted {name} pointer"
            ));
        }
    };
    if proto.ret() == KfuncRet::Node && in_locked_callback(cx.state) {
        return fail(format!("{} not allowed in rbtree cb", proto.name));
    }
    let off = value.as_pointer().and_then(|pointer| pointer.constant_offset());
    let Some(off) = off else {
        let reg = reg.index();
        return fail(format!(
            "R{reg} doesn't have constant offset. {name} has to be at the constant offset"
        ));
    };
    let fields = cx.program.own_fields(object.ty);
    let mut graph = fields.map_or(&[][..], |fields| &fields.graph).iter();
    let kind = if tree {
        GraphFieldKind::TreeNode
    } else {
        GraphFieldKind::ListNode
    };
    if !graph.any(|field| i64::from(field.off) == off && field.kind == kind) {
        return fail(format!("{name} not found at offset={off}"));
    }
    let (Some(contained), Some(own)) = (contained_at(cx.program, &cx.state.reg(Reg::R1)), cx.program.input.own) else {
        return Err(wrong_type(&cx.state.reg(Reg::R1), Reg::R1, head_name));
    };
    if object.ty == ObjectType::Own(contained.ty) && off == i64::from(contained.off) {
        return Ok(());
    }
    let name_of = |ty| match ty {
        ObjectType::Own(ty) => members::name(own.btf(), ty),
        _ => "",
    };
    let (wanted, found) = (name_of(ObjectType::Own(contained.ty)), name_of(object.ty));
    let expected = contained.off;
    fail(format!(
        "operation on {head_name} expects arg#1 {name} at offset={expected} in struct {wanted}, \
         but arg is at offset={off} in struct {found}"
    ))
}

//! Prototypes of extensions and of what they take the place of: in the kernel's words where they differ.

use hitless_btf::{Btf, FuncProto, Kind, Type, TypeId};
use hitless_object::Subprogram;

use super::ExtensionError;

pub(super) fn missing(function: &str) -> ExtensionError {
    ExtensionError::Prototype {
        reason: format!("function {function}() has no BTF"),
    }
}

/// A function, with the types of its object.
pub(super) type Typed<'a> = (Option<&'a Btf>, &'a Subprogram);

/// Compares the prototype of an extension with that of a function.
pub(super) fn compare(own: Typed<'_>, other: Typed<'_>) -> Result<(), ExtensionError> {
    let (own_btf, own_proto) = prototype(own)?;
    let (other_btf, other_proto) = prototype(other)?;
    let (own_name, other_name) = (&own.1.name, &other.1.name);
    let refused = |reason| Err(ExtensionError::Prototype { reason });
    let (found, expected) = (own_proto.params.len(), other_proto.params.len());
    if found != expected {
        return refused(format!(
            "{own_name}() has {found} args while {other_name}() has {expected} args"
        ));
    }
    let (found, expected) = (kind(own_btf, own_proto.ret), kind(other_btf, other_proto.ret));
    if found != expected {
        return refused(format!(
            "Return type {} of {own_name}() doesn't match type {} of {other_name}()",
            found.name(),
            expected.name()
        ));
    }
    for (index, (own_param, other_param)) in own_proto.params.iter().zip(&other_proto.params).enumerate() {
        let (own_type, other_type) = (own_param.ty, other_param.ty);
        let (found, expected) = (kind(own_btf, own_type), kind(other_btf, other_type));
        if found != expected {
            return refused(format!(
                "arg{index} in {own_name}() is {} while {other_name}() has {}",
                found.name(),
                expected.name()
            ));
        }
        if found != Kind::Ptr {
            let (found, expected) = (own_btf.size_of(own_type), other_btf.size_of(other_type));
            if found != expected {
                let [found, expected] = [found, expected].map(Option::unwrap_or_default);
                return refused(format!(
                    "arg{index} in {own_name}() has size {found} while {other_name}() has {expected}"
                ));
            }
            continue;
        }
        let (Some(found), Some(expected)) = (struct_name(own_btf, own_type), struct_name(other_btf, other_type)) else {
            return refused(format!("arg{index} in {own_name}() is not a pointer to context"));
        };
        if found != expected {
            return refused(format!(
                "arg{index} {own_name}(struct {found} *) doesn't match {other_name}(struct {expected} *)"
            ));
        }
    }
    Ok(())
}

fn prototype<'a>((btf, function): Typed<'a>) -> Result<(&'a Btf, &'a FuncProto), ExtensionError> {
    let refused = || missing(&function.name);
    let (btf, id) = btf.zip(function.func).ok_or_else(refused)?;
    let Some(Type::Func(func)) = btf.get(id) else {
        return Err(refused());
    };
    match btf.get(func.proto) {
        Some(Type::FuncProto(proto)) => Ok((btf, proto)),
        _ => Err(refused()),
    }
}

/// The kind of a type, without what qualifies it.
fn kind(btf: &Btf, ty: TypeId) -> Kind {
    btf.resolve(ty).map_or(Kind::Void, |(_, ty)| ty.kind())
}

/// The name of the struct that a pointer points to.
fn struct_name(btf: &Btf, pointer: TypeId) -> Option<&str> {
    let (_, Type::Ptr(to)) = btf.resolve(pointer)? else {
        return None;
    };
    match btf.resolve(*to)? {
        (_, Type::Struct(found)) => Some(found.name.as_str()),
        _ => None,
    }
}

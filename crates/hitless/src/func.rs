//! What global functions of a program take, from their BTF.
//!
//! As in Linux: numbers, the context (by its type, or `__arg_ctx`), and pointers to types of known size, which may be NULL
//! unless `__arg_nonnull` says otherwise. They return a number.

use hitless_btf::{Btf, FuncProto, Kind, Type, TypeId};
use hitless_object::{ProgramSpec, Subprogram};
use hitless_verifier::{FuncArg, GlobalFunc};

/// The most arguments that a function takes.
const MAX_ARGS: usize = 5;

/// The global functions of a program, but for the program itself.
/// Objects that they take are of types of `host`.
pub(crate) fn global_funcs(
    btf: Option<&Btf>,
    spec: &ProgramSpec,
    context: &str,
    host: Option<&Btf>,
) -> Vec<GlobalFunc> {
    let callees = spec.subprograms.iter().skip(1).filter(|func| func.global);
    callees.map(|func| global_func(btf, func, context, host)).collect()
}

/// What a function takes.
pub(crate) fn global_func(btf: Option<&Btf>, func: &Subprogram, context: &str, host: Option<&Btf>) -> GlobalFunc {
    GlobalFunc {
        start: func.start,
        name: func.name.clone(),
        args: args(btf, func, context, host),
    }
}

fn args(btf: Option<&Btf>, func: &Subprogram, context: &str, host: Option<&Btf>) -> Result<Vec<FuncArg>, String> {
    let name = &func.name;
    let (Some(btf), Some(id)) = (btf, func.func) else {
        return Err(format!("Global function {name}() has no BTF"));
    };
    let Some(proto) = prototype(btf, id) else {
        return Err(format!("Invalid type of func {name}"));
    };
    if proto.params.len() > MAX_ARGS {
        let count = proto.params.len();
        return Err(format!(
            "Global function {name}() with {count} > {MAX_ARGS} args. Buggy compiler."
        ));
    }
    if !is_number(btf, proto.ret) {
        return Err(format!(
            "Global function {name}() doesn't return scalar. Only those are supported."
        ));
    }
    let arg = |(index, param): (u32, &hitless_btf::Param)| {
        let mut tags = Tags::default();
        for tag in btf.decl_tags(id, Some(index)) {
            match tag {
                "arg:ctx" => tags.context = true,
                "arg:nonnull" => tags.non_null = true,
                "arg:trusted" => tags.trusted = true,
                "arg:nullable" => tags.nullable = true,
                other if other.starts_with("arg:") => {
                    return Err(format!("arg#{index} of {name}(): tag {other} is not supported"));
                }
                _ => {}
            }
        }
        if tags.trusted {
            return object(btf, name, index, param.ty, tags.nullable, host);
        }
        arg_of(btf, name, index, param.ty, tags, context)
    };
    (0..).zip(&proto.params).map(arg).collect()
}

/// What the declaration tags of a parameter say.
#[derive(Clone, Copy, Default)]
struct Tags {
    context: bool,
    non_null: bool,
    trusted: bool,
    nullable: bool,
}

/// A pointer to a struct that the host has, by its name without what follows three underscores.
fn object(
    btf: &Btf,
    func: &str,
    index: u32,
    ty: TypeId,
    nullable: bool,
    host: Option<&Btf>,
) -> Result<FuncArg, String> {
    let pointee = match btf.resolve(ty) {
        Some((_, Type::Ptr(pointee))) => btf.resolve(*pointee).map(|(_, ty)| ty),
        _ => None,
    };
    let name = match pointee {
        Some(Type::Struct(found)) => found.name.as_str(),
        _ => {
            return Err(format!(
                "arg#{index} of {func}() is tagged as trusted, but is no pointer to a struct"
            ));
        }
    };
    let name = name.split_once("___").map_or(name, |(name, _)| name);
    match host.and_then(|host| host.find(Kind::Struct, name)) {
        Some(ty) => Ok(FuncArg::Object { ty, nullable }),
        None => Err(format!(
            "arg#{index} of {func}() is a struct {name}, which the host does not have"
        )),
    }
}

fn arg_of(btf: &Btf, func: &str, index: u32, ty: TypeId, tags: Tags, context: &str) -> Result<FuncArg, String> {
    if is_number(btf, ty) {
        return Ok(FuncArg::Scalar);
    }
    let Some((_, Type::Ptr(pointee))) = btf.resolve(ty) else {
        let name = btf.type_name(ty);
        return Err(format!("Arg#{index} type {name} in {func}() is not supported yet."));
    };
    let is_context = matches!(btf.resolve(*pointee), Some((_, Type::Struct(t))) if t.name.as_str() == context);
    if tags.context || is_context {
        return Ok(FuncArg::Context);
    }
    match btf.size_of(*pointee) {
        Some(size) => Ok(FuncArg::Memory {
            size,
            nullable: !tags.non_null,
        }),
        None => {
            let name = btf.type_name(*pointee);
            Err(format!(
                "arg#{index} reference type('{name}') size cannot be determined"
            ))
        }
    }
}

fn prototype(btf: &Btf, func: TypeId) -> Option<&FuncProto> {
    let Type::Func(func) = btf.get(func)? else { return None };
    match btf.get(func.proto)? {
        Type::FuncProto(proto) => Some(proto),
        _ => None,
    }
}

/// Whether values of the type are numbers that fit in a register.
fn is_number(btf: &Btf, ty: TypeId) -> bool {
    let number = matches!(
        btf.resolve(ty),
        Some((_, Type::Int(_) | Type::Enum(_) | Type::Enum64(_)))
    );
    number && btf.size_of(ty).is_some_and(|size| size <= 8)
}

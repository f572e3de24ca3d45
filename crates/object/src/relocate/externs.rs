//! What externs stand for at a place.

use hitless_btf::{Btf, Kind, Type, TypeId, core};

use super::error::RelocateError;
use super::{Target, kconfig};
use crate::externs::MAX_OPTIONS_SIZE;
use crate::spec::{Extern, ExternKind, ObjectSpec};

/// The map that configuration options are in.
const KCONFIG: &str = ".kconfig";

/// How many parameters are told of a function.
const MAX_PARAMS: usize = 8;

/// What an extern stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing: a weak symbol that is not there.
    Missing,
    /// A variable's address.
    Address(u64),
    /// A variable or function of the target's BTF.
    Type(TypeId),
    /// An option, in a map's value.
    Option {
        /// Index of the map.
        map: usize,
        /// Offset in its value in bytes.
        offset: u32,
    },
}

/// Finds out what each extern of an object stands for, and writes options into the map that they are in.
pub(super) fn resolve(object: &mut ObjectSpec, target: &Target<'_>) -> Result<Vec<Value>, RelocateError> {
    let ObjectSpec { externs, maps, btf, .. } = object;
    let mut options = maps
        .iter_mut()
        .enumerate()
        .find(|(_, map)| map.name == KCONFIG)
        .map(|(index, map)| {
            let data = map.data.get_or_insert_default();
            let size = map.value_size.min(MAX_OPTIONS_SIZE) as usize;
            if data.len() < size {
                data.resize(size, 0);
            }
            (index, data)
        });
    externs
        .iter()
        .map(|symbol| match symbol.kind {
            ExternKind::Kconfig { offset, size } => {
                let (map, data) = options.as_mut().ok_or_else(|| misplaced(symbol, offset, size, 0))?;
                let len = data.len();
                let place = (offset as usize)
                    .checked_add(size as usize)
                    .and_then(|end| data.get_mut(offset as usize..end))
                    .ok_or_else(|| misplaced(symbol, offset, size, len))?;
                kconfig::write(symbol, btf.as_ref(), target, place)?;
                Ok(Value::Option { map: *map, offset })
            }
            ExternKind::Variable { typed: false } => match (target.symbols)(&symbol.name) {
                Some(address) => Ok(Value::Address(address)),
                None => missing(symbol, "variable"),
            },
            ExternKind::Variable { typed: true } => variable(symbol, btf.as_ref(), target),
            ExternKind::Function => function(symbol, btf.as_ref(), target),
        })
        .collect()
}

fn variable(symbol: &Extern, local: Option<&Btf>, target: &Target<'_>) -> Result<Value, RelocateError> {
    let found = target
        .btf
        .and_then(|btf| Some((btf.btf(), btf.find(Kind::Var, &symbol.name)?)));
    let Some((btf, id)) = found else {
        return missing(symbol, "variable");
    };
    if let (Some((local, ty)), Some(Type::Var(var))) = (type_of(symbol, local), btf.get(id))
        && !is_compatible(symbol, local, ty, btf, var.ty)?
    {
        return Err(incompatible(symbol, local, ty, btf, var.ty));
    }
    Ok(Value::Type(id))
}

/// A kfunc; of a flavour, like types.
fn function(symbol: &Extern, local: Option<&Btf>, target: &Target<'_>) -> Result<Value, RelocateError> {
    let found = target
        .btf
        .and_then(|btf| Some((btf.btf(), btf.find(Kind::Func, core::essential(&symbol.name))?)));
    let Some((btf, id)) = found else {
        return missing(symbol, "kfunc");
    };
    if let (Some((local, ty)), Some(Type::Func(func))) = (type_of(symbol, local), btf.get(id))
        && !is_compatible(symbol, local, ty, btf, func.proto)?
    {
        return match symbol.weak {
            true => Ok(Value::Missing),
            false => Err(incompatible(symbol, local, ty, btf, func.proto)),
        };
    }
    Ok(Value::Type(id))
}

/// The type of a variable or the prototype of a function, as the object declares it.
pub(super) fn type_of<'a>(symbol: &Extern, btf: Option<&'a Btf>) -> Option<(&'a Btf, TypeId)> {
    let (btf, id) = btf.zip(symbol.ty)?;
    match btf.get(id)? {
        Type::Var(var) => Some((btf, var.ty)),
        Type::Func(func) => Some((btf, func.proto)),
        _ => Some((btf, id)),
    }
}

fn is_compatible(symbol: &Extern, local: &Btf, ty: TypeId, btf: &Btf, id: TypeId) -> Result<bool, RelocateError> {
    core::compatible(local, ty, btf, id).map_err(|source| RelocateError::Compare {
        name: symbol.name.clone(),
        source,
    })
}

fn incompatible(symbol: &Extern, local: &Btf, ty: TypeId, btf: &Btf, id: TypeId) -> RelocateError {
    RelocateError::Incompatible {
        name: symbol.name.clone(),
        expected: declared(local, ty),
        found: declared(btf, id),
    }
}

/// A type as C writes it, with the parameters of functions.
fn declared(btf: &Btf, id: TypeId) -> String {
    match btf.resolve(id) {
        Some((_, Type::FuncProto(proto))) => {
            let params: Vec<_> = proto
                .params
                .iter()
                .take(MAX_PARAMS)
                .map(|param| btf.type_name(param.ty))
                .collect();
            format!("{} ({})", btf.type_name(proto.ret), params.join(", "))
        }
        _ => btf.type_name(id),
    }
}

fn missing(symbol: &Extern, kind: &'static str) -> Result<Value, RelocateError> {
    if symbol.weak {
        return Ok(Value::Missing);
    }
    Err(RelocateError::MissingSymbol {
        name: symbol.name.clone(),
        kind,
    })
}

fn misplaced(symbol: &Extern, offset: u32, size: u32, len: usize) -> RelocateError {
    RelocateError::OptionPlace {
        name: symbol.name.clone(),
        start: offset.into(),
        end: u64::from(offset) + u64::from(size),
        len: len as u64,
    }
}

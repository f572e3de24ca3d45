//! Whether a type of the target has at least the content of one of the program's: `bpf_core_type_matches`.
//!
//! Names count here, but for flavours. Each member and enumerator of the program's type must have its like in the target's,
//! in whatever order and place; integers must have the same size and sign, arrays the same length. Behind a pointer
//! structs are compared by name only, and a declaration is as good as a definition: so the comparison ends, cyclic as
//! types may be.

use crate::types::{Composite, Enum, IntEncoding, Type, TypeId};

use super::{Both, CoreError, MAX_LEVELS};

/// Compares two types.
pub(super) fn types(both: &mut Both<'_>, local: TypeId, target: TypeId) -> Result<bool, CoreError> {
    nested(both, local, target, false, MAX_LEVELS)
}

fn nested(
    both: &mut Both<'_>,
    mut local: TypeId,
    mut target: TypeId,
    mut behind_pointer: bool,
    levels: usize,
) -> Result<bool, CoreError> {
    let levels = levels.checked_sub(1).ok_or(CoreError::TooDeep)?;
    for _ in 0..MAX_LEVELS {
        both.work.spend(1)?;
        let (Some((_, here)), Some((_, there))) = (both.local.resolve(local), both.target.resolve(target)) else {
            return Ok(false);
        };
        if !both.same_name(here.name(), there.name())? {
            return Ok(false);
        }
        (local, target) = match (here, there) {
            (Type::Void, Type::Void) => return Ok(true),
            (Type::Fwd(here), Type::Fwd(there)) => return Ok(here.union == there.union),
            (Type::Fwd(fwd), Type::Struct(_)) | (Type::Struct(_), Type::Fwd(fwd)) => {
                return Ok(behind_pointer && !fwd.union);
            }
            (Type::Fwd(fwd), Type::Union(_)) | (Type::Union(_), Type::Fwd(fwd)) => {
                return Ok(behind_pointer && fwd.union);
            }
            (Type::Enum(here) | Type::Enum64(here), Type::Enum(there) | Type::Enum64(there)) => {
                return enums(both, here, there);
            }
            (Type::Struct(here), Type::Struct(there)) | (Type::Union(here), Type::Union(there)) => {
                return if behind_pointer {
                    Ok(true)
                } else {
                    composites(both, here, there, levels)
                };
            }
            (Type::Int(here), Type::Int(there)) => {
                let signed = |encoding| encoding == IntEncoding::Signed;
                return Ok(here.size == there.size && signed(here.encoding) == signed(there.encoding));
            }
            (Type::Ptr(here), Type::Ptr(there)) => {
                behind_pointer = true;
                (*here, *there)
            }
            (Type::Array(here), Type::Array(there)) if here.len == there.len => (here.elem, there.elem),
            (Type::FuncProto(here), Type::FuncProto(there)) if here.params.len() == there.params.len() => {
                for (here, there) in here.params.iter().zip(&there.params) {
                    if !nested(both, here.ty, there.ty, behind_pointer, levels)? {
                        return Ok(false);
                    }
                }
                (here.ret, there.ret)
            }
            _ => return Ok(false),
        };
    }
    Err(CoreError::TooDeep)
}

fn composites(both: &mut Both<'_>, here: &Composite, there: &Composite, levels: usize) -> Result<bool, CoreError> {
    if here.members.len() > there.members.len() {
        return Ok(false);
    }
    for member in &here.members {
        let mut found = false;
        for candidate in &there.members {
            both.work.spend(1)?;
            if both.same_name(&member.name, &candidate.name)? && nested(both, member.ty, candidate.ty, false, levels)? {
                found = true;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

fn enums(both: &mut Both<'_>, here: &Enum, there: &Enum) -> Result<bool, CoreError> {
    if here.size != there.size || here.variants.len() > there.variants.len() {
        return Ok(false);
    }
    for variant in &here.variants {
        if enumerator(both, &variant.name, there)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Index of the first enumerator with this essential name.
pub(super) fn enumerator(both: &mut Both<'_>, name: &str, there: &Enum) -> Result<Option<u32>, CoreError> {
    for (index, variant) in (0u32..).zip(&there.variants) {
        both.work.spend(1)?;
        if both.same_name(name, &variant.name)? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

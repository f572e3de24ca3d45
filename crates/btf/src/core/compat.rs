//! Whether types may stand for one another.

use crate::types::{Int, Kind, Type, TypeId};

use super::{Both, CoreError, MAX_LEVELS};

/// Whether kinds may stand for one another: the same, or enums of either width.
pub(super) fn kinds(local: Kind, target: Kind) -> bool {
    let is_enum = |kind| matches!(kind, Kind::Enum | Kind::Enum64);
    local == target || is_enum(local) && is_enum(target)
}

/// Whether fields of these types may be accessed the same way. Integers may differ in size and sign, structs in all they
/// have, and what is behind a pointer does not matter.
pub(super) fn fields(both: &mut Both<'_>, mut local: TypeId, mut target: TypeId) -> Result<bool, CoreError> {
    loop {
        both.work.spend(1)?;
        let (Some((_, here)), Some((_, there))) = (both.local.resolve(local), both.target.resolve(target)) else {
            return Ok(false);
        };
        let is_composite = |ty: &Type| matches!(ty, Type::Struct(_) | Type::Union(_));
        if is_composite(here) && is_composite(there) {
            return Ok(true);
        }
        let mut same_tag = |local: &str, target: &str| {
            let anonymous = local.is_empty() || target.is_empty();
            Ok(anonymous || both.same_name(local, target)?)
        };
        return Ok(match (here, there) {
            (Type::Ptr(_), Type::Ptr(_)) | (Type::Float(_), Type::Float(_)) => true,
            (Type::Int(here), Type::Int(there)) => whole(here) && whole(there),
            (Type::Enum(here) | Type::Enum64(here), Type::Enum(there) | Type::Enum64(there)) => {
                same_tag(&here.name, &there.name)?
            }
            (Type::Fwd(here), Type::Fwd(there)) => same_tag(&here.name, &there.name)?,
            (Type::Array(here), Type::Array(there)) => {
                (local, target) = (here.elem, there.elem);
                continue;
            }
            _ => false,
        });
    }
}

/// Whether types are the same sort of thing.
pub(super) fn types(both: &mut Both<'_>, local: TypeId, target: TypeId) -> Result<bool, CoreError> {
    nested(both, local, target, MAX_LEVELS)
}

fn nested(both: &mut Both<'_>, mut local: TypeId, mut target: TypeId, levels: usize) -> Result<bool, CoreError> {
    for _ in 0..MAX_LEVELS {
        both.work.spend(1)?;
        let (Some((_, here)), Some((_, there))) = (both.local.resolve(local), both.target.resolve(target)) else {
            return Ok(false);
        };
        if !kinds(here.kind(), there.kind()) {
            return Ok(false);
        }
        (local, target) = match (here, there) {
            (Type::Ptr(here), Type::Ptr(there)) => (*here, *there),
            (Type::Array(here), Type::Array(there)) => (here.elem, there.elem),
            (Type::FuncProto(here), Type::FuncProto(there)) => {
                if here.params.len() != there.params.len() {
                    return Ok(false);
                }
                let levels = levels.checked_sub(1).ok_or(CoreError::TooDeep)?;
                for (here, there) in here.params.iter().zip(&there.params) {
                    if !nested(both, here.ty, there.ty, levels)? {
                        return Ok(false);
                    }
                }
                (here.ret, there.ret)
            }
            (Type::Int(here), Type::Int(there)) => return Ok(whole(here) && whole(there)),
            (Type::Void | Type::Struct(_) | Type::Union(_) | Type::Enum(_) | Type::Enum64(_) | Type::Fwd(_), _) => {
                return Ok(true);
            }
            _ => return Ok(false),
        };
    }
    Err(CoreError::TooDeep)
}

/// Whether an integer begins with its first bit, unlike bitfields of old compilers.
fn whole(int: &Int) -> bool {
    int.bit_offset == 0
}

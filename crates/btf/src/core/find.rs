//! An access of the program, looked up in a type of the target.

use crate::types::{Type, TypeId};

use super::access::{Access, Step};
use super::{Both, CoreError, Relo, Subject, compat, matches};

/// Looks `local` up in the candidate `root`; `None` if it has no such thing.
pub(super) fn find(both: &mut Both<'_>, local: &Access, root: TypeId, kind: Relo) -> Result<Option<Access>, CoreError> {
    match kind.asks_about() {
        Subject::Type => {
            let found = if kind == Relo::TypeMatches {
                matches::types(both, local.root, root)?
            } else {
                compat::types(both, local.root, root)?
            };
            Ok(found.then(|| Access::whole(root)))
        }
        Subject::Enumerator => enumerator(both, local, root),
        Subject::Field => field(both, local, root),
    }
}

fn enumerator(both: &mut Both<'_>, local: &Access, root: TypeId) -> Result<Option<Access>, CoreError> {
    let Some((id, Type::Enum(t) | Type::Enum64(t))) = both.target.resolve(root) else {
        return Ok(None);
    };
    let name = local.last().and_then(|step| step.name.as_deref()).unwrap_or_default();
    let found = matches::enumerator(both, name, t)?;
    Ok(found.map(|index| Access {
        steps: vec![Step {
            ty: id,
            index,
            name: t.variants.get(index as usize).map(|variant| variant.name.clone()),
        }],
        ..Access::whole(root)
    }))
}

fn field(both: &mut Both<'_>, local: &Access, root: TypeId) -> Result<Option<Access>, CoreError> {
    let mut found = Access::whole(root);
    let Some((mut id, _)) = both.target.resolve(root) else {
        return Ok(None);
    };
    for (at, step) in local.steps.iter().enumerate() {
        both.work.spend(1)?;
        match &step.name {
            Some(name) => {
                let Some(member) = both.local.members(step.ty).get(step.index as usize) else {
                    return Ok(None);
                };
                match member_named(both, name, member.ty, id, &mut found)? {
                    Some(next) => id = next,
                    None => return Ok(None),
                }
            }
            None => {
                // The first step indexes an array of the root, which need not be declared as one.
                if at > 0 {
                    let Some((_, Type::Array(array))) = both.target.resolve(id) else {
                        return Ok(None);
                    };
                    if step.index >= array.len && !found.ends_in_flexible(both.target, array) {
                        return Ok(None);
                    }
                    id = array.elem;
                }
                id = both.target.resolve(id).map_or(id, |(id, _)| id);
                found.element(both.target, id, step.index)?;
            }
        }
    }
    Ok(Some(found))
}

/// Goes to the member with this name, be it in an anonymous struct inside, and returns its type; `None` if there is none
/// or its type is of another sort.
fn member_named(
    both: &mut Both<'_>,
    name: &str,
    local: TypeId,
    id: TypeId,
    found: &mut Access,
) -> Result<Option<TypeId>, CoreError> {
    let Some((id, Type::Struct(t) | Type::Union(t))) = both.target.resolve(id) else {
        return Ok(None);
    };
    for (index, member) in (0u32..).zip(&t.members) {
        both.work.spend(1)?;
        let before = found.bit_offset;
        found.bit_offset += u64::from(member.bit_offset);
        if member.name.is_empty() {
            if let Some(ty) = member_named(both, name, local, member.ty, found)? {
                return Ok(Some(ty));
            }
        } else if member.name == *name {
            if !compat::fields(both, local, member.ty)? {
                return Ok(None);
            }
            found.steps.push(Step {
                ty: id,
                index,
                name: Some(member.name.clone()),
            });
            return Ok(Some(member.ty));
        }
        found.bit_offset = before;
    }
    Ok(None)
}

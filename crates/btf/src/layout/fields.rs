//! The fields of a struct, or the variables of a data section, as they are matched: anonymous structs opened up, with the
//! names they had before.

use super::{LayoutError, MAX_FIELDS};
use crate::btf::Btf;
use crate::types::*;

/// A place in a value that has a type. Bits count from the start of the whole value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) ty: TypeId,
    pub(super) bit: u64,
    /// Width of a bitfield, else 0.
    pub(super) bitfield: u8,
}

impl Slot {
    pub(super) fn new(ty: TypeId, bit: u64) -> Slot {
        Slot { ty, bit, bitfield: 0 }
    }
}

/// A field to be matched.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    pub(super) name: String,
    /// Names it had before.
    pub(super) was: Vec<&'a str>,
    pub(super) slot: Slot,
}

/// The name under which a new field was known ("was:old").
const WAS: &str = "was:";

/// The fields of struct or data section `id`, which lies at `bit`.
pub(super) fn fields<'a>(
    btf: &'a Btf,
    id: TypeId,
    bit: u64,
    budget: &mut usize,
) -> Result<Vec<Field<'a>>, LayoutError> {
    let mut out = Vec::new();
    collect(btf, id, bit, budget, &mut out)?;
    Ok(out)
}

/// Takes `count` off the budget.
pub(super) fn spend(budget: &mut usize, count: usize) -> Result<(), LayoutError> {
    *budget = budget
        .checked_sub(count)
        .ok_or(LayoutError::TooLarge { max: MAX_FIELDS })?;
    Ok(())
}

fn was(btf: &Btf, id: TypeId, component: Option<u32>) -> Vec<&str> {
    btf.decl_tags(id, component)
        .filter_map(|tag| tag.strip_prefix(WAS))
        .map(str::trim)
        .collect()
}

fn collect<'a>(
    btf: &'a Btf,
    id: TypeId,
    bit: u64,
    budget: &mut usize,
    out: &mut Vec<Field<'a>>,
) -> Result<(), LayoutError> {
    match btf.resolve(id) {
        Some((id, Type::Struct(t))) => {
            spend(budget, t.members.len())?;
            for (index, member) in (0..).zip(&t.members) {
                let at = bit + u64::from(member.bit_offset);
                let name = match btf.resolve(member.ty) {
                    Some((inner, Type::Struct(_))) if member.name.is_empty() => {
                        collect(btf, inner, at, budget, out)?;
                        continue;
                    }
                    Some((_, Type::Union(inner))) if member.name.is_empty() => union_name(inner),
                    _ => member.name.to_string(),
                };
                let slot = Slot {
                    ty: member.ty,
                    bit: at,
                    bitfield: member.bitfield_size,
                };
                out.push(Field {
                    name,
                    was: was(btf, id, Some(index)),
                    slot,
                });
            }
        }
        Some((_, Type::Datasec(sec))) => {
            spend(budget, sec.vars.len())?;
            for entry in &sec.vars {
                let Some(Type::Var(var)) = btf.get(entry.ty) else {
                    continue;
                };
                let end = u64::from(entry.offset) + u64::from(btf.size_of(var.ty).unwrap_or(0));
                if end > u64::from(sec.size) {
                    return Err(LayoutError::OutOfBounds {
                        name: var.name.to_string(),
                        end,
                        size: sec.size,
                    });
                }
                let slot = Slot::new(var.ty, bit + u64::from(entry.offset) * 8);
                out.push(Field {
                    name: var.name.to_string(),
                    was: was(btf, entry.ty, None),
                    slot,
                });
            }
        }
        _ => {}
    }
    Ok(())
}

/// What an anonymous union is called: after its first member, so that it is found again when members are added.
fn union_name(union: &Composite) -> String {
    let first = union
        .members
        .iter()
        .find(|m| !m.name.is_empty())
        .map_or("", |m| &m.name);
    format!("(union {first})")
}

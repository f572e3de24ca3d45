//! Access strings, resolved in the program's own types.

use std::fmt::Write;

use crate::btf::Btf;
use crate::ext::CoreRelo;
use crate::name::Name;
use crate::types::{Array, Type, TypeId};

use super::name::essential;
use super::{CoreError, Relo, Subject};

/// How many steps an access string may have.
const MAX_STEPS: usize = 64;
/// How long it may be: as many numbers of 32 bits, with colons between them.
const MAX_LEN: usize = MAX_STEPS * 11;
/// How long a description becomes, in bytes, before the rest is left out.
const MAX_DESCRIPTION: usize = 256;

/// A step from one type into a part of it. Steps through anonymous structs and unions are joined with the one that follows.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The struct or union that has the member, the enum that has the enumerator, or the type of the element.
    pub(super) ty: TypeId,
    /// Which member, enumerator or element.
    pub(super) index: u32,
    /// Name of the member or enumerator; `None` for an element.
    pub(super) name: Option<Name>,
}

/// A place in a type.
#[derive(Clone, Debug)]
pub(super) struct Access {
    /// The type that the access begins with.
    pub(super) root: TypeId,
    /// The steps, the first of which is an index into an array of the root type.
    pub(super) steps: Vec<Step>,
    /// Where it leads to, in bits from the start.
    pub(super) bit_offset: u64,
}

impl Access {
    /// A whole type.
    pub(super) fn whole(root: TypeId) -> Access {
        Access {
            root,
            steps: Vec::new(),
            bit_offset: 0,
        }
    }

    pub(super) fn last(&self) -> Option<&Step> {
        self.steps.last()
    }

    /// Resolves the access string of a relocation.
    pub(super) fn parse(btf: &Btf, relo: &CoreRelo, kind: Relo) -> Result<Access, CoreError> {
        let text = relo.access.as_str();
        let text = &text[..text.floor_char_boundary(MAX_LEN + 1)];
        let unlike = |expected| CoreError::Access {
            access: text.into(),
            expected,
        };
        let indices = indices(text).ok_or_else(|| unlike("at most 64 numbers with colons between them"))?;
        if kind.asks_about() == Subject::Type {
            if indices != [0] {
                return Err(unlike("\"0\" for a relocation of a type"));
            }
            return Ok(Access::whole(relo.ty));
        }
        let (id, ty) = btf.resolve(relo.ty).ok_or(CoreError::UnknownType { id: relo.ty })?;
        let (first, rest) = indices.split_first().ok_or_else(|| unlike("a number"))?;
        let mut access = Access {
            root: relo.ty,
            steps: Vec::new(),
            bit_offset: 0,
        };
        if kind.asks_about() == Subject::Enumerator {
            let (Type::Enum(t) | Type::Enum64(t)) = ty else {
                return Err(not_indexable(btf, text, id, *first, "an enum"));
            };
            if !rest.is_empty() {
                return Err(unlike("one number for a relocation of an enumerator"));
            }
            let enumerator = t
                .variants
                .get(*first as usize)
                .ok_or_else(|| out_of(btf, text, id, *first, t.variants.len()))?;
            access.steps.push(Step {
                ty: id,
                index: *first,
                name: Some(enumerator.name.clone()),
            });
            return Ok(access);
        }
        access.element(btf, id, *first)?;
        let mut id = id;
        for &index in rest {
            let (resolved, ty) = btf.resolve(id).ok_or(CoreError::UnknownType { id })?;
            id = match ty {
                Type::Struct(t) | Type::Union(t) => {
                    let member = t
                        .members
                        .get(index as usize)
                        .ok_or_else(|| out_of(btf, text, resolved, index, t.members.len()))?;
                    access.bit_offset += u64::from(member.bit_offset);
                    if !member.name.is_empty() {
                        access.steps.push(Step {
                            ty: resolved,
                            index,
                            name: Some(member.name.clone()),
                        });
                    }
                    member.ty
                }
                Type::Array(array) => {
                    if index >= array.len && !access.ends_in_flexible(btf, array) {
                        return Err(out_of(btf, text, resolved, index, array.len as usize));
                    }
                    let element = btf.resolve(array.elem).map_or(array.elem, |(id, _)| id);
                    access.element(btf, element, index)?;
                    element
                }
                _ => return Err(not_indexable(btf, text, resolved, index, "a struct, union or array")),
            };
        }
        Ok(access)
    }

    /// Goes to an element of an array of type `id`.
    pub(super) fn element(&mut self, btf: &Btf, id: TypeId, index: u32) -> Result<(), CoreError> {
        let size = btf
            .size_of(id)
            .ok_or_else(|| CoreError::Unsized { ty: btf.type_name(id) })?;
        let bits = u64::from(size) * u64::from(index);
        self.steps.push(Step {
            ty: id,
            index,
            name: None,
        });
        self.bit_offset = bits
            .checked_mul(8)
            .and_then(|bits| bits.checked_add(self.bit_offset))
            .filter(|&bits| bits <= u64::from(u32::MAX))
            .ok_or_else(|| CoreError::Offset {
                what: self.describe(btf),
            })?;
        Ok(())
    }

    /// Whether the array, which the last step has led to, is the flexible end of a struct.
    pub(super) fn ends_in_flexible(&self, btf: &Btf, array: &Array) -> bool {
        let Some(Step {
            ty,
            index,
            name: Some(_),
        }) = self.last()
        else {
            return false;
        };
        array.len == 0 && *index as usize + 1 == btf.members(*ty).len()
    }

    /// In words: "struct task_struct.pid", "enum bpf_func_id::BPF_FUNC_trace".
    pub(super) fn describe(&self, btf: &Btf) -> String {
        let mut text = essential(&btf.type_name(self.root)).to_string();
        let is_enum = matches!(btf.resolve(self.root), Some((_, Type::Enum(_) | Type::Enum64(_))));
        for (at, step) in self.steps.iter().enumerate() {
            if text.len() > MAX_DESCRIPTION {
                break;
            }
            // Writing to a string cannot fail.
            let _ = match &step.name {
                Some(name) => write!(text, "{}{name}", if is_enum { "::" } else { "." }),
                None if at == 0 && step.index == 0 => Ok(()),
                None => write!(text, "[{}]", step.index),
            };
        }
        if text.len() > MAX_DESCRIPTION {
            text.truncate(text.floor_char_boundary(MAX_DESCRIPTION));
            text.push('…');
        }
        text
    }
}

/// The numbers of an access string.
fn indices(text: &str) -> Option<Vec<u32>> {
    if text.len() > MAX_LEN {
        return None;
    }
    let indices: Option<Vec<u32>> = text
        .split(':')
        .take(MAX_STEPS + 1)
        .map(|number| {
            let digits = number.bytes().all(|b| b.is_ascii_digit());
            number.parse().ok().filter(|_| digits)
        })
        .collect();
    indices.filter(|indices| indices.len() <= MAX_STEPS)
}

fn out_of(btf: &Btf, access: &str, ty: TypeId, index: u32, count: usize) -> CoreError {
    CoreError::Index {
        access: access.into(),
        index,
        ty: btf.type_name(ty),
        count: u32::try_from(count).unwrap_or(u32::MAX),
    }
}

fn not_indexable(btf: &Btf, access: &str, ty: TypeId, index: u32, expected: &'static str) -> CoreError {
    CoreError::NotIndexable {
        access: access.into(),
        index,
        ty: btf.type_name(ty),
        expected,
    }
}

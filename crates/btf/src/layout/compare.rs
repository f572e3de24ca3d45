//! The comparison itself.

use std::collections::{HashMap, HashSet};

use super::fields::{Field, Slot, fields, spend};
use super::scalar::Scalar;
use super::transform::{CopyOp, Transform};
use super::{Fate, FieldChange, FieldPlace, LayoutDiff, LayoutError, MAX_FIELDS, REINITIALISED};
use crate::btf::Btf;
use crate::types::*;

/// Structs that own something which a copy would own twice.
const OWNERS: [&str; 7] = [
    "bpf_list_head",
    "bpf_list_node",
    "bpf_rb_root",
    "bpf_rb_node",
    "bpf_refcount",
    "bpf_dynptr",
    "bpf_task_work",
];

/// Compares the layout of values of an old type with that of a new one.
///
/// Any two types with a size can be compared: structs, plain integers, and data sections (".bss"), whose variables are
/// the fields; a variable's `was:` tag stands on the variable.
///
/// # Errors
/// [`LayoutError::NoSize`] if one of the types has no values, [`LayoutError::OutOfBounds`] if a data section has not been
/// completed ([`Btf::fix_datasec`]), [`LayoutError::TooLarge`] if there is too much to compare.
///
/// # Examples
/// ```
/// use hitless_btf::layout::{Fate, compare};
/// use hitless_btf::{Btf, Composite, Int, IntEncoding, Member, Type, TypeId};
///
/// let counter = |bytes: u32| {
///     let int = Int { size: bytes, encoding: IntEncoding::Unsigned, bits: (bytes * 8) as u8, ..Int::default() };
///     let packets = Member { name: "packets".into(), ty: TypeId(1), bit_offset: 0, bitfield_size: 0 };
///     let stats = Composite { size: bytes, members: vec![packets], ..Composite::default() };
///     Btf::new(vec![Type::Void, Type::Int(int), Type::Struct(stats)])
/// };
/// let (old, new) = (counter(4)?, counter(8)?);
/// let diff = compare((&old, TypeId(2)), (&new, TypeId(2)))?;
/// assert_eq!(diff.fields[0].fate, Fate::Widened { from: 32, to: 64, signed: false });
/// let mut value = [0; 8];
/// diff.transform.apply(&[1, 2, 3, 4], &mut value);
/// assert_eq!(value, [1, 2, 3, 4, 0, 0, 0, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn compare(old: (&Btf, TypeId), new: (&Btf, TypeId)) -> Result<LayoutDiff, LayoutError> {
    let (old, new) = (variable(old), variable(new));
    let size = |(btf, id): (&Btf, TypeId)| btf.size_of(id).ok_or(LayoutError::NoSize { id });
    let (old_size, new_size) = (size(old)?, size(new)?);
    let mut budget = MAX_FIELDS;
    let mut same = HashMap::new();
    let mut side = Comparison {
        old: old.0,
        new: new.0,
        budget: &mut budget,
        same: &mut same,
        fields: Vec::new(),
    };
    let mut ops = Vec::new();
    side.slots("", "", Slot::new(old.1, 0), Slot::new(new.1, 0), &mut ops)?;
    let fields = side.fields;
    let identity = old_size == new_size && fields.iter().all(stays);
    let transform = if identity && fields.iter().all(|field| field.fate == Fate::Same) {
        Transform::identity(old_size)
    } else {
        Transform::new(old_size, new_size, ops)
    };
    Ok(LayoutDiff {
        fields,
        transform,
        identity,
    })
}

/// The type of a variable; other types as they are.
fn variable((btf, id): (&Btf, TypeId)) -> (&Btf, TypeId) {
    match btf.get(id) {
        Some(Type::Var(var)) => (btf, var.ty),
        _ => (btf, id),
    }
}

/// Whether a field has the same meaning at the same place on both sides.
fn stays(field: &FieldChange) -> bool {
    let place = |place: &Option<FieldPlace>| place.as_ref().map(|p| (p.offset, p.size));
    match field.fate {
        Fate::Same => true,
        Fate::Reinitialised => place(&field.old) == place(&field.new),
        _ => false,
    }
}

/// Pairs of types already compared as bytes.
type Known = HashMap<(TypeId, TypeId), bool>;

struct Comparison<'a, 'b> {
    old: &'a Btf,
    new: &'a Btf,
    budget: &'b mut usize,
    same: &'b mut Known,
    fields: Vec<FieldChange>,
}

impl<'a> Comparison<'a, '_> {
    fn push(&mut self, paths: (&str, &str), old: Option<Slot>, new: Option<Slot>, fate: Fate) {
        let old = old.map(|slot| place(self.old, slot));
        let new = new.map(|slot| place(self.new, slot));
        let renamed_from = (old.is_some() && new.is_some() && paths.0 != paths.1).then(|| paths.0.to_string());
        let path = if new.is_some() { paths.1 } else { paths.0 }.to_string();
        self.fields.push(FieldChange {
            path,
            renamed_from,
            old,
            new,
            fate,
        });
    }

    fn slots(
        &mut self,
        old_path: &str,
        new_path: &str,
        o: Slot,
        n: Slot,
        ops: &mut Vec<CopyOp>,
    ) -> Result<(), LayoutError> {
        // Long paths count more, so that what is returned stays small.
        spend(self.budget, 1 + (old_path.len() + new_path.len()) / 64)?;
        let paths = (old_path, new_path);
        let (old, new) = (self.old, self.new);
        if let (Some(a), Some(b)) = (Scalar::at(old, o), Scalar::at(new, n)) {
            let (fate, op) = a.compare(&b);
            let fate = if fate == Fate::Same && o.bit != n.bit {
                Fate::Moved
            } else {
                fate
            };
            ops.extend(op);
            self.push(paths, Some(o), Some(n), fate);
            return Ok(());
        }
        let (Some((old_id, old_type)), Some((new_id, new_type))) = (old.resolve(o.ty), new.resolve(n.ty)) else {
            return Err(LayoutError::NoSize { id: o.ty });
        };
        let fate = match (old_type, new_type) {
            (Type::Struct(a), Type::Struct(b)) => match special(a, b) {
                Some(fate) => fate,
                None => return self.structs(paths, old_id, new_id, o, n, ops),
            },
            (Type::Datasec(_), Type::Datasec(_)) => return self.structs(paths, old_id, new_id, o, n, ops),
            (Type::Array(a), Type::Array(b)) => return self.arrays(paths, a, b, o, n, ops),
            (Type::Union(a), Type::Union(b)) => {
                if self.same_union(a, b)? {
                    ops.push(CopyOp::Copy {
                        from: (o.bit / 8) as u32,
                        to: (n.bit / 8) as u32,
                        len: a.size,
                    });
                    if o.bit == n.bit { Fate::Same } else { Fate::Moved }
                } else {
                    Fate::Incompatible {
                        reason: "the members of the union differ".into(),
                    }
                }
            }
            (a, b) => Fate::Incompatible {
                reason: format!("{}, was {}", b.kind(), a.kind()),
            },
        };
        self.push(paths, Some(o), Some(n), fate);
        Ok(())
    }

    fn structs(
        &mut self,
        paths: (&str, &str),
        old_id: TypeId,
        new_id: TypeId,
        o: Slot,
        n: Slot,
        ops: &mut Vec<CopyOp>,
    ) -> Result<(), LayoutError> {
        let old_fields = fields(self.old, old_id, o.bit, self.budget)?;
        let new_fields = fields(self.new, new_id, n.bit, self.budget)?;
        spend(
            self.budget,
            (paths.0.len() + paths.1.len()) / 64 * (old_fields.len() + new_fields.len()),
        )?;
        let matches = match_fields(&old_fields, &new_fields);
        let mut taken = HashSet::new();
        for (field, found) in new_fields.iter().zip(&matches) {
            let path = join(paths.1, &field.name);
            match found {
                Match::Field(index) => {
                    taken.insert(*index);
                    let old = &old_fields[*index];
                    self.slots(&join(paths.0, &old.name), &path, old.slot, field.slot, ops)?;
                }
                Match::None => self.push((&path, &path), None, Some(field.slot), Fate::ZeroFilled),
                Match::Ambiguous(reason) => {
                    let fate = Fate::Incompatible { reason: reason.clone() };
                    self.push((&path, &path), None, Some(field.slot), fate);
                }
            }
        }
        for (index, field) in old_fields.iter().enumerate() {
            if !taken.contains(&index) {
                let path = join(paths.0, &field.name);
                let fate = if is_reinitialised(self.old, field.slot.ty) {
                    Fate::Reinitialised
                } else {
                    Fate::Dropped
                };
                self.push((&path, &path), Some(field.slot), None, fate);
            }
        }
        Ok(())
    }

    fn arrays(
        &mut self,
        paths: (&str, &str),
        a: &Array,
        b: &Array,
        o: Slot,
        n: Slot,
        ops: &mut Vec<CopyOp>,
    ) -> Result<(), LayoutError> {
        let fate = match (a.len, b.len) {
            (from, to) if from < to => Fate::Grown { from, to },
            (from, to) if from > to => Fate::Shrunk { from, to },
            _ if o.bit == n.bit => Fate::Same,
            _ => Fate::Moved,
        };
        let count = a.len.min(b.len);
        let stride = |btf: &Btf, id| btf.size_of(id).unwrap_or(0);
        let (from_stride, to_stride) = (stride(self.old, a.elem), stride(self.new, b.elem));
        if self.same_bytes(a.elem, b.elem)? {
            let len = count * from_stride;
            ops.push(CopyOp::Copy {
                from: (o.bit / 8) as u32,
                to: (n.bit / 8) as u32,
                len,
            });
            self.push(paths, Some(o), Some(n), fate);
            return Ok(());
        }
        if a.len != b.len {
            self.push(paths, Some(o), Some(n), fate);
        }
        let mut inner = Vec::new();
        let (old_path, new_path) = (format!("{}[]", paths.0), format!("{}[]", paths.1));
        self.slots(
            &old_path,
            &new_path,
            Slot::new(a.elem, o.bit),
            Slot::new(b.elem, n.bit),
            &mut inner,
        )?;
        if count > 0 && !inner.is_empty() {
            ops.push(CopyOp::Repeat {
                count,
                from_stride,
                to_stride,
                ops: inner,
            });
        }
        Ok(())
    }

    /// Whether values of the two types are the same bytes with the same meaning, so that an array of them is one copy.
    fn same_bytes(&mut self, old: TypeId, new: TypeId) -> Result<bool, LayoutError> {
        if let Some(&known) = self.same.get(&(old, new)) {
            return Ok(known);
        }
        let mut inner = Comparison {
            old: self.old,
            new: self.new,
            budget: &mut *self.budget,
            same: &mut *self.same,
            fields: Vec::new(),
        };
        inner.slots("", "", Slot::new(old, 0), Slot::new(new, 0), &mut Vec::new())?;
        let same =
            self.old.size_of(old) == self.new.size_of(new) && inner.fields.iter().all(|field| field.fate == Fate::Same);
        self.same.insert((old, new), same);
        Ok(same)
    }

    /// Whether every member of the old union is in the new one, unchanged, and nothing else has changed in size.
    fn same_union(&mut self, a: &Composite, b: &Composite) -> Result<bool, LayoutError> {
        if a.size != b.size {
            return Ok(false);
        }
        spend(self.budget, a.members.len() + b.members.len())?;
        let new: HashMap<_, _> = keyed(b).collect();
        for (key, member) in keyed(a) {
            let Some(other) = new.get(&key) else { return Ok(false) };
            let same_place = (member.bit_offset, member.bitfield_size) == (other.bit_offset, other.bitfield_size);
            if !same_place || !self.same_bytes(member.ty, other.ty)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The members of a union by name; those without one by their position among themselves.
fn keyed(union: &Composite) -> impl Iterator<Item = ((&str, usize), &Member)> {
    let mut anonymous = 0;
    union.members.iter().map(move |member| {
        anonymous += usize::from(member.name.is_empty());
        (
            (member.name.as_str(), if member.name.is_empty() { anonymous } else { 0 }),
            member,
        )
    })
}

enum Match {
    Field(usize),
    None,
    Ambiguous(String),
}

/// Finds for each new field the old one it takes over: first by `was:` tags, then by name among those that are left.
fn match_fields(old: &[Field<'_>], new: &[Field<'_>]) -> Vec<Match> {
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, field) in old.iter().enumerate() {
        by_name.entry(&field.name).or_default().push(index);
    }
    let mut new_names: HashMap<&str, usize> = HashMap::new();
    for field in new {
        *new_names.entry(&field.name).or_default() += 1;
    }
    let mut claimed: HashMap<usize, usize> = HashMap::new();
    let mut tagged = vec![false; new.len()];
    let mut matches: Vec<Match> = Vec::with_capacity(new.len());
    for (at, field) in new.iter().enumerate() {
        let candidate = field
            .was
            .iter()
            .find_map(|was| by_name.get(was).map(|found| (was, found)));
        matches.push(match candidate {
            None => Match::None,
            Some((was, found)) => {
                tagged[at] = true;
                match claimed.get(&found[0]) {
                    _ if found.len() > 1 => Match::Ambiguous(format!("there were {} fields {was}", found.len())),
                    Some(&other) => Match::Ambiguous(format!("{} takes over {was}, too", new[other].name)),
                    None => {
                        claimed.insert(found[0], at);
                        Match::Field(found[0])
                    }
                }
            }
        });
    }
    for (at, field) in new.iter().enumerate().filter(|&(at, _)| !tagged[at]) {
        let Some(found) = by_name.get(field.name.as_str()) else {
            continue;
        };
        let name = &field.name;
        matches[at] = if found.len() > 1 || new_names[name.as_str()] > 1 {
            Match::Ambiguous(format!("there is more than one field {name}"))
        } else if claimed.contains_key(&found[0]) {
            Match::None
        } else {
            Match::Field(found[0])
        };
    }
    matches
}

/// What becomes of structs that are more than their bytes.
fn special(old: &Composite, new: &Composite) -> Option<Fate> {
    let anew = |t: &Composite| REINITIALISED.contains(&t.name.as_str());
    let owner = |t: &Composite| OWNERS.contains(&t.name.as_str());
    if !anew(old) && !anew(new) && !owner(old) && !owner(new) {
        return None;
    }
    Some(if old.name != new.name {
        Fate::Incompatible {
            reason: format!("struct {}, was struct {}", new.name, old.name),
        }
    } else if anew(old) {
        Fate::Reinitialised
    } else {
        Fate::Incompatible {
            reason: format!("struct {} cannot be copied", old.name),
        }
    })
}

fn is_reinitialised(btf: &Btf, id: TypeId) -> bool {
    matches!(btf.resolve(id), Some((_, Type::Struct(t))) if REINITIALISED.contains(&t.name.as_str()))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_string()
    } else {
        format!("{path}.{name}")
    }
}

fn place(btf: &Btf, slot: Slot) -> FieldPlace {
    let bits = (slot.bitfield != 0).then_some(((slot.bit % 8) as u8, slot.bitfield));
    FieldPlace {
        offset: (slot.bit / 8) as u32,
        size: btf.size_of(slot.ty).unwrap_or(0),
        bits,
        ty: slot.ty,
        type_name: btf.type_name(slot.ty),
    }
}

//! Whether types make sense together: every reference goes somewhere it may go, nothing contains itself, members lie inside
//! their struct. The answer is the size of each type.

use crate::error::BtfError;
use crate::types::*;

/// How deep types may nest, through typedefs, modifiers, pointers, array elements and members alike.
pub const MAX_DEPTH: usize = 64;

/// Checks `types` and returns the size of each, `None` where a type has no size.
pub(crate) fn check(types: &[Type]) -> Result<Vec<Option<u32>>, BtfError> {
    let mut checker = Checker {
        types,
        nodes: vec![Node::New; types.len()],
    };
    for id in ids(types) {
        checker.references(id)?;
    }
    checker.chains()?;
    for id in ids(types) {
        checker.visit(id, 0)?;
    }
    for id in ids(types) {
        checker.composite(id)?;
    }
    Ok(checker
        .nodes
        .iter()
        .map(|node| {
            if let Node::Done { size, .. } = node {
                *size
            } else {
                None
            }
        })
        .collect())
}

fn ids(types: &[Type]) -> impl Iterator<Item = TypeId> + use<> {
    (0..types.len() as u32).map(TypeId)
}

#[derive(Clone, Copy)]
enum Node {
    New,
    Active,
    Done { size: Option<u32>, depth: u8 },
}

struct Checker<'a> {
    types: &'a [Type],
    nodes: Vec<Node>,
}

impl Checker<'_> {
    fn size(&self, id: TypeId) -> Option<u32> {
        match self.nodes[id.index()] {
            Node::Done { size, .. } => size,
            Node::New | Node::Active => None,
        }
    }

    /// The type behind `target`, if `allowed` says that it may stand there.
    fn reference(
        &self,
        id: TypeId,
        target: TypeId,
        what: &'static str,
        allowed: fn(Kind) -> bool,
    ) -> Result<(), BtfError> {
        let Some(ty) = self.types.get(target.index()) else {
            return Err(BtfError::BadTypeId {
                id,
                target,
                count: self.types.len() as u32,
            });
        };
        if allowed(ty.kind()) {
            Ok(())
        } else {
            Err(BtfError::BadReference {
                id,
                what,
                target,
                found: ty.kind(),
            })
        }
    }

    fn references(&self, id: TypeId) -> Result<(), BtfError> {
        let is_type = |kind| !matches!(kind, Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag);
        let is_value = |kind| {
            !matches!(
                kind,
                Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag | Kind::Void | Kind::Fwd | Kind::FuncProto
            )
        };
        match &self.types[id.index()] {
            Type::Void if id == TypeId::VOID => Ok(()),
            Type::Void => Err(BtfError::UnknownKind { id, kind: 0 }),
            Type::Int(_) | Type::Enum(_) | Type::Enum64(_) | Type::Fwd(_) | Type::Float(_) => Ok(()),
            Type::Ptr(to) => self.reference(id, *to, "target", is_type),
            Type::Typedef(t) | Type::TypeTag(t) => self.reference(id, t.ty, "target", is_type),
            Type::Volatile(to) | Type::Const(to) | Type::Restrict(to) => self.reference(id, *to, "target", is_type),
            Type::Array(array) => {
                self.reference(id, array.index, "index", is_type)?;
                self.reference(id, array.elem, "element", is_value)
            }
            Type::Struct(t) | Type::Union(t) => t
                .members
                .iter()
                .try_for_each(|m| self.reference(id, m.ty, "member", is_value)),
            Type::Func(func) => self.reference(id, func.proto, "prototype", |kind| kind == Kind::FuncProto),
            Type::FuncProto(proto) => {
                self.reference(id, proto.ret, "return type", is_type)?;
                proto
                    .params
                    .iter()
                    .try_for_each(|p| self.reference(id, p.ty, "parameter", is_type))
            }
            Type::Var(var) => self.reference(id, var.ty, "type", is_type),
            Type::Datasec(sec) => sec.vars.iter().try_for_each(|var| {
                self.reference(id, var.ty, "variable", |kind| matches!(kind, Kind::Var | Kind::Func))
            }),
            Type::DeclTag(tag) => {
                self.reference(id, tag.ty, "target", |kind| {
                    matches!(
                        kind,
                        Kind::Struct | Kind::Union | Kind::Func | Kind::Var | Kind::Typedef
                    )
                })?;
                self.component(id, tag)
            }
        }
    }

    fn component(&self, id: TypeId, tag: &DeclTag) -> Result<(), BtfError> {
        let Some(component) = tag.component else { return Ok(()) };
        let count = match &self.types[tag.ty.index()] {
            Type::Struct(t) | Type::Union(t) => t.members.len(),
            Type::Func(func) => match self.types.get(func.proto.index()) {
                Some(Type::FuncProto(proto)) => proto.params.len(),
                _ => 0,
            },
            _ => 0,
        };
        if (component as usize) < count {
            return Ok(());
        }
        Err(BtfError::BadComponent {
            id,
            target: tag.ty,
            component: component.cast_signed(),
        })
    }

    /// Pointers, typedefs, modifiers and array elements each refer to one type, so a chain of them either ends or loops.
    fn chains(&self) -> Result<(), BtfError> {
        // Length of the chain from each type on; 0 where it is not known yet.
        let mut lengths = vec![0u8; self.types.len()];
        let mut chain = Vec::new();
        for start in ids(self.types) {
            let mut at = start;
            let mut behind = loop {
                if lengths[at.index()] != 0 {
                    break usize::from(lengths[at.index()]);
                }
                if chain.len() > MAX_DEPTH {
                    let looped = chain[..chain.len() - 1].contains(&chain[chain.len() - 1]);
                    return Err(if looped {
                        BtfError::Cycle { id: at }
                    } else {
                        BtfError::TooDeep {
                            id: start,
                            max: MAX_DEPTH,
                        }
                    });
                }
                chain.push(at);
                match &self.types[at.index()] {
                    Type::Ptr(to) => at = *to,
                    Type::Array(array) => at = array.elem,
                    ty => match ty.alias_of() {
                        Some(to) => at = to,
                        None => break 0,
                    },
                }
            };
            for id in chain.drain(..).rev() {
                behind += 1;
                if behind > MAX_DEPTH {
                    return Err(BtfError::TooDeep { id, max: MAX_DEPTH });
                }
                lengths[id.index()] = behind as u8;
            }
        }
        Ok(())
    }

    /// Finds the size of `id`, after those of the types it contains by value. Never nests deeper than [`MAX_DEPTH`].
    fn visit(&mut self, id: TypeId, nesting: usize) -> Result<(Option<u32>, u8), BtfError> {
        match self.nodes[id.index()] {
            Node::Done { size, depth } => return Ok((size, depth)),
            Node::Active => return Err(BtfError::Cycle { id }),
            Node::New if nesting >= MAX_DEPTH => return Err(BtfError::TooDeep { id, max: MAX_DEPTH }),
            Node::New => {}
        }
        self.nodes[id.index()] = Node::Active;
        let types = self.types;
        let ty = &types[id.index()];
        let one_of = |size: u32, sizes: &[u32]| {
            let bad = BtfError::BadSize {
                id,
                kind: ty.kind(),
                size: size.into(),
            };
            if sizes.contains(&size) {
                Ok((Some(size), 0))
            } else {
                Err(bad)
            }
        };
        let (size, depth) = match ty {
            Type::Int(int) => {
                if u32::from(int.bits) + u32::from(int.bit_offset) > int.size.saturating_mul(8) || int.bits == 0 {
                    let (bits, bit_offset) = (int.bits, int.bit_offset);
                    return Err(BtfError::BadInt {
                        id,
                        size: int.size,
                        encoding: int.encoding as u8,
                        bits,
                        bit_offset,
                    });
                }
                one_of(int.size, &[1, 2, 4, 8, 16])?
            }
            Type::Ptr(_) => (Some(8), 0),
            Type::Enum(t) | Type::Enum64(t) => one_of(t.size, &[1, 2, 4, 8])?,
            Type::Float(t) => one_of(t.size, &[2, 4, 8, 12, 16])?,
            Type::Array(array) => {
                let (size, depth) = self.visit(array.elem, nesting + 1)?;
                let Some(size) = size else {
                    let found = types[array.elem.index()].kind();
                    return Err(BtfError::BadReference {
                        id,
                        what: "element",
                        target: array.elem,
                        found,
                    });
                };
                let total = u64::from(size) * u64::from(array.len);
                match u32::try_from(total) {
                    Ok(total) => (Some(total), depth),
                    Err(_) => {
                        return Err(BtfError::BadSize {
                            id,
                            kind: Kind::Array,
                            size: total,
                        });
                    }
                }
            }
            Type::Struct(t) | Type::Union(t) => {
                let mut deepest = 0;
                for member in &t.members {
                    let (size, depth) = self.visit(member.ty, nesting + 1)?;
                    if size.is_none() {
                        let found = types[member.ty.index()].kind();
                        return Err(BtfError::BadReference {
                            id,
                            what: "member",
                            target: member.ty,
                            found,
                        });
                    }
                    deepest = deepest.max(depth);
                }
                (Some(t.size), deepest)
            }
            Type::Typedef(Typedef { ty: to, .. })
            | Type::TypeTag(Typedef { ty: to, .. })
            | Type::Volatile(to)
            | Type::Const(to)
            | Type::Restrict(to)
            | Type::Var(Var { ty: to, .. }) => self.visit(*to, nesting + 1)?,
            Type::Datasec(sec) => (Some(sec.size), 0),
            Type::Void | Type::Fwd(_) | Type::Func(_) | Type::FuncProto(_) | Type::DeclTag(_) => (None, 0),
        };
        if usize::from(depth) >= MAX_DEPTH {
            return Err(BtfError::TooDeep { id, max: MAX_DEPTH });
        }
        self.nodes[id.index()] = Node::Done { size, depth: depth + 1 };
        Ok((size, depth + 1))
    }

    /// Checks where the members of a struct or union lie, now that their sizes are known.
    fn composite(&self, id: TypeId) -> Result<(), BtfError> {
        let (Type::Struct(t) | Type::Union(t)) = &self.types[id.index()] else {
            return Ok(());
        };
        let bits = u64::from(t.size) * 8;
        for (index, member) in (0u32..).zip(&t.members) {
            let mut target = member.ty;
            while let Some(to) = self.types[target.index()].alias_of() {
                target = to;
            }
            let type_bits = u64::from(self.size(target).unwrap_or(0)) * 8;
            let (offset_in_type, own_bits, integral) = match &self.types[target.index()] {
                Type::Int(int) => (u64::from(int.bit_offset), u64::from(int.bits), true),
                Type::Enum(_) | Type::Enum64(_) => (0, type_bits, true),
                _ => (0, type_bits, false),
            };
            let width = if member.bitfield_size == 0 {
                own_bits
            } else {
                member.bitfield_size.into()
            };
            let start = u64::from(member.bit_offset) + if member.bitfield_size == 0 { offset_in_type } else { 0 };
            let end = start + width;
            let whole_bytes = start % 8 == 0 && width % 8 == 0;
            if end > bits || width > type_bits || !(whole_bytes && member.bitfield_size == 0 || integral) {
                return Err(BtfError::BadMember {
                    id,
                    member: index,
                    start,
                    end,
                    bits,
                });
            }
        }
        Ok(())
    }
}

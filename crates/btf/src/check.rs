//! Whether types make sense together: every reference goes somewhere it may go, nothing contains itself, members lie inside
//! their struct. The answer is the size of each type.

use crate::btf::Btf;
use crate::error::BtfError;
use crate::parse::{MAX_NAME, MAX_SIZE, MAX_TAG, MAX_TYPES};
use crate::types::*;

/// How deep types may nest, through typedefs, modifiers, pointers, array elements and members alike.
pub const MAX_DEPTH: usize = 64;

/// What is known of a type that has been checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// Size in bytes, if it has one.
    pub(crate) size: Option<u32>,
    /// How deep types nest in it by value.
    depth: u8,
    /// How many types a chain of pointers, typedefs, modifiers and array elements has from it on.
    chain: u8,
}

/// Checks `types`, which follow those of `base`, and says what is known of each.
pub(crate) fn check(types: &[Type], base: Option<&Btf>) -> Result<Vec<Facts>, BtfError> {
    let mut checker = Checker {
        base,
        first: base.map_or(0, |base| base.len() as u32),
        types,
        nodes: vec![Node::New; types.len()],
    };
    for id in checker.ids() {
        checker.references(id)?;
    }
    let chains = checker.chains()?;
    for id in checker.ids() {
        checker.visit(id, 0)?;
    }
    for id in checker.ids() {
        checker.composite(id)?;
    }
    let facts = |(node, chain): (&Node, u8)| match *node {
        Node::Done { size, depth } => Facts { size, depth, chain },
        Node::New | Node::Active => Facts {
            size: None,
            depth: 0,
            chain,
        },
    };
    Ok(checker.nodes.iter().zip(chains).map(facts).collect())
}

/// Checks that types which were not parsed can be written.
pub(crate) fn check_encoding(types: &[Type], first: u32) -> Result<(), BtfError> {
    if first as usize + types.len() > MAX_TYPES as usize + 1 {
        return Err(BtfError::TooManyTypes { max: MAX_TYPES });
    }
    let mut len = 0;
    for (id, ty) in (first..).map(TypeId).zip(types) {
        let (kind, count, max) = (ty.kind(), ty.items(), usize::from(u16::MAX));
        if count > max {
            return Err(BtfError::TooManyItems { id, kind, count, max });
        }
        len += ty.encoded_len() as u64;
        let short = |name: &str, max: usize| {
            if name.len() < max {
                Ok(())
            } else {
                let (len, max) = (name.len(), max - 1);
                Err(BtfError::LongName { id, len, max })
            }
        };
        let tag = matches!(kind, Kind::DeclTag | Kind::TypeTag);
        short(ty.name(), if tag { MAX_TAG } else { MAX_NAME })?;
        match ty {
            Type::Struct(t) | Type::Union(t) => {
                t.members.iter().try_for_each(|m| short(&m.name, MAX_NAME))?;
                encodable_offsets(id, t)?;
            }
            Type::FuncProto(t) => t.params.iter().try_for_each(|p| short(&p.name, MAX_NAME))?,
            Type::Enum(t) | Type::Enum64(t) => {
                for v in &t.variants {
                    short(&v.name, MAX_NAME)?;
                    let fits = match (kind, t.signed) {
                        (Kind::Enum, true) => i32::try_from(v.value).is_ok(),
                        (Kind::Enum, false) => u32::try_from(v.value).is_ok(),
                        _ => true,
                    };
                    if !fits {
                        return Err(BtfError::BadEnumerator {
                            id,
                            kind,
                            name: v.name.to_string(),
                            value: v.value,
                        });
                    }
                }
            }
            _ => {}
        }
    }
    if len > MAX_SIZE {
        let what = "type section";
        return Err(BtfError::TooLarge {
            what,
            len,
            max: MAX_SIZE,
        });
    }
    Ok(())
}

/// A struct with bitfields has 24 bits for the offset of each member.
fn encodable_offsets(id: TypeId, t: &Composite) -> Result<(), BtfError> {
    const MAX: u32 = 0xff_ffff;
    if t.members.iter().all(|m| m.bitfield_size == 0) {
        return Ok(());
    }
    match (0u32..).zip(&t.members).find(|(_, m)| m.bit_offset > MAX) {
        Some((member, m)) => Err(BtfError::BadMember {
            id,
            member,
            start: m.bit_offset.into(),
            end: u64::from(m.bit_offset) + u64::from(m.bitfield_size),
            bits: u64::from(MAX) + 1,
        }),
        None => Ok(()),
    }
}

#[derive(Clone, Copy)]
enum Node {
    New,
    Active,
    Done { size: Option<u32>, depth: u8 },
}

struct Checker<'a> {
    base: Option<&'a Btf>,
    first: u32,
    types: &'a [Type],
    nodes: Vec<Node>,
}

impl<'a> Checker<'a> {
    /// The types to be checked.
    fn ids(&self) -> impl Iterator<Item = TypeId> + use<> {
        (self.first..self.count()).map(TypeId)
    }

    fn count(&self) -> u32 {
        self.first + self.types.len() as u32
    }

    fn own(&self, id: TypeId) -> Option<usize> {
        id.0.checked_sub(self.first).map(|index| index as usize)
    }

    fn get(&self, id: TypeId) -> Option<&'a Type> {
        match self.own(id) {
            Some(index) => self.types.get(index),
            None => self.base.and_then(|base| base.get(id)),
        }
    }

    /// A type that is known to exist.
    fn ty(&self, id: TypeId) -> &'a Type {
        self.get(id).unwrap_or(&Type::Void)
    }

    fn size(&self, id: TypeId) -> Option<u32> {
        match self.own(id).map(|index| self.nodes[index]) {
            Some(Node::Done { size, .. }) => size,
            Some(Node::New | Node::Active) => None,
            None => self.base.and_then(|base| base.size_of(id)),
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
        let Some(ty) = self.get(target) else {
            let count = self.count();
            return Err(BtfError::BadTypeId { id, target, count });
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
        match self.ty(id) {
            Type::Void if id == TypeId::VOID => Ok(()),
            Type::Void => Err(BtfError::UnknownKind { id, kind: 0 }),
            Type::Int(_) | Type::Enum(_) | Type::Enum64(_) | Type::Fwd(_) | Type::Float(_) => Ok(()),
            Type::Ptr(to) => self.reference(id, *to, "target", is_type),
            Type::Typedef(t) => self.reference(id, t.ty, "target", is_type),
            Type::TypeTag(t) => self.reference(id, t.ty, "target", is_type),
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
        let count = match self.ty(tag.ty) {
            Type::Struct(t) | Type::Union(t) => t.members.len(),
            Type::Func(func) => match self.get(func.proto) {
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
    /// The answer is the length of the chain from each type on.
    fn chains(&self) -> Result<Vec<u8>, BtfError> {
        // 0 where it is not known yet.
        let mut lengths = vec![0u8; self.types.len()];
        let mut chain = Vec::new();
        for start in self.ids() {
            let mut at = start;
            let mut behind = loop {
                let known = match self.own(at) {
                    Some(index) => lengths[index],
                    None => self.base.and_then(|base| base.facts(at)).map_or(1, |facts| facts.chain),
                };
                if known != 0 {
                    break usize::from(known);
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
                match self.ty(at) {
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
                // All of the chain are own types: one of the base ends it.
                lengths[self.own(id).unwrap_or_default()] = behind as u8;
            }
        }
        Ok(lengths)
    }

    /// Finds the size of `id`, after those of the types it contains by value. Never nests deeper than [`MAX_DEPTH`].
    fn visit(&mut self, id: TypeId, nesting: usize) -> Result<(Option<u32>, u8), BtfError> {
        let Some(index) = self.own(id) else {
            let facts = self.base.and_then(|base| base.facts(id));
            return Ok(facts.map_or((None, 0), |facts| (facts.size, facts.depth)));
        };
        match self.nodes[index] {
            Node::Done { size, depth } => return Ok((size, depth)),
            Node::Active => return Err(BtfError::Cycle { id }),
            Node::New if nesting >= MAX_DEPTH => return Err(BtfError::TooDeep { id, max: MAX_DEPTH }),
            Node::New => {}
        }
        self.nodes[index] = Node::Active;
        let ty = self.ty(id);
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
            // Only declared: clang writes it down as an enum that has neither size nor enumerators.
            Type::Enum(t) if t.size == 0 && t.variants.is_empty() => (None, 0),
            Type::Enum(t) | Type::Enum64(t) => one_of(t.size, &[1, 2, 4, 8])?,
            Type::Float(t) => one_of(t.size, &[2, 4, 8, 12, 16])?,
            Type::Array(array) => {
                let (size, depth) = self.visit(array.elem, nesting + 1)?;
                let Some(size) = size else {
                    return Err(self.without_size(id, "element", array.elem));
                };
                let total = u64::from(size) * u64::from(array.len);
                // A pointer to an array is how map definitions write numbers, large ones too; as a value it is refused below.
                (u32::try_from(total).ok(), depth)
            }
            Type::Struct(t) | Type::Union(t) => {
                let mut deepest = 0;
                for member in &t.members {
                    let (size, depth) = self.visit(member.ty, nesting + 1)?;
                    if size.is_none() {
                        return Err(self.without_size(id, "member", member.ty));
                    }
                    deepest = deepest.max(depth);
                }
                (Some(t.size), deepest)
            }
            Type::Typedef(Typedef { ty: to, .. })
            | Type::TypeTag(TypeTag { ty: to, .. })
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
        self.nodes[index] = Node::Done { size, depth: depth + 1 };
        Ok((size, depth + 1))
    }

    /// What to say of a type that is contained by value and has no size.
    fn without_size(&self, id: TypeId, what: &'static str, target: TypeId) -> BtfError {
        match self.ty(target).kind() {
            Kind::Array => BtfError::HugeArray { id, what, target },
            found => BtfError::BadReference {
                id,
                what,
                target,
                found,
            },
        }
    }

    /// Checks where the members of a struct or union lie, now that their sizes are known.
    fn composite(&self, id: TypeId) -> Result<(), BtfError> {
        let (t, is_union) = match self.ty(id) {
            Type::Struct(t) => (t, false),
            Type::Union(t) => (t, true),
            _ => return Ok(()),
        };
        let bits = u64::from(t.size) * 8;
        for (index, member) in (0u32..).zip(&t.members) {
            let mut target = member.ty;
            while let Some(to) = self.ty(target).alias_of() {
                target = to;
            }
            let type_bits = u64::from(self.size(target).unwrap_or(0)) * 8;
            let (offset_in_type, own_bits, integral) = match self.ty(target) {
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
            let misplaced = is_union && member.bit_offset != 0;
            if misplaced || end > bits || width > type_bits || !(whole_bytes && member.bitfield_size == 0 || integral) {
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

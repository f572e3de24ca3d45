//! What lies at an offset of a struct: a load finds a number, a pointer, or is refused because it is none of one member.

use hitless_btf::{Btf, Composite, Type, TypeId};

use crate::domain::object::Space;

/// How often members lead to members, in types that are nested deeper than any sensible ones.
const MAX_STEPS: usize = 64;

/// What a load finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found<'b> {
    /// A number.
    Number,
    /// A pointer to bytes of unknown kind.
    Bytes,
    /// A pointer to a struct or union.
    Pointer(PointerMember<'b>),
}

/// A member that is a pointer to a struct or union.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PointerMember<'b> {
    /// Its name.
    pub(crate) name: &'b str,
    /// What it points to.
    pub(crate) to: TypeId,
    /// What memory that is in, as a type tag says.
    pub(crate) space: Space,
    /// Whether a type tag says that it is protected by RCU.
    pub(crate) rcu: bool,
    /// Whether it lies in a union with other members, so that it may be something else.
    pub(crate) in_union: bool,
}

/// The kernel's name of a struct.
pub(crate) fn name(btf: &Btf, id: TypeId) -> &str {
    match btf.get(id).map_or("", Type::name) {
        "" => "(anon)",
        name => name,
    }
}

/// What `size` bytes at `off` of a struct are, or why they cannot be loaded, in the kernel's words.
pub(crate) fn at(btf: &Btf, id: TypeId, off: u32, size: u32) -> Result<Found<'_>, String> {
    let (mut id, mut off, mut in_union) = (id, off, false);
    for _ in 0..MAX_STEPS {
        let (Some(Type::Struct(ty) | Type::Union(ty)), tname) = (btf.get(id), name(btf, id)) else {
            return Err(format!("Type '{}' is not a struct", name(btf, id)));
        };
        in_union |= matches!(btf.get(id), Some(Type::Union(_))) && ty.members.len() != 1;
        let end = u64::from(off) + u64::from(size);
        let inner = if end > u64::from(ty.size) {
            beyond(btf, ty, tname, off, size)?
        } else {
            member(btf, ty, tname, off, size, in_union)?
        };
        match inner {
            Inner::Found(found) => return Ok(found),
            Inner::In(inner, at) => (id, off) = (inner, at),
        }
    }
    Err("the types are nested too deeply".to_owned())
}

/// What one struct says of the bytes.
enum Inner<'b> {
    Found(Found<'b>),
    /// They lie in a struct in it, at this offset.
    In(TypeId, u32),
}

/// Behind the struct, where the elements of a flexible array are.
fn beyond<'b>(btf: &'b Btf, ty: &'b Composite, tname: &str, off: u32, size: u32) -> Result<Inner<'b>, String> {
    let outside = || format!("access beyond struct {tname} at off {off} size {size}");
    let last = ty.members.last().ok_or_else(outside)?;
    let start = last.bit_offset / 8;
    let Some((_, Type::Array(array))) = btf.resolve(last.ty) else {
        return Err(outside());
    };
    if array.len != 0 || off < start {
        return Err(outside());
    }
    let element_size = btf.size_of(array.elem).filter(|size| *size > 0).ok_or_else(outside)?;
    match btf.resolve(array.elem) {
        Some((elem, Type::Struct(_) | Type::Union(_))) => Ok(Inner::In(elem, (off - start) % element_size)),
        Some((_, Type::Int(_))) => Ok(Inner::Found(Found::Number)),
        _ => Err(outside()),
    }
}

fn member<'b>(
    btf: &'b Btf,
    ty: &'b Composite,
    tname: &str,
    off: u32,
    size: u32,
    in_union: bool,
) -> Result<Inner<'b>, String> {
    let end = off + size;
    for member in &ty.members {
        let start = member.bit_offset / 8;
        if end <= start {
            break;
        }
        if member.bitfield_size != 0 {
            let last = (member.bit_offset + u32::from(member.bitfield_size)).div_ceil(8);
            if off <= start && last <= end {
                return Ok(Inner::Found(Found::Number));
            }
            continue;
        }
        if off < start {
            break;
        }
        let whole = btf.size_of(member.ty).unwrap_or(0);
        if off - start >= whole {
            continue;
        }
        let (elem, elem_size, start) = element(btf, member.ty, off, start, whole);
        let name = member.name.as_str();
        match btf.resolve(elem) {
            Some((elem, Type::Struct(_) | Type::Union(_))) => return Ok(Inner::In(elem, off - start)),
            Some((_, Type::Ptr(to))) => {
                if size != elem_size || off != start {
                    return Err(format!(
                        "cannot access ptr member {name} with moff {start} in struct {tname} with off {off} size {size}"
                    ));
                }
                return Ok(Inner::Found(pointer(btf, name, *to, in_union)));
            }
            _ => {}
        }
        let mend = member.bit_offset / 8 + whole;
        // In a union the rest may be part of another member.
        if end > mend && !in_union {
            return Err(format!(
                "access beyond the end of member {name} (mend:{mend}) in struct {tname} with off {off} size {size}"
            ));
        }
        return Ok(Inner::Found(Found::Number));
    }
    Err(format!("struct {tname} doesn't have field at offset {off}"))
}

/// The element of an array (of arrays) that has the byte at `off`: type, size and where it starts. Of other types the
/// value itself.
fn element(btf: &Btf, ty: TypeId, off: u32, start: u32, whole: u32) -> (TypeId, u32, u32) {
    let mut elem = ty;
    while let Some((_, Type::Array(array))) = btf.resolve(elem) {
        elem = array.elem;
    }
    match btf.size_of(elem) {
        Some(size) if size > 0 => (elem, size, start + (off - start) / size * size),
        _ => (elem, whole, start),
    }
}

/// The member's pointer to `to`. Tags come before other modifiers.
fn pointer<'b>(btf: &'b Btf, name: &'b str, to: TypeId, in_union: bool) -> Found<'b> {
    let tag = match btf.get(to) {
        Some(Type::TypeTag(tag)) => tag.tag.as_str(),
        _ => "",
    };
    match btf.resolve(to) {
        Some((to, Type::Struct(_) | Type::Union(_))) => Found::Pointer(PointerMember {
            name,
            to,
            space: match tag {
                "percpu" => Space::PerCpu,
                "user" => Space::User,
                _ => Space::Host,
            },
            rcu: tag == "rcu",
            in_union,
        }),
        _ => Found::Bytes,
    }
}

/// Whether the host's types say that pointers of this name in this struct can be relied on in some way: a struct named
/// after it with this suffix has a member of the same name and type.
pub(crate) fn is_listed(btf: &Btf, owner: TypeId, suffix: &str, member: &PointerMember<'_>) -> bool {
    let owner = btf.get(owner).map_or("", Type::name);
    let Some(list) = btf.find(hitless_btf::Kind::Struct, &format!("{owner}{suffix}")) else {
        return false;
    };
    let same = |found: &hitless_btf::Member| match btf.resolve(found.ty) {
        Some((_, Type::Ptr(to))) => found.name == *member.name && btf.resolve(*to).map(|to| to.0) == Some(member.to),
        _ => false,
    };
    btf.members(list).iter().any(same)
}

/// Whether a struct of this name lies at `off` of `id`: itself, or a struct in it, also in an array.
pub(crate) fn has_at(btf: &Btf, id: TypeId, off: u32, wanted: &str) -> bool {
    let (mut id, mut off) = (id, off);
    for _ in 0..MAX_STEPS {
        let Some(Type::Struct(ty)) = btf.get(id) else {
            return false;
        };
        if off == 0 && ty.name == *wanted {
            return true;
        }
        let within = |member: &&hitless_btf::Member| {
            let start = member.bit_offset / 8;
            let size = btf.size_of(member.ty).unwrap_or(0);
            member.bitfield_size == 0 && start <= off && off - start < size
        };
        let Some(member) = ty.members.iter().find(within) else {
            return false;
        };
        let start = member.bit_offset / 8;
        let whole = btf.size_of(member.ty).unwrap_or(0);
        let (elem, _, start) = element(btf, member.ty, off, start, whole);
        let Some((elem, _)) = btf.resolve(elem) else {
            return false;
        };
        (id, off) = (elem, off - start);
    }
    false
}

//! Fields of map values that hold pointers to the host's objects.

use hitless_btf::{Btf, Kind, Type, TypeId};

/// How many fields are looked at in a value.
const BUDGET: usize = 1 << 12;

/// A field of a map value that holds a pointer to an object of the host, or NULL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kptr {
    /// Where it is in the value, in bytes; it takes 8.
    pub off: u32,
    /// Who keeps the object.
    pub kind: KptrKind,
    /// The object's type among the host's ([`ProgramInput::types`](super::ProgramInput::types)).
    pub ty: TypeId,
}

/// Who keeps the object that a field points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KptrKind {
    /// Nobody: it may be gone (`__kptr_untrusted`).
    Untrusted,
    /// The map: the pointer is a reference, which only `bpf_kptr_xchg` takes and gives (`__kptr`).
    Referenced,
}

impl Kptr {
    /// The fields of a value of type `value` of a program's types, that are marked with a type tag and point to a struct that
    /// the host has as well. They are sorted by offset.
    #[must_use]
    pub fn all_in(program: &Btf, value: TypeId, host: &Btf) -> Vec<Kptr> {
        let mut found = Vec::new();
        let mut todo = vec![(value, 0u32)];
        let mut budget = BUDGET;
        while let Some((id, base)) = todo.pop() {
            let Some(left) = budget.checked_sub(1) else { break };
            budget = left;
            match program.resolve(id) {
                Some((_, Type::Struct(ty))) => {
                    let members = ty.members.iter().take(budget);
                    todo.extend(members.map(|member| (member.ty, base.saturating_add(member.bit_offset / 8))));
                }
                Some((_, Type::Array(array))) => {
                    let size = program.size_of(array.elem).unwrap_or(0);
                    let elements = 0..array.len.min(budget as u32);
                    let start = |index: u32| base.saturating_add(index.saturating_mul(size));
                    todo.extend(elements.map(|index| (array.elem, start(index))));
                }
                Some((_, Type::Ptr(to))) => found.extend(field(program, *to, host, base)),
                _ => {}
            }
        }
        found.sort_unstable_by_key(|kptr| kptr.off);
        found
    }
}

fn field(program: &Btf, to: TypeId, host: &Btf, off: u32) -> Option<Kptr> {
    let Some(Type::TypeTag(tag)) = program.get(to) else {
        return None;
    };
    let kind = match tag.tag.as_str() {
        "kptr" => KptrKind::Referenced,
        "kptr_untrusted" => KptrKind::Untrusted,
        _ => return None,
    };
    let (_, ty) = program.resolve(to)?;
    let ty = host.find(Kind::Struct, ty.name())?;
    Some(Kptr { off, kind, ty })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hitless_btf::{Array, Composite, Int, IntEncoding, Member, TypeTag};

    fn structure(name: &str, size: u32, members: &[(&str, u32, u32)]) -> Type {
        let member = |&(name, ty, off): &(&str, u32, u32)| Member {
            name: name.into(),
            ty: TypeId(ty),
            bit_offset: 8 * off,
            bitfield_size: 0,
        };
        Type::Struct(Composite {
            name: name.into(),
            size,
            members: members.iter().map(member).collect(),
        })
    }

    fn tag(text: &str, ty: u32) -> Type {
        Type::TypeTag(TypeTag {
            tag: text.into(),
            ty: TypeId(ty),
            attribute: false,
        })
    }

    #[test]
    fn fields_in_structs_and_arrays() {
        let int = Type::Int(Int {
            name: "long".into(),
            size: 8,
            encoding: IntEncoding::Signed,
            bit_offset: 0,
            bits: 64,
        });
        let pair = Type::Array(Array {
            elem: TypeId(6),
            index: TypeId(1),
            len: 2,
        });
        let types = vec![
            Type::Void,
            int.clone(),
            structure("task", 8, &[]),
            tag("kptr", 2),
            Type::Ptr(TypeId(3)),
            tag("kptr_untrusted", 2),
            structure("inner", 16, &[("count", 1, 0), ("task", 4, 8)]),
            pair,
            tag("user", 2),
            Type::Ptr(TypeId(8)),
            Type::Ptr(TypeId(5)),
            structure("value", 56, &[("plain", 9, 0), ("inner", 7, 8), ("loose", 10, 40)]),
        ];
        let program = Btf::new(types).expect("the types are well-formed");
        let host = Btf::new(vec![Type::Void, int, structure("task", 8, &[])]).expect("the types are well-formed");
        let kptr = |off, kind| Kptr {
            off,
            kind,
            ty: TypeId(2),
        };
        let expected = [
            kptr(16, KptrKind::Referenced),
            kptr(32, KptrKind::Referenced),
            kptr(40, KptrKind::Untrusted),
        ];
        assert_eq!(Kptr::all_in(&program, TypeId(11), &host), expected);
        assert_eq!(
            Kptr::all_in(&program, TypeId(11), &Btf::new(vec![Type::Void]).expect("void")),
            []
        );
    }
}

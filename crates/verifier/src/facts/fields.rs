//! Fields of map values that are more than bytes, found by their types.

use std::collections::HashMap;

use hitless_btf::{Btf, Kind, Type, TypeId};

use super::{Kptr, KptrKind};

/// The most such fields in a value (the kernel's `BTF_FIELDS_MAX`).
const MAX_FIELDS: usize = 11;

/// How deep structs and arrays are looked into.
const MAX_DEPTH: usize = 32;

/// Structs that only the host reads and writes, and their sizes in bytes. Locks and timers are known by themselves.
const MANAGED: [(&str, u32); 6] = [
    ("bpf_res_spin_lock", 4),
    ("bpf_wq", 16),
    ("bpf_task_work", 8),
    ("bpf_list_head", 16),
    ("bpf_rb_root", 16),
    ("bpf_refcount", 4),
];

/// A field of a map value that only the host reads and writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ManagedField {
    /// Where it is in the value, in bytes.
    pub off: u32,
    /// Its size in bytes.
    pub size: u32,
    /// What it is ("bpf_wq").
    pub name: &'static str,
}

/// The fields of a map value that are more than bytes, but for its lock and its timer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ValueFields {
    /// Pointers to objects of the host, sorted by offset.
    pub kptrs: Vec<Kptr>,
    /// What no program may touch, sorted by offset.
    pub managed: Vec<ManagedField>,
}

impl ValueFields {
    /// The fields of a value of type `value` of a program's types. Pointers marked with a type tag are to structs that the
    /// host has as well, by name; those to others, or any if nothing is known of the host, are not to be touched. A value
    /// with more than eleven such fields has none: Linux refuses its types, and libbpf then makes the map without.
    #[must_use]
    pub fn find(program: &Btf, value: TypeId, host: Option<&Btf>) -> ValueFields {
        let mut search = Search {
            program,
            host,
            known: HashMap::new(),
        };
        let mut fields = ValueFields::default();
        for (off, field) in search.fields(value, 0).unwrap_or_default() {
            match field {
                Field::Kptr(kind, ty) => fields.kptrs.push(Kptr { off, kind, ty }),
                Field::Managed(name, size) => fields.managed.push(ManagedField { off, size, name }),
            }
        }
        fields.kptrs.sort_unstable_by_key(|kptr| kptr.off);
        fields.managed.sort_unstable_by_key(|field| field.off);
        fields
    }
}

#[derive(Clone, Copy)]
enum Field {
    Kptr(KptrKind, TypeId),
    Managed(&'static str, u32),
}

struct Search<'a> {
    program: &'a Btf,
    host: Option<&'a Btf>,
    /// The fields of types that were looked into, by offset.
    known: HashMap<TypeId, Vec<(u32, Field)>>,
}

impl Search<'_> {
    /// The fields of a type, which is inside of so many others. `None` if there are too many.
    fn fields(&mut self, id: TypeId, depth: usize) -> Option<Vec<(u32, Field)>> {
        if let Some(known) = self.known.get(&id) {
            return Some(known.clone());
        }
        let mut found = Vec::new();
        let inside = |found: &mut Vec<_>, fields: &[(u32, Field)], base: u32| {
            for &(off, field) in fields {
                found.push((base.checked_add(off)?, field));
            }
            (found.len() <= MAX_FIELDS).then_some(())
        };
        match self.program.resolve(id) {
            _ if depth > MAX_DEPTH => return None,
            Some((_, Type::Struct(ty))) => match MANAGED.iter().find(|(name, _)| ty.name == **name) {
                Some(&(name, size)) => found.push((0, Field::Managed(name, size))),
                None => {
                    for member in &ty.members {
                        let fields = self.fields(member.ty, depth + 1)?;
                        inside(&mut found, &fields, member.bit_offset / 8)?;
                    }
                }
            },
            Some((_, Type::Datasec(section))) => {
                for variable in &section.vars {
                    let fields = self.fields(variable.ty, depth + 1)?;
                    inside(&mut found, &fields, variable.offset)?;
                }
            }
            Some((_, Type::Var(variable))) => found = self.fields(variable.ty, depth + 1)?,
            Some((_, Type::Array(array))) => {
                let fields = self.fields(array.elem, depth + 1)?;
                let size = self.program.size_of(array.elem).unwrap_or(0);
                // Of numbers there may be as many as there are.
                let elements = if fields.is_empty() { 0 } else { array.len };
                for index in 0..elements {
                    inside(&mut found, &fields, index.checked_mul(size)?)?;
                }
            }
            Some((_, Type::Ptr(to))) => found.extend(self.pointer(*to).map(|field| (0, field))),
            _ => {}
        }
        self.known.insert(id, found.clone());
        Some(found)
    }

    fn pointer(&self, to: TypeId) -> Option<Field> {
        let Some(Type::TypeTag(tag)) = self.program.get(to) else {
            return None;
        };
        let kind = match tag.tag.as_str() {
            "kptr" => Some(KptrKind::Referenced),
            "kptr_untrusted" => Some(KptrKind::Untrusted),
            "percpu_kptr" | "uptr" => None,
            _ => return None,
        };
        let known = kind.and_then(|kind| {
            let (_, ty) = self.program.resolve(to)?;
            Some(Field::Kptr(kind, self.host?.find(Kind::Struct, ty.name())?))
        });
        Some(known.unwrap_or(Field::Managed("kptr", 8)))
    }
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
        let found = ValueFields::find(&program, TypeId(11), Some(&host));
        assert_eq!((&found.kptrs[..], &found.managed[..]), (&expected[..], &[][..]));
        // What the host does not know nobody touches.
        let found = ValueFields::find(&program, TypeId(11), None);
        assert_eq!(found.kptrs, []);
        let pointer = |off| ManagedField {
            off,
            size: 8,
            name: "kptr",
        };
        assert_eq!(found.managed, [16, 32, 40].map(pointer));
    }

    #[test]
    fn fields_that_are_the_hosts() {
        let int = Type::Int(Int {
            name: "long".into(),
            size: 8,
            encoding: IntEncoding::Signed,
            bit_offset: 0,
            bits: 64,
        });
        let many = |elem, len| {
            Type::Array(Array {
                elem: TypeId(elem),
                index: TypeId(1),
                len,
            })
        };
        let types = vec![
            Type::Void,
            int,
            structure("bpf_wq", 16, &[("opaque", 1, 0)]),
            many(1, 1 << 20),
            many(2, 1 << 20),
            structure("value", (8 << 20) + 16, &[("numbers", 3, 16), ("queue", 2, 0)]),
            many(2, 11),
            many(2, 12),
        ];
        let program = Btf::new(types).expect("the types are well-formed");
        let found = ValueFields::find(&program, TypeId(5), None);
        let queue = ManagedField {
            off: 0,
            size: 16,
            name: "bpf_wq",
        };
        assert_eq!(found.managed, [queue]);
        let count = |id| ValueFields::find(&program, TypeId(id), None).managed.len();
        assert_eq!([4, 6, 7].map(count), [0, 11, 0]);
    }
}

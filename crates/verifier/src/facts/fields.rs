//! Fields of map values that are more than bytes, found by their types.

use std::collections::HashMap;

use hitless_btf::{Btf, Kind, Type, TypeId};

use super::{Contained, GraphField, GraphFieldKind, Kptr, KptrKind, ObjectType};

/// The most such fields in a value (the kernel's `BTF_FIELDS_MAX`).
const MAX_FIELDS: usize = 11;

/// How deep structs and arrays are looked into.
const MAX_DEPTH: usize = 32;

/// Structs that only the host reads and writes, and their sizes in bytes, but for those of lists and trees. Locks and timers
/// are known by themselves.
const MANAGED: [(&str, u32); 3] = [("bpf_res_spin_lock", 4), ("bpf_wq", 16), ("bpf_task_work", 8)];

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

impl ManagedField {
    /// Whether some of the bytes from `start` to `end` are part of it.
    #[must_use]
    pub fn is_touched(&self, start: i64, end: i64) -> bool {
        let off = i64::from(self.off);
        start < off + i64::from(self.size) && off < end
    }
}

/// The fields of a map value, or of an object that programs allocate, that are more than bytes, but for the timer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ValueFields {
    /// Pointers to objects, sorted by offset.
    pub kptrs: Vec<Kptr>,
    /// What no program may touch, sorted by offset. Of the lock, this says so only in objects.
    pub managed: Vec<ManagedField>,
    /// Those of lists and trees, sorted by offset.
    pub graph: Vec<GraphField>,
    /// Where the lock is.
    pub lock: Option<u32>,
}

impl ValueFields {
    /// The fields of a value of type `value` of a program's types. Pointers marked with a type tag are to structs that the
    /// host has, by name, or else to objects that programs allocate; if nothing is known of the host, they are not to be
    /// touched. A value with more than eleven such fields has none: Linux refuses its types, and libbpf then makes the map
    /// without. Lists and trees without a lock beside them are not to be touched.
    #[must_use]
    pub fn find(program: &Btf, value: TypeId, host: Option<&Btf>) -> ValueFields {
        let mut search = Search::new(program, host, false);
        let mut fields = search.all(value);
        if fields.lock.is_none() {
            fields.graph.clear();
        }
        fields
    }

    /// The fields of those structs of a program that have some and can be allocated.
    pub(super) fn of_objects(
        program: &Btf,
        structs: impl Iterator<Item = TypeId>,
        host: Option<&Btf>,
    ) -> HashMap<TypeId, ValueFields> {
        let mut search = Search::new(program, host, true);
        let is_field = |id: &TypeId| {
            program
                .get(*id)
                .is_some_and(|ty| Field::named(ty.name(), true).is_some())
        };
        let all = structs.filter(|id| !is_field(id)).map(|id| (id, search.all(id)));
        all.filter(|(_, fields)| *fields != ValueFields::default()).collect()
    }

    /// Where references to the object are counted.
    #[must_use]
    pub fn refcount(&self) -> Option<u32> {
        let mut graph = self.graph.iter();
        graph
            .find(|field| field.kind == GraphFieldKind::Refcount)
            .map(|field| field.off)
    }

    /// Whether lists or trees can link the object.
    #[must_use]
    pub fn has_node(&self) -> bool {
        self.graph.iter().any(|field| field.kind.is_node())
    }
}

#[derive(Clone, Copy)]
enum Field {
    Kptr(KptrKind, ObjectType),
    Managed(&'static str, u32),
    Lock,
    /// The head of a list, or the root of a tree, and what is in it, if that is known already.
    Head {
        tree: bool,
        contained: Option<Contained>,
    },
    Node {
        tree: bool,
    },
    Refcount,
}

impl Field {
    /// The struct with this name, in an object or in a map value.
    fn named(name: &str, in_object: bool) -> Option<Field> {
        Some(match name {
            "bpf_spin_lock" => Field::Lock,
            "bpf_list_head" | "bpf_rb_root" => Field::Head {
                tree: name == "bpf_rb_root",
                contained: None,
            },
            "bpf_list_node" | "bpf_rb_node" if in_object => Field::Node {
                tree: name == "bpf_rb_node",
            },
            "bpf_refcount" => Field::Refcount,
            _ => {
                let &(name, size) = MANAGED.iter().find(|(managed, _)| *managed == name)?;
                Field::Managed(name, size)
            }
        })
    }

    /// Its name, size, and what it is in a list or tree, if no program may touch it.
    fn managed(self) -> Option<(&'static str, u32, Option<GraphFieldKind>)> {
        use GraphFieldKind::{List, ListNode, Tree, TreeNode};
        Some(match self {
            Field::Kptr(..) => return None,
            Field::Managed(name, size) => (name, size, None),
            Field::Lock => ("bpf_spin_lock", 4, None),
            Field::Head { tree: false, contained } => ("bpf_list_head", 16, contained.map(List)),
            Field::Head { tree: true, contained } => ("bpf_rb_root", 16, contained.map(Tree)),
            Field::Node { tree: false } => ("bpf_list_node", 24, Some(ListNode)),
            Field::Node { tree: true } => ("bpf_rb_node", 32, Some(TreeNode)),
            Field::Refcount => ("bpf_refcount", 4, Some(GraphFieldKind::Refcount)),
        })
    }
}

struct Search<'a> {
    program: &'a Btf,
    host: Option<&'a Btf>,
    /// Whether it is about objects that programs allocate.
    objects: bool,
    /// The fields of types that were looked into, by offset.
    known: HashMap<TypeId, Vec<(u32, Field)>>,
}

impl<'a> Search<'a> {
    fn new(program: &'a Btf, host: Option<&'a Btf>, objects: bool) -> Search<'a> {
        Search {
            program,
            host,
            objects,
            known: HashMap::new(),
        }
    }

    /// All fields of a value or object.
    fn all(&mut self, id: TypeId) -> ValueFields {
        let mut fields = ValueFields::default();
        for (off, field) in self.fields(id, 0).unwrap_or_default() {
            if let Field::Kptr(kind, ty) = field {
                fields.kptrs.push(Kptr { off, kind, ty });
            }
            if let Field::Lock = field {
                fields.lock = Some(off);
            }
            let Some((name, size, graph)) = field.managed() else {
                continue;
            };
            fields.graph.extend(graph.map(|kind| GraphField { off, kind }));
            // The lock of a map value is known by itself.
            if self.objects || name != "bpf_spin_lock" {
                fields.managed.push(ManagedField { off, size, name });
            }
        }
        fields.kptrs.sort_unstable_by_key(|kptr| kptr.off);
        fields.managed.sort_unstable_by_key(|field| field.off);
        fields.graph.sort_unstable_by_key(|field| field.off);
        fields
    }

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
            Some((owner, Type::Struct(ty))) => match Field::named(&ty.name, self.objects) {
                Some(field) => found.push((0, field)),
                None => {
                    for (index, member) in (0..).zip(&ty.members) {
                        let mut fields = self.fields(member.ty, depth + 1)?;
                        self.complete(&mut fields, member.ty, owner, Some(index));
                        inside(&mut found, &fields, member.bit_offset / 8)?;
                    }
                }
            },
            Some((_, Type::Datasec(section))) => {
                for variable in &section.vars {
                    let mut fields = self.fields(variable.ty, depth + 1)?;
                    if let Some(Type::Var(declared)) = self.program.get(variable.ty) {
                        self.complete(&mut fields, declared.ty, variable.ty, None);
                    }
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

    /// Says of heads and roots what they contain, if they are `member` of `owner`, or elements of that, itself: it is its
    /// declaration that is tagged.
    fn complete(&self, fields: &mut [(u32, Field)], member: TypeId, owner: TypeId, index: Option<u32>) {
        let mut ty = self.program.resolve(member);
        while let Some((_, Type::Array(array))) = ty {
            ty = self.program.resolve(array.elem);
        }
        let Some((_, Type::Struct(head))) = ty else { return };
        let Some(Field::Head { tree, .. }) = Field::named(&head.name, self.objects) else {
            return;
        };
        let found = self.contained(tree, owner, index);
        for (_, field) in fields {
            if let Field::Head { contained, .. } = field {
                *contained = found;
            }
        }
    }

    /// What a declaration tag says that a list or tree contains: "contains:STRUCT:MEMBER".
    fn contained(&self, tree: bool, owner: TypeId, index: Option<u32>) -> Option<Contained> {
        let mut tags = self.program.decl_tags(owner, index);
        let (owner, name) = tags.find_map(|tag| tag.strip_prefix("contains:")?.split_once(':'))?;
        let ty = self.program.find(Kind::Struct, owner)?;
        let mut members = self.program.members(ty).iter();
        let member = members.find(|member| member.name == *name)?;
        match self.program.resolve(member.ty)?.1 {
            Type::Struct(node) if matches!(Field::named(&node.name, true), Some(Field::Node { tree: of_tree }) if of_tree == tree) => {
                Some(Contained {
                    ty,
                    off: member.bit_offset / 8,
                })
            }
            _ => None,
        }
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
            let (id, ty) = self.program.resolve(to)?;
            let of_host = self.host?.find(Kind::Struct, ty.name());
            let object = match (of_host, ty) {
                (Some(id), _) => ObjectType::Btf(id),
                (None, Type::Struct(_)) => ObjectType::Own(id),
                _ => return None,
            };
            Some(Field::Kptr(kind, object))
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
            ty: ObjectType::Btf(TypeId(2)),
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

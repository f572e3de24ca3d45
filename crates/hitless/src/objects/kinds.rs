//! From the BTF of a program to types of objects, and to fields of map values.
//!
//! Two structs of different objects are the same type if they are described by the same text: members with their offsets and the
//! names of their types, fields that refer to objects, and so on for everything that these lead to. So a map that an object
//! has taken over from another one holds what its programs expect.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::sync::Arc;

use hitless_btf::{Btf, TypeId};
use hitless_verifier::{GraphFieldKind, KptrKind, ObjectType as Pointee, OwnTypes, ValueFields};

use super::{Fields, Heap, ObjectType};

/// Size of the head of a list, and of the root of a tree.
const HEAD: usize = 16;

/// The types of a program, to be made known to a heap.
pub(crate) struct Describe<'a> {
    own: OwnTypes<'a>,
}

impl<'a> Describe<'a> {
    /// The types of a program, in whose structs pointers to structs of `host` are not references to its own objects.
    pub(crate) fn new(btf: &'a Btf, host: &Btf) -> Describe<'a> {
        Describe {
            own: OwnTypes::new(btf, Some(host)),
        }
    }

    /// The fields of map values that refer to objects, and what they look like; none if there are none.
    pub(crate) fn value(&self, found: &ValueFields, lock: Option<u32>) -> Option<(Fields, String)> {
        let found = ValueFields { lock, ..found.clone() };
        let fields = fields(&found);
        (!fields.is_empty()).then(|| (fields, self.text(Vec::new(), Some(&found))))
    }

    /// A struct of which programs may allocate objects, known to the heap; `None` if it is none.
    pub(crate) fn object(&self, heap: &Heap, id: TypeId) -> Option<io::Result<Arc<ObjectType>>> {
        if !self.own.is_allocatable(id) {
            return None;
        }
        let size = self.own.btf().size_of(id)?;
        let fields = self.own.fields(id).map(fields).unwrap_or_default();
        Some(heap.intern(self.text(vec![id], None), size, fields))
    }

    /// What types, or the fields of a value, look like, and everything that they lead to.
    fn text(&self, mut next: Vec<TypeId>, value: Option<&ValueFields>) -> String {
        let mut text = String::new();
        let mut known = BTreeSet::new();
        if let Some(value) = value {
            self.describe(&mut text, value, &mut next);
        }
        while let Some(id) = next.pop() {
            if !known.insert(id) {
                continue;
            }
            let btf = self.own.btf();
            let _ = write!(text, "struct {} {:?}", btf.type_name(id), btf.size_of(id));
            for member in btf.members(id) {
                let name = btf.type_name(member.ty);
                let _ = write!(text, " {}:{} {name}", member.bit_offset, member.bitfield_size);
            }
            if let Some(fields) = self.own.fields(id) {
                self.describe(&mut text, fields, &mut next);
            }
            text.push('\n');
        }
        text
    }

    fn describe(&self, text: &mut String, fields: &ValueFields, next: &mut Vec<TypeId>) {
        let name = |id| self.own.btf().type_name(id);
        for kptr in &fields.kptrs {
            if let Pointee::Own(id) = kptr.ty {
                let _ = write!(text, " {:?} to {} at {}", kptr.kind, name(id), kptr.off);
                next.push(id);
            }
        }
        for field in &fields.graph {
            let _ = write!(text, " {} at {}", field.kind.name(), field.off);
            if let Some(contained) = field.kind.contained() {
                let _ = write!(text, " of {} by {}", name(contained.ty), contained.off);
                next.push(contained.ty);
            }
        }
        let _ = write!(text, " lock {:?}", fields.lock);
    }
}

/// The fields that refer to objects. Pointers to the host's objects are none: programs cannot have any.
fn fields(found: &ValueFields) -> Fields {
    let kptrs = |kind| {
        let kptrs = found.kptrs.iter();
        kptrs
            .filter(move |kptr| kptr.kind == kind && matches!(kptr.ty, Pointee::Own(_)))
            .map(|kptr| kptr.off)
            .collect::<Vec<_>>()
    };
    let heads = |tree: bool| {
        let of_kind = move |kind| match kind {
            GraphFieldKind::List(_) => !tree,
            GraphFieldKind::Tree(_) => tree,
            _ => false,
        };
        let graph = found.graph.iter();
        graph
            .filter(move |field| of_kind(field.kind))
            .map(|field| field.off)
            .collect::<Vec<_>>()
    };
    let (pointers, loose) = (kptrs(KptrKind::Referenced), kptrs(KptrKind::Untrusted));
    let (lists, trees) = (heads(false), heads(true));
    let sized = |offs: &[u32], size: usize| offs.iter().map(move |off| (*off as usize, size)).collect::<Vec<_>>();
    let mut kept = [
        sized(&pointers, 8),
        sized(&loose, 8),
        sized(&lists, HEAD),
        sized(&trees, HEAD),
        found.lock.map(|off| (off as usize, 4)).into_iter().collect(),
    ]
    .concat();
    kept.sort_unstable();
    Fields {
        pointers,
        loose,
        lists,
        trees,
        lock: found.lock,
        kept,
    }
}

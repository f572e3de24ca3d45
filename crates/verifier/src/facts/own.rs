//! The types of objects that programs allocate (`bpf_obj_new`): structs of the program's own BTF.

use std::collections::HashMap;

use hitless_btf::{Btf, Type, TypeId};

use super::{GraphFieldKind, ManagedField, ValueFields};

/// The types of a program, with the fields of its structs that are more than bytes.
#[derive(Clone, Debug)]
pub struct OwnTypes<'a> {
    btf: &'a Btf,
    fields: HashMap<TypeId, ValueFields>,
    /// Whether lists and trees contain only what they may.
    sound: bool,
}

impl<'a> OwnTypes<'a> {
    /// The types of a program. Pointers in its structs are to objects of `host`.
    #[must_use]
    pub fn new(btf: &'a Btf, host: Option<&Btf>) -> OwnTypes<'a> {
        let structs = btf.types().filter(|(_, ty)| matches!(ty, Type::Struct(_)));
        let fields = ValueFields::of_objects(btf, structs.map(|(id, _)| id), host);
        let mut own = OwnTypes {
            btf,
            fields,
            sound: true,
        };
        own.sound = own.fields.iter().all(|(_, fields)| own.contains_what_it_may(fields));
        own
    }

    /// The types.
    #[must_use]
    pub fn btf(&self) -> &'a Btf {
        self.btf
    }

    /// The fields of a struct, if it is one that can be allocated and has some.
    #[must_use]
    pub fn fields(&self, ty: TypeId) -> Option<&ValueFields> {
        self.fields.get(&ty).filter(|_| self.sound)
    }

    /// Whether objects of a struct can be allocated.
    #[must_use]
    pub fn is_allocatable(&self, ty: TypeId) -> bool {
        self.sound && matches!(self.btf.get(ty), Some(Type::Struct(_)))
    }

    /// As in Linux: lists and trees say what they contain, and have a lock beside them; what can be in lists and in trees is
    /// counted; and what is in one that lies in an object that can be in one does not contain others, so that objects own each
    /// other in two steps at the most.
    fn contains_what_it_may(&self, fields: &ValueFields) -> bool {
        let has = |kind| fields.graph.iter().any(|field| field.kind == kind);
        let is_counted = fields.refcount().is_some();
        if has(GraphFieldKind::ListNode) && has(GraphFieldKind::TreeNode) && !is_counted {
            return false;
        }
        let is_head = |field: &&ManagedField| matches!(field.name, "bpf_list_head" | "bpf_rb_root");
        let contained: Vec<_> = fields.graph.iter().filter_map(|field| field.kind.contained()).collect();
        if fields.managed.iter().filter(is_head).count() != contained.len() {
            return false;
        }
        if !contained.is_empty() && fields.lock.is_none() {
            return false;
        }
        !fields.has_node()
            || contained.iter().all(|contained| {
                let inner = self.fields.get(&contained.ty);
                inner.is_none_or(|inner| inner.graph.iter().all(|field| field.kind.contained().is_none()))
            })
    }
}

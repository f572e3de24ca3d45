//! The BTF that programs are relocated against.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::btf::Btf;
use crate::types::{Kind, Type, TypeId};

use super::name::essential;

/// A BTF that programs are relocated against, with an index of its types by essential name.
#[derive(Clone, Debug)]
pub struct Target {
    btf: Arc<Btf>,
    /// Hash of the essential name and id of every type with a name, sorted.
    index: Vec<(u64, TypeId)>,
}

impl Target {
    /// Indexes the types of `btf`.
    #[must_use]
    pub fn new(btf: Arc<Btf>) -> Target {
        let mut index: Vec<(u64, TypeId)> = btf
            .types()
            .filter(|(_, ty)| !ty.name().is_empty())
            .map(|(id, ty)| (hash(essential(ty.name())), id))
            .collect();
        index.sort_unstable();
        Target { btf, index }
    }

    /// The types.
    #[must_use]
    pub fn btf(&self) -> &Arc<Btf> {
        &self.btf
    }

    /// The first type of this kind with exactly this name.
    #[must_use]
    pub fn find(&self, kind: Kind, name: &str) -> Option<TypeId> {
        self.hashed(essential(name))
            .find(|(_, ty)| ty.kind() == kind && ty.name() == name)
            .map(|(id, _)| id)
    }

    /// Types with this essential name, by id.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (TypeId, &'a Type)> {
        self.hashed(name).filter(move |(_, ty)| essential(ty.name()) == name)
    }

    /// Types with an essential name that has the hash of this one.
    fn hashed(&self, name: &str) -> impl Iterator<Item = (TypeId, &Type)> {
        let hash = hash(name);
        let start = self.index.partition_point(|&(other, _)| other < hash);
        self.index[start..]
            .iter()
            .take_while(move |&&(other, _)| other == hash)
            .filter_map(|&(_, id)| Some((id, self.btf.get(id)?)))
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

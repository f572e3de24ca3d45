//! Links of iterators, and the walks that are made of them.

use std::sync::Arc;

use hitless_verifier::MapKind;

use super::Target;
use super::reader::Iter;
use super::walk::{Elements, Walk};
use crate::link::{AttachError, Link};
use crate::map::{Map, MapHandle, kind_name};
use crate::program::Program;
use crate::runtime::{Attachment, Control, Inner, Runtime};

/// Why a link gives no iterator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IterError {
    /// `-EINVAL`: the link attaches a program to a hook, or to the changes of a map.
    #[error("the link is none of an iterator")]
    NoIterator,
    /// `-ENOLINK`: the link attaches no program any more.
    #[error("the link is detached")]
    Detached,
}

impl IterError {
    /// The kernel's number for it, positive.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        match self {
            IterError::NoIterator => libc::EINVAL,
            IterError::Detached => libc::ENOLINK,
        }
    }
}

impl Runtime {
    /// Attaches a program that walks what the runtime has: sections `iter/bpf_map`, `iter/bpf_prog` and `iter/bpf_link`. It runs when
    /// an iterator of the link is read ([`Link::iter`]).
    ///
    /// # Errors
    /// [`AttachError::WrongType`], [`AttachError::OtherRuntime`]; [`AttachError::Sleepable`] if the program may sleep;
    /// [`AttachError::NoMap`] if it walks the elements of a map; [`AttachError::Migrated`] if an upgrade has replaced a map that it
    /// writes.
    pub fn attach_iter(&self, program: &Arc<Program>) -> Result<Link, AttachError> {
        let target = check_iterator(self, program)?;
        if target == Target::MapElem {
            return Err(AttachError::NoMap {
                program: program.name().to_owned(),
            });
        }
        self.inner().attach_iterator(program, None)
    }

    /// Attaches a program that walks the elements of a map, `iter/bpf_map_elem`: hashes and arrays, LRU and per CPU ones, too. It runs when
    /// an iterator of the link is read ([`Link::iter`]).
    ///
    /// Where the map has a value for each slot, the program is shown a copy of all of them, each at a multiple of eight bytes. Elsewhere it
    /// is shown the value itself, and may write it.
    ///
    /// # Errors
    /// [`AttachError::WrongType`], [`AttachError::OtherRuntime`]; [`AttachError::Sleepable`] if the program may sleep;
    /// [`AttachError::NotWalked`] for other types of maps; [`AttachError::OutOfBounds`] if the program accesses more than there is of
    /// the key or the value; [`AttachError::ReadOnly`] if it writes values that it must not; [`AttachError::Migrated`] if an
    /// upgrade has replaced this map, or one that it writes.
    #[doc(alias = "bpf_iter_link_info")]
    pub fn attach_map_iter(&self, program: &Arc<Program>, map: &Arc<Map>) -> Result<Link, AttachError> {
        let target = check_iterator(self, program)?;
        if target != Target::MapElem {
            return Err(wrong_type(program, "iter/bpf_map_elem"));
        }
        if map.runtime() != self.id() {
            return Err(AttachError::OtherRuntime {
                program: program.name().to_owned(),
            });
        }
        self.inner().attach_iterator(program, Some(map))
    }
}

impl Link {
    /// A new walk of an iterator, with the program that the link has now.
    ///
    /// # Errors
    /// [`IterError::NoIterator`], [`IterError::Detached`].
    #[doc(alias = "BPF_ITER_CREATE")]
    pub fn iter(&self) -> Result<Iter, IterError> {
        let inner = self.runtime();
        let mut control = inner.control();
        let (program, map) = match control.links.get(&self.id()) {
            None => return Err(IterError::Detached),
            Some(Attachment::Iter { program, map }) => (Arc::clone(program), map.clone()),
            Some(_) => return Err(IterError::NoIterator),
        };
        let (id, session) = (control.next_id(), control.next_session());
        let (walk, ordered) = match (map, Target::of(&program)) {
            (Some(map), _) => {
                let updated = program.updated_maps();
                let ordered = !control.graph.closes_loop(map.id(), &updated);
                if ordered {
                    control.graph.add(id, map.id(), &updated);
                }
                (Walk::Elements(Elements::new(map)), ordered)
            }
            (None, target) => (
                Walk::Objects {
                    target: target.ok_or(IterError::NoIterator)?,
                    next: 0,
                    at: None,
                },
                false,
            ),
        };
        drop(control);
        Ok(Iter::new(Arc::clone(inner), (id, session), program, walk, ordered))
    }
}

fn wrong_type(program: &Program, expected: &str) -> AttachError {
    AttachError::WrongType {
        program: program.name().to_owned(),
        found: program.program_type().to_string(),
        expected: expected.to_owned(),
    }
}

/// What the program walks, if it is one that can be attached.
fn check_iterator(runtime: &Runtime, program: &Program) -> Result<Target, AttachError> {
    let target = Target::of(program).ok_or_else(|| wrong_type(program, "iter"))?;
    if program.runtime() != runtime.id() {
        return Err(AttachError::OtherRuntime {
            program: program.name().to_owned(),
        });
    }
    Ok(target)
}

/// Refuses a program that cannot walk the map.
fn check_map(program: &Program, map: &Map) -> Result<(), AttachError> {
    let walked = matches!(
        map.def().kind,
        MapKind::Hash
            | MapKind::LruHash
            | MapKind::Array
            | MapKind::PercpuHash
            | MapKind::LruPercpuHash
            | MapKind::PercpuArray
    );
    if !walked {
        return Err(AttachError::NotWalked {
            map: map.name().to_owned(),
            kind: kind_name(map.def().kind),
        });
    }
    let sizes = [("key", map.def().key_size), ("value", map.host_value_size() as u32)];
    for (field, size) in sizes {
        let extent = program.extent(field);
        if extent > size {
            return Err(AttachError::OutOfBounds {
                program: program.name().to_owned(),
                map: map.name().to_owned(),
                field,
                extent,
                size,
            });
        }
    }
    let reason = match map.facts() {
        _ if !program.writes_context() => None,
        facts if facts.readonly_prog => Some("is for programs to read only"),
        facts if facts.spin_lock.is_some() || facts.timer.is_some() || !facts.kptrs.is_empty() => {
            Some("has values with a lock, a timer or a pointer in them")
        }
        facts if !facts.managed.is_empty() => Some("has values with a list or a tree in them"),
        _ => None,
    };
    if let Some(reason) = reason {
        return Err(AttachError::ReadOnly {
            program: program.name().to_owned(),
            map: map.name().to_owned(),
            reason,
        });
    }
    if map.is_sealed() {
        return Err(AttachError::Migrated {
            program: program.name().to_owned(),
            map: map.name().to_owned(),
        });
    }
    Ok(())
}

impl Inner {
    fn attach_iterator(self: &Arc<Self>, program: &Arc<Program>, map: Option<&Arc<Map>>) -> Result<Link, AttachError> {
        self.check_waitable()?;
        let map = map.map(|map| MapHandle::new(Arc::clone(map), self));
        let mut control = self.control();
        control.check_iterator(program, map.as_ref())?;
        let id = control.next_id();
        let program = Arc::clone(program);
        control.links.insert(id, Attachment::Iter { program, map });
        drop(control);
        Ok(Link::new(Arc::clone(self), id))
    }
}

impl Control {
    /// Refuses a program that cannot be an iterator's, and prepares it: from now on it may write the map.
    pub(crate) fn check_iterator(&self, program: &Program, map: Option<&MapHandle>) -> Result<(), AttachError> {
        if program.is_sleepable() {
            return Err(AttachError::Sleepable {
                program: program.name().to_owned(),
            });
        }
        program.check_current()?;
        if let Some(map) = map {
            check_map(program, map)?;
            program.will_walk(map);
            self.choose_variant(program)?;
        }
        Ok(())
    }
}

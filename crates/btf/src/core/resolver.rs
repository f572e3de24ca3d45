//! From a relocation to its answer, by way of the candidates.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::btf::Btf;
use crate::ext::CoreRelo;
use crate::name::Name;
use crate::types::{Type, TypeId};

use super::access::Access;
use super::find::find;
use super::name::essential;
use super::value::{self, Value};
use super::{AccessSize, Both, CoreError, NAME_STEP, Relo, Resolution, Subject, Target, Work, compat};

/// Resolves the relocations of one object against one target.
#[derive(Debug)]
pub struct Resolver<'a> {
    local: &'a Btf,
    target: &'a Target,
    work: Work,
    /// For each root type, the types of the target that it may stand for.
    candidates: HashMap<TypeId, Vec<TypeId>>,
    /// What was asked before.
    answers: HashMap<(TypeId, Relo, Name), Resolution>,
}

/// A candidate that has what was asked for.
struct Found {
    id: TypeId,
    access: Access,
    value: Value,
}

impl<'a> Resolver<'a> {
    /// For an object whose types are `local`.
    #[must_use]
    pub fn new(local: &'a Btf, target: &'a Target) -> Resolver<'a> {
        Resolver {
            local,
            target,
            work: Work::default(),
            candidates: HashMap::new(),
            answers: HashMap::new(),
        }
    }

    /// Resolves a relocation.
    ///
    /// # Errors
    /// [`CoreError`]: the relocation makes no sense, or candidates of the target disagree.
    pub fn resolve(&mut self, relo: &CoreRelo) -> Result<Resolution, CoreError> {
        let kind = Relo::new(relo.kind).ok_or(CoreError::UnknownKind { kind: relo.kind })?;
        let key = (relo.ty, kind, relo.access.clone());
        if let Some(answer) = self.answers.get(&key) {
            return Ok(answer.clone());
        }
        let answer = self.answer(relo, kind)?;
        self.answers.insert(key, answer.clone());
        Ok(answer)
    }

    fn answer(&mut self, relo: &CoreRelo, kind: Relo) -> Result<Resolution, CoreError> {
        let root = self.local.get(relo.ty).ok_or(CoreError::UnknownType { id: relo.ty })?;
        let access = Access::parse(self.local, relo, kind)?;
        let what = access.describe(self.local);
        let here = value::value(self.local, &access, kind)?;
        let mut answer = Resolution {
            local: here.certain.then_some(here.value),
            target: Some(here.value),
            access: None,
            what,
        };
        if kind == Relo::TypeIdLocal {
            return Ok(answer);
        }
        if root.name().is_empty() {
            return Err(CoreError::Anonymous {
                id: relo.ty,
                kind: root.kind(),
            });
        }
        let found = self.search(&access, kind, root, &answer.what)?;
        answer.target = match &found {
            Some(found) => Some(found.value.value),
            None => value::missing(kind),
        };
        answer.access = found.and_then(|found| {
            let ((here, local), (there, target)) = here.access.zip(found.value.access)?;
            let behind = |btf: &'a Btf, id| btf.resolve(id).map(|(_, ty)| ty);
            let similar = value::resizable(behind(self.local, here), behind(self.target.btf(), there));
            Some(AccessSize {
                local,
                target,
                resizable: similar && local != 0 && target != 0,
            })
        });
        Ok(answer)
    }

    /// Looks for `access` in every candidate. Those that have it must agree, and are the only ones from then on.
    fn search(&mut self, access: &Access, kind: Relo, root: &Type, what: &str) -> Result<Option<Found>, CoreError> {
        let mut both = Both::new(self.local, self.target.btf(), &mut self.work);
        let candidates = match self.candidates.entry(access.root) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let mut candidates = Vec::new();
                let name = essential(root.name());
                for (id, ty) in self.target.named(name) {
                    both.work.spend(1 + name.len() / NAME_STEP)?;
                    if compat::kinds(root.kind(), ty.kind()) {
                        candidates.push(id);
                    }
                }
                new.insert(candidates)
            }
        };
        let mut first: Option<Found> = None;
        let mut having = Vec::new();
        for &id in candidates.iter() {
            let Some(there) = find(&mut both, access, id, kind)? else {
                continue;
            };
            let found = Found {
                id,
                value: value::value(both.target, &there, kind)?,
                access: there,
            };
            match &first {
                None => first = Some(found),
                Some(first) => agree(first, &found, kind, what)?,
            }
            having.push(id);
        }
        if first.is_some() {
            *candidates = having;
        }
        Ok(first)
    }
}

fn agree(first: &Found, second: &Found, kind: Relo, what: &str) -> Result<(), CoreError> {
    let disagree = |first_says: String, second_says: String| CoreError::Ambiguous {
        what: what.into(),
        first_id: first.id,
        first: first_says,
        second_id: second.id,
        second: second_says,
    };
    let place = |found: &Found| {
        let (byte, bit) = (found.access.bit_offset / 8, found.access.bit_offset % 8);
        match bit {
            0 => format!("at byte {byte}"),
            _ => format!("at byte {byte}, bit {bit}"),
        }
    };
    if kind.asks_about() == Subject::Field && first.access.bit_offset != second.access.bit_offset {
        return Err(disagree(place(first), place(second)));
    }
    if first.value.value != second.value.value {
        return Err(disagree(
            format!("value {}", first.value.value),
            format!("value {}", second.value.value),
        ));
    }
    Ok(())
}

/// What a relocation of a program whose types are `local` asks about, in words: "struct task_struct.pid".
///
/// # Errors
/// [`CoreError`]: the relocation makes no sense.
pub fn describe(local: &Btf, relo: &CoreRelo) -> Result<String, CoreError> {
    let kind = Relo::new(relo.kind).ok_or(CoreError::UnknownKind { kind: relo.kind })?;
    Ok(Access::parse(local, relo, kind)?.describe(local))
}

/// Resolves one relocation of a program whose types are `local`. For more than one, ask a [`Resolver`].
///
/// # Errors
/// [`CoreError`]: the relocation makes no sense, or candidates of the target disagree.
pub fn resolve(local: &Btf, relo: &CoreRelo, target: &Target) -> Result<Resolution, CoreError> {
    Resolver::new(local, target).resolve(relo)
}

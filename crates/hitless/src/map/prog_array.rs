//! `BPF_MAP_TYPE_PROG_ARRAY`: programs that others go on with (`bpf_tail_call`).
//!
//! All programs of an array fit together, with each other and with those that use it: the first one that is put in, or is
//! loaded and uses the array, says what kind. The host puts programs in; programs only call them.
//!
//! A program that uses an array which holds the program keeps itself alive. So the array is emptied when its last user
//! reference goes, even while programs still hold it.

use std::sync::{Arc, OnceLock};

use hitless_verifier::ProgramKind;

use super::indexed::{self, Indexed, IndexedMap};
use super::references::References;
use super::{Creation, MapCreateError, MapError, MapOps, Special};
use crate::program::Program;
use crate::program_type::ProgramType;
use crate::run::Run;

/// The programs of an array.
#[derive(Debug)]
pub(crate) struct Programs {
    table: References<Program>,
    /// What programs fit in.
    owner: OnceLock<ProgramType>,
}

/// An array of programs.
pub(crate) type ProgArray = IndexedMap<Programs>;

pub(super) fn make(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    indexed::make(creation, |entries| Programs {
        table: References::new(entries),
        owner: OnceLock::new(),
    })
}

impl Indexed for Programs {
    fn is_there(&self, index: u32) -> bool {
        !self.table.address(index as usize).is_null()
    }

    fn special(map: &IndexedMap<Self>) -> Special<'_> {
        Special::Programs(map)
    }
}

impl ProgArray {
    /// The program at an index, for a tail call; `None` if there is none.
    #[inline]
    pub(crate) fn get<'a>(&self, _run: &'a Run<'_>, index: u32) -> Option<&'a Program> {
        // SAFETY: a program is dropped a grace period after it was taken out, which the run holds up.
        unsafe { self.elements.table.address(index as usize).as_ref() }
    }

    /// Whether programs of this type fit in, which they do from now on if there were none before.
    pub(crate) fn admits(&self, program_type: &ProgramType) -> bool {
        self.elements.owner.get_or_init(|| program_type.clone()) == program_type
    }

    /// The indices at which there are programs.
    pub(crate) fn indices(&self) -> impl Iterator<Item = u32> {
        let all = 0..self.elements.table.len() as u32;
        all.filter(|index| self.elements.is_there(*index))
    }

    /// Puts a program in; what was there is to be dropped a grace period later.
    pub(super) fn insert(&self, index: u32, program: &Arc<Program>) -> Result<Option<Arc<Program>>, MapError> {
        let at = self.check(index)?;
        // What programs of these kinds access and write is checked where they are attached.
        let is_checked = matches!(program.program_type().kind(), ProgramKind::MapTrace | ProgramKind::Iter);
        if is_checked || !self.admits(program.program_type()) {
            return Err(MapError::IncompatibleProgram);
        }
        self.set_id(at, program.id());
        Ok(self.elements.table.replace(at, Some(Arc::clone(program))))
    }

    /// Takes a program out, which is to be dropped a grace period later.
    pub(super) fn remove(&self, index: u32) -> Result<Arc<Program>, MapError> {
        let at = self.check(index)?;
        self.elements.table.replace(at, None).ok_or(MapError::NotFound)
    }

    /// Takes all programs out, which are to be dropped a grace period later.
    pub(super) fn clear(&self) -> Vec<Arc<Program>> {
        self.elements.table.clear()
    }
}

//! Prog arrays: where tail calls go.

use std::sync::Arc;

use hitless_verifier::MapKind;

use super::{MapTypeError, TypedMap, check_kind};
use crate::map::{MapError, MapHandle};
use crate::program::Program;

/// An array of programs that others call at the end (`bpf_tail_call`). It is emptied when nobody of the host holds it any more.
#[doc(alias = "BPF_MAP_TYPE_PROG_ARRAY")]
#[derive(Clone, Debug)]
pub struct ProgArray {
    map: MapHandle,
}

impl TypedMap for ProgArray {
    fn from_map(map: &MapHandle) -> Result<ProgArray, MapTypeError> {
        check_kind(map, &[MapKind::ProgArray])?;
        Ok(ProgArray { map: map.clone() })
    }
}

impl ProgArray {
    /// Puts a program at an index: tail calls there go to it from now on. Programs that run go on with what they found.
    ///
    /// # Errors
    /// As [`Map::insert_program`](crate::Map::insert_program).
    pub fn set(&self, index: u32, program: &Arc<Program>) -> Result<(), MapError> {
        self.map.insert_program(index, program)
    }

    /// Takes the program at an index out: tail calls there do nothing then.
    ///
    /// # Errors
    /// [`MapError::NotFound`] if there is none, and as [`Map::delete`](crate::Map::delete).
    pub fn clear(&self, index: u32) -> Result<(), MapError> {
        self.map.delete(&index.to_ne_bytes())
    }

    /// The map.
    #[must_use]
    pub fn map(&self) -> &MapHandle {
        &self.map
    }
}

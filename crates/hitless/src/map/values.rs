//! What maps without keys do: queues, stacks and bloom filters.

use super::MapError;
use crate::region::SharedBytes;
use crate::run::Run;

/// Operations on values. Called inside a run; they neither allocate nor wait for what the interrupted code holds.
pub(crate) trait ValueOps: Send + Sync {
    /// Adds a value; the flags are those of `bpf_map_push_elem`.
    fn push(&self, run: &Run<'_>, value: SharedBytes<'_>, flags: u64) -> Result<(), MapError>;

    /// Takes the next value.
    ///
    /// # Safety
    /// `value` is writable.
    unsafe fn pop(&self, run: &Run<'_>, value: SharedBytes<'_>) -> Result<(), MapError>;

    /// Copies the next value; for a bloom filter, says whether this value is there.
    ///
    /// # Safety
    /// `value` is writable.
    unsafe fn peek(&self, run: &Run<'_>, value: SharedBytes<'_>) -> Result<(), MapError>;
}

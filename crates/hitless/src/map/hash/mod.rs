//! `BPF_MAP_TYPE_HASH` and its kin: per-CPU, LRU.
//!
//! Two layouts: small keys and values lie in the buckets themselves (`inline/`), everything else beside them (`tagged/`).
//! Both are flat regions, are read without locks, and are written with a bucket's word taken
//! (`bucket.rs`). Free elements are not state of the map (`pool.rs`, `credits.rs`, `cells.rs`).
//!
//! As in Linux, an element that was deleted may be handed out again at once: a program that still holds a pointer to its value
//! then reads and writes another key's.

mod bucket;
mod cells;
mod credits;
mod inline;
mod pool;
mod tagged;

use super::{Creation, MapCreateError, MapOps, key};

/// Makes a hash map, in the layout that suits its keys and values.
pub(super) fn make(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    let def = creation.def;
    creation.check(
        (1..=key::MAX_KEY_SIZE).contains(&(def.key_size as usize)),
        "key_size",
        def.key_size,
        "1 to 512 for a hash",
    )?;
    creation.check(def.value_size > 0, "value_size", def.value_size, "at least 1")?;
    creation.check(def.max_entries > 0, "max_entries", def.max_entries, "at least 1")?;
    creation.check(
        creation.slots < bucket::MAX_SLOTS,
        "number of slots",
        creation.slots as u64,
        "less than 65535",
    )?;
    inline::make(creation).unwrap_or_else(|| tagged::make(creation))
}

//! How much memory the maps of a runtime may take up.
//!
//! A map is charged for its whole region before anything of it is reserved, also if it pays for it page by page; what was
//! charged is given back when the region is unmapped.

use std::sync::Arc;

use rustix::process::{Resource, getrlimit};

use crate::primitive::Ordering::{AcqRel, Relaxed};
use crate::primitive::atomic::AtomicU64;

/// The most memory that the maps of a runtime may take up. Refused is what would exceed it, before anything is allocated.
///
/// Counted is what maps need. A map of 1 MiB or more lies in large pages, the last of which may be half empty: there the system
/// provides up to 1 MiB more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MemoryLimit {
    /// No limit but what the system has.
    #[default]
    None,
    /// So many bytes.
    Bytes(u64),
    /// What `RLIMIT_MEMLOCK` of the process is when a map is made: that is how Linux counted before 5.11.
    #[doc(alias = "RLIMIT_MEMLOCK")]
    Memlock,
}

/// What the maps of a runtime take up.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: MemoryLimit,
    used: AtomicU64,
}

/// A part of it, given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

/// What was charged before, and the limit that it would have exceeded.
pub(crate) struct Exceeded {
    pub(crate) used: u64,
    pub(crate) limit: u64,
}

impl Budget {
    pub(crate) fn new(limit: MemoryLimit) -> Budget {
        Budget {
            limit,
            used: AtomicU64::new(0),
        }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    fn limit(&self) -> u64 {
        match self.limit {
            MemoryLimit::None => u64::MAX,
            MemoryLimit::Bytes(bytes) => bytes,
            MemoryLimit::Memlock => getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX),
        }
    }

    /// Charges for memory, if there is so much left.
    pub(crate) fn charge(self: &Arc<Budget>, bytes: u64) -> Result<Charge, Exceeded> {
        let limit = self.limit();
        let mut used = self.used.load(Relaxed);
        loop {
            let Some(more) = used.checked_add(bytes).filter(|more| *more <= limit) else {
                return Err(Exceeded { used, limit });
            };
            match self.used.compare_exchange(used, more, AcqRel, Relaxed) {
                Ok(_) => {
                    return Ok(Charge {
                        budget: Arc::clone(self),
                        bytes,
                    });
                }
                Err(now) => used = now,
            }
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // Adding the complement subtracts.
        self.budget.used.fetch_add(self.bytes.wrapping_neg(), AcqRel);
    }
}

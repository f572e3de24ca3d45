//! What is kept of loaded programs that the runtime has no use for, and callers ask for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use hitless::Program;

use super::debug::Debug;

/// What is kept of a program.
#[derive(Debug)]
pub(crate) struct Record {
    program: Weak<Program>,
    pub(crate) gpl_compatible: bool,
    /// When it was loaded, by the clock that goes on while the machine sleeps.
    pub(crate) load_time_ns: u64,
    pub(crate) attach_btf_id: u32,
    pub(crate) debug: Debug,
}

/// What is kept of programs, by id, as long as they are there.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<BTreeMap<u32, Arc<Record>>>);

impl Record {
    pub(super) fn new(program: &Arc<Program>, gpl_compatible: bool, attach_btf_id: u32, debug: Debug) -> Record {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Record {
            program: Arc::downgrade(program),
            gpl_compatible,
            load_time_ns: now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64,
            attach_btf_id,
            debug,
        }
    }
}

impl Records {
    pub(super) fn add(&self, id: u32, record: Record) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, record| record.program.strong_count() > 0);
        known.insert(id, Arc::new(record));
    }

    /// What is kept of a program; `None` if it was not loaded by a caller.
    pub(crate) fn get(&self, id: u32) -> Option<Arc<Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

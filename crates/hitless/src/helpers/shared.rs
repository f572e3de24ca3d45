//! What all programs of a runtime share, and helpers work on: what they print, their random numbers, the clock's tick, and
//! who the process is. All of it is made when the runtime is, so that helpers need not allocate or ask for it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::format::Hide;
use super::random::Random;
use super::task::Identity;
use super::time::Tick;
use crate::trace_pipe::TraceBuffer;

/// What helpers of a runtime share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) trace: Arc<TraceBuffer>,
    pub(super) random: Random,
    pub(super) tick: Tick,
    pub(super) identity: Identity,
    addresses: RandomState,
}

impl Shared {
    pub(crate) fn new(slots: usize) -> Shared {
        Shared {
            trace: Arc::new(TraceBuffer::new()),
            random: Random::new(slots),
            tick: Tick::new(),
            identity: Identity::new(),
            addresses: RandomState::new(),
        }
    }
}

impl Shared {
    /// What hashes of flows depend on.
    pub(super) fn flow_keys(&self) -> &RandomState {
        &self.addresses
    }
}

impl Hide for Shared {
    fn hide(&self, address: u64) -> u32 {
        self.addresses.hash_one(address) as u32
    }
}

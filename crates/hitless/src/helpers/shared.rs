//! What all programs of a runtime share, and helpers work on: what they print, their random numbers, the clock's tick, and
//! who the process is. All of it is made when the runtime is, so that helpers need not allocate or ask for it.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, OnceLock};

use super::format::Hide;
use super::random::Random;
use super::task::Identity;
use super::time::Tick;
use crate::objects::Heap;
use crate::run::Slots;
use crate::timer::Timers;
use crate::trace_pipe::TraceBuffer;

/// What helpers of a runtime share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) trace: Arc<TraceBuffer>,
    pub(super) random: Random,
    pub(super) tick: Tick,
    pub(super) identity: Identity,
    addresses: RandomState,
    /// Made with the first map that has timers.
    timers: OnceLock<Arc<Timers>>,
    /// Made with the first program that allocates objects, or the first map that refers to some.
    objects: OnceLock<Arc<Heap>>,
}

impl Shared {
    pub(crate) fn new(slots: usize) -> Shared {
        Shared {
            trace: Arc::new(TraceBuffer::new()),
            random: Random::new(slots),
            tick: Tick::new(),
            identity: Identity::new(),
            addresses: RandomState::new(),
            timers: OnceLock::new(),
            objects: OnceLock::new(),
        }
    }
}

impl Shared {
    /// The timers, if there is a map that has some.
    pub(crate) fn timers(&self) -> Option<&Timers> {
        self.timers.get().map(AsRef::as_ref)
    }

    /// Makes the timers, and starts the thread that serves them.
    pub(crate) fn start_timers(&self, slots: &Arc<Slots>) -> io::Result<()> {
        if self.timers.get().is_some() {
            return Ok(());
        }
        let timers = Arc::new(Timers::new());
        // First: timers that no thread serves would never go off.
        Timers::start_thread(&timers, Arc::clone(slots))?;
        if let Err(second) = self.timers.set(timers) {
            second.stop();
        }
        Ok(())
    }

    /// The objects of programs, if there are programs that allocate some.
    pub(crate) fn objects(&self) -> Option<&Arc<Heap>> {
        self.objects.get()
    }

    /// Makes the memory for objects, and starts the thread that serves it.
    pub(crate) fn start_objects(&self, slots: &Arc<Slots>) -> io::Result<&Arc<Heap>> {
        if self.objects.get().is_none()
            && let Err(second) = self.objects.set(Heap::start(slots)?)
        {
            second.stop();
        }
        self.objects().ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Ends what works for programs beside them.
    pub(crate) fn stop_threads(&self) {
        if let Some(timers) = self.timers() {
            timers.stop();
        }
        if let Some(objects) = self.objects() {
            objects.stop();
        }
    }

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

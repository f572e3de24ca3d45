//! `BPF_MAP_TYPE_TASK_STORAGE`: a value for each thread.
//!
//! A hash from thread ids to values, made for as many threads as a process can have here, and paid for as they come. There is no
//! notice of a thread's end that a run could take without allocating. So an element carries the serial number of its thread, which
//! is never used again: whoever gets the same id finds that the number is not its own, and starts anew. Elements of threads that are
//! gone are not shown, and make room when that is needed.
//!
//! The host may make an element for a thread that has none: its serial number is 0 until the thread finds it.

use std::cell::Cell;

use hitless_verifier::MapKind;

use super::common::{Common, calls_by_ops};
use super::{Creation, Elem, Key, MapCalls, MapCreateError, MapDef, MapError, MapFlags, MapOps, Put, Rule, Special};
use crate::primitive::Ordering::{AcqRel, Acquire, Relaxed};
use crate::primitive::atomic::AtomicU64;
use crate::region::SharedBytes;
use crate::run::{Run, thread_id};

/// How many threads may have a value at once.
const THREADS: u32 = 1 << 16;
/// `BPF_LOCAL_STORAGE_MAX_VALUE_SIZE`, less what its header takes.
const MAX_VALUE_SIZE: u32 = 65_407;
/// Bytes of the serial number before the value.
const SERIAL: usize = 8;

#[cfg(not(hitless_model))]
crate::primitive::thread_local! {
    static OWN_SERIAL: Cell<u64> = const { Cell::new(0) };
}
#[cfg(hitless_model)]
crate::primitive::thread_local! {
    static OWN_SERIAL: Cell<u64> = Cell::new(0);
}

/// The calling thread's number, which no other one ever has.
fn own_serial() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    OWN_SERIAL.with(|serial| {
        if serial.get() == 0 {
            serial.set(NEXT.fetch_add(1, Relaxed));
        }
        serial.get()
    })
}

/// Whether a thread of this process has the id.
fn is_alive(thread: u32) -> bool {
    // SAFETY: signal 0 is none; the call only says whether there is such a thread.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, 0) == 0 }
}

fn key_of(thread: u32) -> Key {
    Key::from_words(4, |_| thread.into())
}

/// A value for each thread.
#[derive(Debug)]
pub(crate) struct TaskStorage {
    common: Common,
    /// From thread ids to serial numbers and values.
    elements: Box<dyn MapOps>,
    /// A value of zeros, with room for the serial number.
    zeros: Box<[u8]>,
}

pub(super) fn make(creation: &Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError> {
    let def = creation.def;
    let (size, flags) = (def.value_size, def.flags);
    creation.check(def.key_size == 4, "key_size", def.key_size, "4, for a thread")?;
    creation.check(size > 0, "value_size", size, "at least 1")?;
    creation.check(
        def.max_entries == 0,
        "max_entries",
        def.max_entries,
        "0, since threads come and go",
    )?;
    let unreserved = flags.contains(MapFlags::NO_PREALLOC);
    creation.check(unreserved, "map_flags", flags.bits(), "BPF_F_NO_PREALLOC among them")?;
    if size > MAX_VALUE_SIZE {
        return Err(creation.too_large(size.into()));
    }
    let elements = MapDef {
        flags: MapFlags::NO_PREALLOC,
        ..MapDef::new(&def.name, MapKind::Hash, 4, SERIAL as u32 + size, THREADS)
    };
    Ok(Box::new(TaskStorage {
        common: Common::new(def),
        elements: super::hash::make(&Creation {
            def: &elements,
            ..*creation
        })?,
        zeros: vec![0; SERIAL + size as usize].into_boxed_slice(),
    }))
}

impl TaskStorage {
    fn serial(&self, elem: Elem) -> &AtomicU64 {
        let serial = self.elements.value(elem, 0).part(0, SERIAL);
        // SAFETY: values of hashes are aligned to eight bytes; the region lives as long as the map, and is accessed atomically.
        unsafe { &*(serial.address() as *const AtomicU64) }
    }

    /// The element of the calling thread, if it has one.
    fn own(&self) -> Option<Elem> {
        let elem = self.elements.lookup(&key_of(thread_id()))?;
        let (serial, own) = (self.serial(elem), own_serial());
        let found = serial.compare_exchange(0, own, AcqRel, Acquire);
        (found.is_ok() || found == Err(own)).then_some(elem)
    }

    /// The address of the calling thread's value (`bpf_task_storage_get`); made of `init`, or of zeros, if there is none and
    /// `create` says so.
    ///
    /// # Errors
    /// [`MapError::NotFound`]; [`MapError::Full`]; [`MapError::Busy`]. Programs see NULL.
    pub(crate) fn get(&self, run: &Run<'_>, create: bool, init: Option<SharedBytes<'_>>) -> Result<u64, MapError> {
        let address = |elem| self.value(elem, 0).address();
        if let Some(elem) = self.own() {
            return Ok(address(elem));
        }
        if !create {
            return Err(MapError::NotFound);
        }
        let key = key_of(thread_id());
        // What is there was another thread's.
        match self.elements.delete(run, &key) {
            Ok(()) | Err(MapError::NotFound) => {}
            Err(error) => return Err(error),
        }
        let elem = self.create(run, &key)?;
        if let Some(init) = init {
            // SAFETY: memory of this map's region, which is writable.
            unsafe { self.common.store(self.value(elem, 0), init) };
        }
        self.serial(elem).store(own_serial(), Relaxed);
        Ok(address(elem))
    }

    fn create(&self, run: &Run<'_>, key: &Key) -> Result<Elem, MapError> {
        let put = Put {
            rule: Rule::NoExist,
            ..Put::ANY
        };
        let create = || {
            self.elements
                .update(run, key, SharedBytes::from_slice(&self.zeros), put)
        };
        match create() {
            Err(MapError::Full { .. }) => {
                self.forget_dead(run);
                create()
            }
            result => result,
        }
    }

    /// Deletes the calling thread's value (`bpf_task_storage_delete`).
    ///
    /// # Errors
    /// [`MapError::NotFound`]; [`MapError::Busy`].
    pub(crate) fn remove(&self, run: &Run<'_>) -> Result<(), MapError> {
        self.own().ok_or(MapError::NotFound)?;
        self.elements.delete(run, &key_of(thread_id()))
    }

    /// Deletes what threads have left that are gone.
    fn forget_dead(&self, run: &Run<'_>) {
        for position in 0..self.elements.positions() {
            let key = self.elements.at(position).and_then(|elem| self.elements.key_of(elem));
            if let Some(key) = key.filter(|key| !is_alive(key.index())) {
                // It may be busy, or gone: then it makes no room.
                let _ = self.elements.delete(run, &key);
            }
        }
    }
}

impl MapOps for TaskStorage {
    fn lookup(&self, key: &Key) -> Option<Elem> {
        if !is_alive(key.index()) {
            return None;
        }
        self.elements.lookup(key)
    }

    fn update(&self, run: &Run<'_>, key: &Key, value: SharedBytes<'_>, put: Put) -> Result<Elem, MapError> {
        if !is_alive(key.index()) {
            return Err(MapError::NoThread { thread: key.index() });
        }
        let found = self.elements.lookup(key);
        let elem = match (found, put.rule) {
            (Some(_), Rule::NoExist) => return Err(MapError::Exists),
            (None, Rule::Exist) => return Err(MapError::NotFound),
            (Some(elem), _) => elem,
            (None, _) => self.create(run, key)?,
        };
        // SAFETY: memory of this map's region, which is writable.
        unsafe { self.common.store(self.value(elem, 0), value) };
        Ok(elem)
    }

    fn delete(&self, run: &Run<'_>, key: &Key) -> Result<(), MapError> {
        self.elements.delete(run, key)
    }

    fn indices(&self) -> u32 {
        self.elements.indices()
    }

    fn key_of(&self, elem: Elem) -> Option<Key> {
        self.elements.key_of(elem)
    }

    fn value(&self, elem: Elem, slot: u32) -> SharedBytes<'_> {
        let whole = self.elements.value(elem, slot);
        whole.part(SERIAL, whole.len() - SERIAL)
    }

    fn element_at(&self, address: u64, len: usize) -> Option<Elem> {
        let elem = self.elements.element_at(address, len)?;
        (address >= self.value(elem, 0).address()).then_some(elem)
    }

    fn stripe_hash(&self, key: &Key) -> u64 {
        self.elements.stripe_hash(key)
    }

    fn positions(&self) -> u64 {
        self.elements.positions()
    }

    fn at(&self, position: u64) -> Option<Elem> {
        self.elements.at(position)
    }

    fn place_of(&self, key: &Key) -> Option<(u64, Elem)> {
        self.elements.place_of(key).filter(|_| is_alive(key.index()))
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn calls(&self) -> MapCalls {
        calls_by_ops(self)
    }

    fn special(&self) -> Special<'_> {
        Special::Tasks(self)
    }
}

//! What each kind of map implements, and how compiled code gets at it.

use hitless_isa::Size;
use hitless_jit::HashTable;

use super::{Audit, Common, Key, Map, MapError, Special};
use crate::region::{SharedBytes, load_word};
use crate::run::Run;
use crate::trace::Pending;

/// Index of an element in its map's region. While an element is live it keeps its index, and its value its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Elem(pub(crate) u32);

/// What may be there already when an element is updated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rule {
    /// `BPF_ANY`.
    Any,
    /// `BPF_NOEXIST`.
    NoExist,
    /// `BPF_EXIST`.
    Exist,
}

/// Which values of an element an update writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cpus {
    /// The only one; in a per-CPU map that of the run's slot. Those of other slots are zeroed if the element is new.
    Own,
    /// That of one slot, of a per-CPU map. Those of other slots are zeroed if the element is new.
    One(u32),
    /// Those of all slots, of a per-CPU map: the value given holds one for each, at multiples of eight bytes.
    Each,
    /// Those of all slots, of a per-CPU map: each gets the value given.
    Every,
}

/// How an element is updated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Put {
    pub(crate) rule: Rule,
    /// An element that is there keeps its place, and its spin lock is taken (`BPF_F_LOCK`).
    pub(crate) in_place: bool,
    pub(crate) cpus: Cpus,
    /// An LRU map that is full may take another element out.
    pub(crate) evict: bool,
}

impl Put {
    /// Create or replace, for whoever has the one value.
    pub(crate) const ANY: Put = Put {
        rule: Rule::Any,
        in_place: false,
        cpus: Cpus::Own,
        evict: true,
    };
}

/// What each kind of map implements.
///
/// `update` and `delete` are called inside a run. They never allocate. A lock that the interrupted code of the same
/// thread may hold is only tried: they fail with [`MapError::Busy`] instead of waiting for it. Whether the map may be written
/// at all, and its tracers, are the caller's ([`Map`](super::Map)).
pub(crate) trait MapOps: Send + Sync + std::fmt::Debug {
    fn lookup(&self, key: &Key) -> Option<Elem>;

    /// The value has the map's size for programs, or, for [`Cpus::Each`], that for the host. The flag for in-place updates
    /// is given only if there is a spin lock.
    fn update(&self, run: &Run<'_>, key: &Key, value: SharedBytes<'_>, put: Put) -> Result<Elem, MapError>;

    fn delete(&self, run: &Run<'_>, key: &Key) -> Result<(), MapError>;

    /// Deletes an element of a hash, and shows it to `look` while nobody else changes it: before it can be used again. Calls
    /// `look` once, unless it fails.
    fn take(&self, _run: &Run<'_>, _key: &Key, _look: &mut dyn FnMut(Elem)) -> Result<(), MapError> {
        Err(MapError::Unsupported)
    }

    /// In an LRU map: a key that is to go so that there is room for this one; `None` if there is none. An update with
    /// [`Put::evict`] false fails with [`MapError::Full`] when it is needed.
    fn victim(&self, _key: &Key) -> Option<Key> {
        None
    }

    /// How many element indices there are; a live element has one below it.
    fn indices(&self) -> u32;

    /// The key that the element holds, if it is one that `lookup` could have matched just now. A key read while the element
    /// is being rewritten may be no key at all: look it up to know.
    fn key_of(&self, elem: Elem) -> Option<Key>;

    /// The element's value; in a per-CPU map that of a slot, elsewhere `slot` means nothing.
    fn value(&self, elem: Elem, slot: u32) -> SharedBytes<'_>;

    /// Which element's value, of any slot, the `len` bytes at an address lie wholly inside.
    fn element_at(&self, address: u64, len: usize) -> Option<Elem>;

    /// Which stripe of map tracing a key belongs to, before it is reduced to their number.
    fn stripe_hash(&self, key: &Key) -> u64;

    /// How many positions a traversal visits. A key keeps its position as long as it is in the map, though a replaced
    /// element has another index; so who visits each position once meets each key that is there throughout exactly once.
    fn positions(&self) -> u64;

    /// The element at a position, if there is one now.
    fn at(&self, position: u64) -> Option<Elem>;

    /// The position of a key, if it is there, and the element at it.
    fn place_of(&self, key: &Key) -> Option<(u64, Elem)>;

    /// Examines the region of a map that somebody else has left, mends what it finds, and works out what is free. Called once,
    /// before anybody uses the map. Kinds that are not kept in files have nothing to do.
    fn recover(&mut self, _audit: &mut Audit) {}

    /// What every kind has, part of its own state.
    fn common(&self) -> &Common;

    /// What compiled code calls.
    fn calls(&self) -> MapCalls;

    /// What else the kind can do.
    fn special(&self) -> Special<'_> {
        Special::None
    }

    /// Where values are, if a program may compute their addresses itself.
    fn inline(&self) -> Option<InlineArray> {
        None
    }
}

/// How a map's functions are given a key or a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pass {
    /// By its address.
    Address,
    /// As an integer of this size, zero-extended.
    Integer(Size),
}

impl Pass {
    /// As an integer, if there are some of `len` bytes.
    pub(crate) fn integer(len: u32) -> Pass {
        match len {
            1 => Pass::Integer(Size::B),
            2 => Pass::Integer(Size::H),
            4 => Pass::Integer(Size::W),
            8 => Pass::Integer(Size::Dw),
            _ => Pass::Address,
        }
    }

    /// What is passed for what lies at an address.
    ///
    /// # Safety
    /// As many bytes as the map's keys, or values, have are readable there.
    pub(crate) unsafe fn of(self, address: u64) -> u64 {
        match self {
            Pass::Address => address,
            // SAFETY: as for this function.
            Pass::Integer(size) => unsafe { load_word(address as *const u8, size.bytes()) },
        }
    }
}

/// What the plain variant of a compiled program calls. Each function is passed `state`, and lives as long as the map.
///
/// They do all that a helper does: `update` and `delete` check whether the map may be written, and return 0 or a negative
/// errno, widened to 64 bits. None of them traces: the traced variant calls those of [`TracedCalls`], by way of [`Map`].
///
/// # Safety
/// To call one: `state` is that of the same `MapCalls`, and the map is alive; key and value are passed as `key` and `value` say,
/// and what is passed by address is readable for the map's key or value size; `bucket` is what [`MapCalls::bucket`] says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapCalls {
    pub(crate) state: *const (),
    pub(crate) key: Pass,
    pub(crate) value: Pass,
    /// If the functions want to be told where a key belongs.
    pub(crate) table: Option<HashTable>,
    /// The address of the value (in a per-CPU map that of the run's slot), or 0.
    pub(crate) lookup: unsafe extern "C" fn(state: *const (), run: &Run<'_>, key: u64, bucket: u64) -> u64,
    pub(crate) update:
        unsafe extern "C" fn(state: *const (), run: &Run<'_>, key: u64, value: u64, flags: u64, bucket: u64) -> i64,
    pub(crate) delete: unsafe extern "C" fn(state: *const (), run: &Run<'_>, key: u64, bucket: u64) -> i64,
    pub(crate) traced: TracedCalls,
}

impl MapCalls {
    /// What the functions are passed as the bucket of a key, which is passed as an integer if there is a table; else it means
    /// nothing.
    pub(crate) fn bucket(&self, key: u64) -> u64 {
        self.table.map_or(0, |table| table.bucket(key))
    }
}

/// What the traced variant calls: changes that leave what the map's tracers are to be told, and the stripe of the key, if the map
/// is traced. While it is, they do not evict.
///
/// # Safety
/// To call one: as for [`MapCalls`]; `map` is the one that these are of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TracedCalls {
    pub(crate) update: for<'a> unsafe fn(
        map: &'a Map,
        run: &'a Run<'_>,
        key: u64,
        value: u64,
        flags: u64,
        pending: &mut Option<Pending<'a>>,
    ) -> i64,
    pub(crate) delete:
        for<'a> unsafe fn(map: &'a Map, run: &'a Run<'_>, key: u64, pending: &mut Option<Pending<'a>>) -> i64,
}

// SAFETY: the functions may be called on any thread; `state` is that of a map, which is `Sync`.
unsafe impl Send for MapCalls {}
// SAFETY: as above.
unsafe impl Sync for MapCalls {}

/// Values that are found by index: `base + index * stride + slot * slot_stride`, if the index (4 bytes at the key's address)
/// is less than `max_entries`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InlineArray {
    /// The address of the first value.
    pub(crate) base: u64,
    /// Bytes from one value to the next.
    pub(crate) stride: u64,
    pub(crate) max_entries: u32,
    /// Bytes from one slot's values to the next one's; 0 if there is one value for all.
    pub(crate) slot_stride: u64,
    /// If an update is nothing but a copy: the address of a word that is 0 as long as the map may be written.
    pub(crate) closed: Option<u64>,
}

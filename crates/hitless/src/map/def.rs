//! How a map is made, and what is checked before anything is reserved.

use std::fmt;
use std::ops::BitOr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use hitless_verifier::{MapFacts, MapKind};

use super::MapCreateError;
use super::file::MapFile;
use super::key::Seed;
use crate::memory::{Budget, Charge};
use crate::objects::Owned;
use crate::region::Region;
use crate::sys::{self, FilePart, Sharing};

/// Flags of a map (`map_flags` of `BPF_MAP_CREATE`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MapFlags(u32);

impl MapFlags {
    /// No flag.
    pub const NONE: MapFlags = MapFlags(0);
    /// Memory is reserved only, and paid for page by page as elements come (`BPF_F_NO_PREALLOC`).
    #[doc(alias = "BPF_F_NO_PREALLOC")]
    pub const NO_PREALLOC: MapFlags = MapFlags(1);
    /// An LRU list for each slot (`BPF_F_NO_COMMON_LRU`).
    #[doc(alias = "BPF_F_NO_COMMON_LRU")]
    pub const NO_COMMON_LRU: MapFlags = MapFlags(1 << 1);
    /// A NUMA node was chosen (`BPF_F_NUMA_NODE`); without effect.
    #[doc(alias = "BPF_F_NUMA_NODE")]
    pub const NUMA_NODE: MapFlags = MapFlags(1 << 2);
    /// The host's handle of the map may only read (`BPF_F_RDONLY`).
    #[doc(alias = "BPF_F_RDONLY")]
    pub const RDONLY: MapFlags = MapFlags(1 << 3);
    /// The host's handle of the map may only write (`BPF_F_WRONLY`).
    #[doc(alias = "BPF_F_WRONLY")]
    pub const WRONLY: MapFlags = MapFlags(1 << 4);
    /// The hash is not seeded, so that two maps have the same order (`BPF_F_ZERO_SEED`).
    #[doc(alias = "BPF_F_ZERO_SEED")]
    pub const ZERO_SEED: MapFlags = MapFlags(1 << 6);
    /// Programs may not write it (`BPF_F_RDONLY_PROG`).
    #[doc(alias = "BPF_F_RDONLY_PROG")]
    pub const RDONLY_PROG: MapFlags = MapFlags(1 << 7);
    /// Programs may not read it (`BPF_F_WRONLY_PROG`).
    #[doc(alias = "BPF_F_WRONLY_PROG")]
    pub const WRONLY_PROG: MapFlags = MapFlags(1 << 8);
    /// A copy is made where the owner is copied (`BPF_F_CLONE`); without effect, since threads are not.
    #[doc(alias = "BPF_F_CLONE")]
    pub const CLONE: MapFlags = MapFlags(1 << 9);
    /// The host may map its values into memory (`BPF_F_MMAPABLE`).
    #[doc(alias = "BPF_F_MMAPABLE")]
    pub const MMAPABLE: MapFlags = MapFlags(1 << 10);
    /// The buffers in a perf event array stay when its last user reference goes (`BPF_F_PRESERVE_ELEMS`).
    #[doc(alias = "BPF_F_PRESERVE_ELEMS")]
    pub const PRESERVE_ELEMS: MapFlags = MapFlags(1 << 11);
    /// As an inner map it may have another `max_entries` than the template (`BPF_F_INNER_MAP`).
    #[doc(alias = "BPF_F_INNER_MAP")]
    pub const INNER_MAP: MapFlags = MapFlags(1 << 12);

    /// Who may read and write: flags that every kind knows.
    pub(crate) const ACCESS: MapFlags =
        MapFlags(Self::RDONLY.0 | Self::WRONLY.0 | Self::RDONLY_PROG.0 | Self::WRONLY_PROG.0);

    /// The flags as `bpf(2)` has them.
    #[must_use]
    pub const fn from_bits(bits: u32) -> MapFlags {
        MapFlags(bits)
    }

    /// The flags as bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn contains(self, flags: MapFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These and others.
    #[must_use]
    pub const fn with(self, flags: MapFlags) -> MapFlags {
        MapFlags(self.0 | flags.0)
    }
}

impl BitOr for MapFlags {
    type Output = MapFlags;

    fn bitor(self, other: MapFlags) -> MapFlags {
        self.with(other)
    }
}

impl fmt::Debug for MapFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What memory is counted in.
const PAGE: u64 = 4096;
/// The kernel's `PCPU_MIN_UNIT_SIZE`: the most that one allocation for each CPU can have.
const MAX_PER_CPU_VALUE: u32 = 32_768;

/// How a map is made: the attributes of `BPF_MAP_CREATE`, and what BTF says of its values.
///
/// ```
/// use hitless::{MapDef, MapFlags, MapKind};
///
/// let def = MapDef {
///     flags: MapFlags::NO_PREALLOC,
///     ..MapDef::new("flows", MapKind::Hash, 4, 8, 65_536)
/// };
/// assert_eq!(def.value_size, 8);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapDef {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: MapKind,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes; in a per-CPU map that of one slot.
    pub value_size: u32,
    /// The most elements that it can hold.
    pub max_entries: u32,
    /// Its flags.
    pub flags: MapFlags,
    /// Number whose meaning depends on the type (`map_extra`).
    pub map_extra: u64,
    /// The NUMA node that was asked for; without effect.
    pub numa_node: Option<u32>,
    /// Offset of the `struct bpf_spin_lock` in the value, if it has one.
    pub spin_lock: Option<u32>,
    /// For maps of maps, what the maps in it are like.
    pub inner: Option<Box<MapDef>>,
    /// Its one value is global data of an object (`.data`, `.bss`, `.rodata`), reached by address.
    pub global_data: bool,
}

impl MapDef {
    /// A map with these sizes, and nothing special.
    #[must_use]
    pub fn new(name: &str, kind: MapKind, key_size: u32, value_size: u32, max_entries: u32) -> MapDef {
        MapDef {
            name: name.to_owned(),
            kind,
            key_size,
            value_size,
            max_entries,
            flags: MapFlags::NONE,
            map_extra: 0,
            numa_node: None,
            spin_lock: None,
            inner: None,
            global_data: false,
        }
    }

    /// What the verifier is told of maps like this one that are in a map of maps.
    pub(crate) fn facts(&self) -> MapFacts {
        MapFacts {
            name: self.name.clone(),
            kind: self.kind,
            key_size: self.key_size,
            value_size: self.value_size,
            max_entries: self.max_entries,
            readonly_prog: self.is_readonly_prog(),
            writeonly_prog: self.flags.contains(MapFlags::WRONLY_PROG),
            frozen: None,
            spin_lock: self.spin_lock,
            timer: None,
            inner: None,
            kptrs: Vec::new(),
            managed: Vec::new(),
            graph: Vec::new(),
        }
    }

    /// Refuses an attribute unless it is `ok`.
    pub(crate) fn check(
        &self,
        ok: bool,
        what: &'static str,
        found: impl Into<u64>,
        expected: &'static str,
    ) -> Result<(), MapCreateError> {
        if ok {
            Ok(())
        } else {
            Err(MapCreateError::Invalid {
                name: self.name.clone(),
                what,
                found: found.into(),
                expected,
            })
        }
    }

    /// Whether programs may not write it.
    #[must_use]
    pub fn is_readonly_prog(&self) -> bool {
        self.flags.contains(MapFlags::RDONLY_PROG)
    }

    /// Whether it has a value for each slot.
    #[must_use]
    pub fn is_per_cpu(&self) -> bool {
        matches!(
            self.kind,
            MapKind::PercpuHash | MapKind::PercpuArray | MapKind::LruPercpuHash
        )
    }

    /// Whether it takes elements out by itself, to make room for others.
    pub(crate) fn is_lru(&self) -> bool {
        matches!(self.kind, MapKind::LruHash | MapKind::LruPercpuHash)
    }
}

/// A map in the making: what its kind is told, checks with, and reserves memory by.
#[derive(Clone, Copy)]
pub(crate) struct Creation<'a> {
    pub(crate) def: &'a MapDef,
    /// How many slots there are: possible CPUs.
    pub(crate) slots: usize,
    /// What it is charged to.
    pub(super) budget: &'a Arc<Budget>,
    /// What its hash is seeded with.
    pub(crate) seed: Seed,
    /// The file that its region lies in, and who sees what is written there; `None` if it has none.
    pub(super) file: Option<(&'a MapFile, Sharing)>,
    /// What its values refer to.
    pub(crate) owned: Option<&'a Arc<Owned>>,
}

impl<'a> Creation<'a> {
    /// A new map, in memory.
    pub(crate) fn new(def: &'a MapDef, slots: usize, budget: &'a Arc<Budget>) -> Creation<'a> {
        let seed = if def.flags.contains(MapFlags::ZERO_SEED) {
            Seed::FIXED
        } else {
            Seed::random()
        };
        Creation {
            def,
            slots,
            budget,
            seed,
            file: None,
            owned: None,
        }
    }
}

impl Creation<'_> {
    /// Refuses an attribute unless it is `ok`.
    pub(crate) fn check(
        &self,
        ok: bool,
        what: &'static str,
        found: impl Into<u64>,
        expected: &'static str,
    ) -> Result<(), MapCreateError> {
        self.def.check(ok, what, found, expected)
    }

    /// Refuses values that are too large to have one for each slot.
    pub(crate) fn check_per_cpu_value(&self) -> Result<(), MapCreateError> {
        let size = self.def.value_size;
        if size > MAX_PER_CPU_VALUE {
            return Err(self.too_large(size.into()));
        }
        Ok(())
    }

    pub(crate) fn too_large(&self, element_size: u64) -> MapCreateError {
        MapCreateError::TooLarge {
            name: self.def.name.clone(),
            max_entries: self.def.max_entries,
            element_size,
        }
    }

    /// Reserves a region of `bytes` bytes, for elements of `element_size`. Its memory is there from the start, unless the map
    /// asked to pay page by page.
    pub(crate) fn reserve(&self, element_size: u64, bytes: u64) -> Result<Region, MapCreateError> {
        let len = usize::try_from(bytes).ok().filter(|len| *len <= isize::MAX as usize);
        let len = len.ok_or_else(|| self.too_large(element_size))?.max(8);
        let charge = self.charge(bytes)?;
        let flags = self.def.flags;
        let region = match self.file {
            Some((file, sharing)) => {
                let part = file.reserve(self, len)?;
                Region::of_file(part, sharing)
            }
            None if flags.contains(MapFlags::MMAPABLE) => Region::file_of(&self.def.name, len),
            None => Region::private(len, !flags.contains(MapFlags::NO_PREALLOC)),
        };
        Ok(region.map_err(|source| self.no_memory(bytes, source))?.charged(charge))
    }

    /// Reserves a region of `private` bytes that only this process has, then windows of so many bytes that others may get to map,
    /// each a memory file of its own, and the last `ring` bytes of the last window once more, so that what wraps around is
    /// contiguous. All are multiples of the page size, and not 0. Returns the memory files; if the map is kept in a file, there
    /// are none, and its windows lie there one behind the other.
    pub(super) fn reserve_ring(
        &self,
        private: usize,
        windows: &[usize],
        ring: usize,
    ) -> Result<(Region, Vec<OwnedFd>), MapCreateError> {
        let len: usize = windows.iter().sum();
        let bytes = (private + len) as u64;
        let charge = self.charge(bytes)?;
        let no_memory = |source: std::io::Error| self.no_memory(bytes, source);
        let (mut parts, mut files) = (Vec::new(), Vec::new());
        if let Some((file, _)) = self.file {
            parts.push(file.reserve(self, len)?);
        } else {
            for window in windows {
                let file = sys::memory_file(&self.def.name, *window as u64, true);
                files.push(file.map_err(|error| no_memory(error.into()))?);
            }
            parts.extend(files.iter().zip(windows).map(|(file, window)| FilePart {
                file: file.as_fd(),
                at: 0,
                len: *window,
            }));
        }
        if let Some(last) = parts.last().copied() {
            parts.push(FilePart {
                at: last.at + (last.len - ring) as u64,
                len: ring,
                ..last
            });
        }
        let sharing = self.file.map_or(Sharing::Shared, |(_, sharing)| sharing);
        let region = Region::behind(private, &parts, sharing).map_err(no_memory)?;
        Ok((region.charged(charge), files))
    }

    fn charge(&self, bytes: u64) -> Result<Charge, MapCreateError> {
        let bytes = bytes.next_multiple_of(PAGE);
        self.budget.charge(bytes).map_err(|exceeded| MapCreateError::Limit {
            name: self.def.name.clone(),
            bytes,
            used: exceeded.used,
            limit: exceeded.limit,
        })
    }

    pub(super) fn no_memory(&self, bytes: u64, source: std::io::Error) -> MapCreateError {
        MapCreateError::Memory {
            name: self.def.name.clone(),
            bytes,
            source,
        }
    }
}

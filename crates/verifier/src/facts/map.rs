//! Maps.

use super::{GraphField, Kptr, ManagedField};
use crate::tables::map_types::{self, Lookup};

/// Map types (`enum bpf_map_type` of Linux 6.12). What each is like says [`tables::map_types`](crate::tables::map_types).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_HASH`.
    Hash = 1,
    /// `BPF_MAP_TYPE_ARRAY`, global data included.
    Array = 2,
    /// `BPF_MAP_TYPE_PROG_ARRAY`.
    ProgArray = 3,
    /// `BPF_MAP_TYPE_PERF_EVENT_ARRAY`.
    PerfEventArray = 4,
    /// `BPF_MAP_TYPE_PERCPU_HASH`.
    PercpuHash = 5,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`.
    PercpuArray = 6,
    /// `BPF_MAP_TYPE_STACK_TRACE`.
    StackTrace = 7,
    /// `BPF_MAP_TYPE_CGROUP_ARRAY`.
    CgroupArray = 8,
    /// `BPF_MAP_TYPE_LRU_HASH`.
    LruHash = 9,
    /// `BPF_MAP_TYPE_LRU_PERCPU_HASH`.
    LruPercpuHash = 10,
    /// `BPF_MAP_TYPE_LPM_TRIE`.
    LpmTrie = 11,
    /// `BPF_MAP_TYPE_ARRAY_OF_MAPS`.
    ArrayOfMaps = 12,
    /// `BPF_MAP_TYPE_HASH_OF_MAPS`.
    HashOfMaps = 13,
    /// `BPF_MAP_TYPE_DEVMAP`.
    Devmap = 14,
    /// `BPF_MAP_TYPE_SOCKMAP`.
    Sockmap = 15,
    /// `BPF_MAP_TYPE_CPUMAP`.
    Cpumap = 16,
    /// `BPF_MAP_TYPE_XSKMAP`.
    Xskmap = 17,
    /// `BPF_MAP_TYPE_SOCKHASH`.
    Sockhash = 18,
    /// `BPF_MAP_TYPE_CGROUP_STORAGE`.
    CgroupStorage = 19,
    /// `BPF_MAP_TYPE_REUSEPORT_SOCKARRAY`.
    ReuseportSockarray = 20,
    /// `BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE`.
    PercpuCgroupStorage = 21,
    /// `BPF_MAP_TYPE_QUEUE`.
    Queue = 22,
    /// `BPF_MAP_TYPE_STACK`.
    Stack = 23,
    /// `BPF_MAP_TYPE_SK_STORAGE`.
    SkStorage = 24,
    /// `BPF_MAP_TYPE_DEVMAP_HASH`.
    DevmapHash = 25,
    /// `BPF_MAP_TYPE_STRUCT_OPS`.
    StructOps = 26,
    /// `BPF_MAP_TYPE_RINGBUF`.
    Ringbuf = 27,
    /// `BPF_MAP_TYPE_INODE_STORAGE`.
    InodeStorage = 28,
    /// `BPF_MAP_TYPE_TASK_STORAGE`.
    TaskStorage = 29,
    /// `BPF_MAP_TYPE_BLOOM_FILTER`.
    BloomFilter = 30,
    /// `BPF_MAP_TYPE_USER_RINGBUF`.
    UserRingbuf = 31,
    /// `BPF_MAP_TYPE_CGRP_STORAGE`.
    CgrpStorage = 32,
    /// `BPF_MAP_TYPE_ARENA`.
    Arena = 33,
}

impl MapKind {
    /// Its number in `enum bpf_map_type`.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }
}

/// What the verifier knows of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFacts {
    /// The map's name, for messages.
    pub name: String,
    /// Its type.
    pub kind: MapKind,
    /// Key size in bytes.
    pub key_size: u32,
    /// Value size in bytes.
    pub value_size: u32,
    /// `max_entries`.
    pub max_entries: u32,
    /// Programs may not write it (`BPF_F_RDONLY_PROG`).
    pub readonly_prog: bool,
    /// Programs may not read it (`BPF_F_WRONLY_PROG`).
    pub writeonly_prog: bool,
    /// The bytes of a frozen, read-only array of one element (`.rodata`): loads from it are constants.
    pub frozen: Option<Vec<u8>>,
    /// Offset of a `struct bpf_spin_lock` (4 bytes) in the value, in bytes. Programs may reach it only through
    /// `bpf_spin_lock` and `bpf_spin_unlock`.
    pub spin_lock: Option<u32>,
    /// Offset of a `struct bpf_timer` (16 bytes) in the value, in bytes. Programs may reach it only through the helpers for
    /// timers.
    pub timer: Option<u32>,
    /// For a map of maps: what the maps in it are like. Which of them a lookup finds is not known, so only type, sizes, the
    /// lock, who may write, and of arrays the number of elements count.
    pub inner: Option<Box<MapFacts>>,
    /// Fields of a value that hold pointers to objects of the host, sorted by offset.
    pub kptrs: Vec<Kptr>,
    /// Fields of a value that no program may touch, sorted by offset.
    pub managed: Vec<ManagedField>,
    /// Lists and trees in a value, sorted by offset. Programs reach them only through the functions for them.
    pub graph: Vec<GraphField>,
}

impl MapFacts {
    /// Whether programs may only read it: because it was made so, or because such maps are the host's to change.
    #[must_use]
    pub fn is_readonly(&self) -> bool {
        self.readonly_prog || map_types::of(self.kind).lookup == Lookup::ReadOnlyValue
    }
}

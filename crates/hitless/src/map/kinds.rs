//! The kinds of maps that there are: a row for each, with the flags that it knows and what makes one.

use hitless_verifier::MapKind;

use super::{Creation, MapCreateError, MapFlags, MapOps};
use super::{array, bloom, hash, inner, lpm, perf, prog_array, queue, redirect, ringbuf, task_storage, user_ringbuf};

/// A kind of map: the flags that it knows, and how one is made.
pub(crate) struct Kind {
    pub(crate) kind: MapKind,
    pub(crate) flags: MapFlags,
    pub(super) make: Make,
}

type Make = fn(&Creation<'_>) -> Result<Box<dyn MapOps>, MapCreateError>;

/// The kinds of maps that there are.
pub(crate) const KINDS: [Kind; 21] = [
    row(MapKind::Hash, HASH, hash::make),
    row(MapKind::Array, ARRAY, array::make),
    row(MapKind::ProgArray, OBJECTS, prog_array::make),
    row(
        MapKind::PerfEventArray,
        OBJECTS.with(MapFlags::PRESERVE_ELEMS),
        perf::make,
    ),
    row(MapKind::PercpuHash, PERCPU_HASH, hash::make),
    row(MapKind::PercpuArray, MapFlags::ACCESS, array::make),
    row(MapKind::LruHash, LRU, hash::make),
    row(MapKind::LruPercpuHash, PERCPU_LRU, hash::make),
    row(MapKind::LpmTrie, VALUES.with(MapFlags::NO_PREALLOC), lpm::make),
    row(MapKind::ArrayOfMaps, OBJECTS, inner::make_array),
    row(MapKind::HashOfMaps, HASH, inner::make_hash),
    row(MapKind::Devmap, OBJECTS, redirect::make),
    row(MapKind::Cpumap, MapFlags::NUMA_NODE, redirect::make),
    row(MapKind::Xskmap, OBJECTS, redirect::make),
    row(MapKind::Queue, VALUES, queue::make_queue),
    row(MapKind::Stack, VALUES, queue::make_stack),
    row(MapKind::DevmapHash, OBJECTS, redirect::make_hash),
    row(MapKind::Ringbuf, MapFlags::NUMA_NODE, ringbuf::make),
    row(
        MapKind::TaskStorage,
        MapFlags::NO_PREALLOC.with(MapFlags::CLONE),
        task_storage::make,
    ),
    row(MapKind::BloomFilter, VALUES.with(MapFlags::ZERO_SEED), bloom::make),
    row(MapKind::UserRingbuf, MapFlags::NUMA_NODE, user_ringbuf::make),
];

const VALUES: MapFlags = MapFlags::ACCESS.with(MapFlags::NUMA_NODE);
const ARRAY: MapFlags = VALUES.with(MapFlags::MMAPABLE).with(MapFlags::INNER_MAP);
const HASH: MapFlags = VALUES.with(MapFlags::NO_PREALLOC).with(MapFlags::ZERO_SEED);
const LRU: MapFlags = PERCPU_LRU.with(MapFlags::NUMA_NODE);
const PERCPU_HASH: MapFlags = MapFlags::ACCESS.with(MapFlags::NO_PREALLOC).with(MapFlags::ZERO_SEED);
const PERCPU_LRU: MapFlags = MapFlags::ACCESS.with(MapFlags::NO_COMMON_LRU).with(MapFlags::ZERO_SEED);
/// Programs do not see elements that the host puts in: nothing can be said about how they access them.
const OBJECTS: MapFlags = MapFlags::NUMA_NODE.with(MapFlags::RDONLY).with(MapFlags::WRONLY);

const fn row(kind: MapKind, flags: MapFlags, make: Make) -> Kind {
    Kind { kind, flags, make }
}

/// What there is to know of a kind of map; `None` if there is no such here.
pub(crate) fn kind(kind: MapKind) -> Option<&'static Kind> {
    KINDS.iter().find(|known| known.kind == kind)
}

//! The map types of Linux 6.12: sizes, what a lookup yields, and which of them user space cannot offer.
//!
//! Which helper suits which map type is said once, with the helpers ([`HelperProto::maps`](crate::HelperProto::maps));
//! [`helpers_of`] looks at it from this side.

use crate::facts::{HelperProto, MapKind};
use crate::tables::helpers;

use MapKind::{
    Arena, Array, ArrayOfMaps, BloomFilter, CgroupArray, CgroupStorage, CgrpStorage, Cpumap, Devmap, DevmapHash, Hash,
    HashOfMaps, InodeStorage, LpmTrie, LruHash, LruPercpuHash, PercpuArray, PercpuCgroupStorage, PercpuHash,
    PerfEventArray, ProgArray, Queue, ReuseportSockarray, Ringbuf, SkStorage, Sockhash, Sockmap, Stack, StackTrace,
    StructOps, TaskStorage, UserRingbuf, Xskmap,
};

/// What is fixed for all maps of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapType {
    /// The type.
    pub kind: MapKind,
    /// Its name, as bpftool prints it.
    pub name: &'static str,
    /// Sizes that keys may have.
    pub key: SizeRule,
    /// Sizes that values may have.
    pub value: SizeRule,
    /// How `max_entries` is chosen.
    pub entries: EntriesRule,
    /// What programs get from a lookup.
    pub lookup: Lookup,
    /// Why user space cannot offer it.
    pub excluded: Option<&'static str>,
}

/// Sizes in bytes that are allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SizeRule {
    /// One of these.
    OneOf(&'static [u32]),
    /// From the first to the second, inclusive.
    Between(u32, u32),
    /// Multiples of 8 up to this one, and not zero.
    MultipleOf8(u32),
}

impl SizeRule {
    /// Whether a key or a value may have this size.
    #[must_use]
    pub fn allows(self, size: u32) -> bool {
        match self {
            SizeRule::OneOf(sizes) => sizes.contains(&size),
            SizeRule::Between(min, max) => (min..=max).contains(&size),
            SizeRule::MultipleOf8(max) => size.is_multiple_of(8) && (8..=max).contains(&size),
        }
    }
}

/// What `max_entries` has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntriesRule {
    /// At least one.
    Some,
    /// Zero: there are as many as there are owners.
    Zero,
    /// A size in bytes: a power of two, and a multiple of the page size.
    RingSize,
}

impl EntriesRule {
    /// Whether a map may have this `max_entries`.
    #[must_use]
    pub fn allows(self, entries: u32) -> bool {
        match self {
            EntriesRule::Some => entries > 0,
            EntriesRule::Zero => entries == 0,
            EntriesRule::RingSize => entries.is_power_of_two() && entries.is_multiple_of(4096),
        }
    }
}

/// What a program gets from `bpf_map_lookup_elem`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// A pointer to the value, to read and to write.
    Value,
    /// A pointer to the value, to read.
    ReadOnlyValue,
    /// A map.
    InnerMap,
    /// A socket: a reference, or NULL.
    Socket,
    /// A socket of XDP, or NULL.
    XdpSocket,
    /// Nothing: the helper does not take such maps.
    Nothing,
}

const NO_SOCKETS: &str = "there are no sockets of the kernel's in user space";
const NO_CGROUPS: &str = "control groups belong to the kernel";
const NO_INODES: &str = "inodes belong to the kernel";
const NO_ARENA: &str = "arenas need pages that the kernel maps at the same address for programs and processes";

/// The greatest key, value, or both of a hash together.
const HASH_BYTES: u32 = 4_194_255;
/// The greatest value of which every CPU has one.
const PERCPU_BYTES: u32 = 32_768;
/// The greatest value of an object's local storage.
const STORAGE_BYTES: u32 = 65_407;

const NONE: SizeRule = SizeRule::OneOf(&[0]);
const FOUR: SizeRule = SizeRule::OneOf(&[4]);
const FOUR_OR_EIGHT: SizeRule = SizeRule::OneOf(&[4, 8]);
const HASHED: SizeRule = SizeRule::Between(1, HASH_BYTES - 1);
const PERCPU: SizeRule = SizeRule::Between(1, PERCPU_BYTES);
const QUEUED: SizeRule = SizeRule::Between(1, 4_194_304);

/// A type with at least one entry that user space can offer.
const fn row(kind: MapKind, name: &'static str, key: SizeRule, value: SizeRule, lookup: Lookup) -> MapType {
    MapType {
        kind,
        name,
        key,
        value,
        entries: EntriesRule::Some,
        lookup,
        excluded: None,
    }
}

impl MapType {
    const fn entries(self, entries: EntriesRule) -> MapType {
        MapType { entries, ..self }
    }

    const fn excluded(self, reason: &'static str) -> MapType {
        MapType {
            excluded: Some(reason),
            ..self
        }
    }

    /// Whether keys and values may have these sizes. What the two of a hash may have together is limited as well.
    #[must_use]
    pub fn allows(&self, key_size: u32, value_size: u32) -> bool {
        let hashed = self.key == HASHED;
        self.key.allows(key_size)
            && self.value.allows(value_size)
            && (!hashed || u64::from(key_size) + u64::from(value_size) <= HASH_BYTES.into())
    }

    /// Whether a program may have the address of a value as a constant.
    #[must_use]
    pub fn has_direct_values(&self) -> bool {
        self.kind == Array
    }
}

#[rustfmt::skip]
const TABLE: [MapType; 33] = [
    row(Hash, "hash", HASHED, HASHED, Lookup::Value),
    row(Array, "array", FOUR, SizeRule::Between(1, i32::MAX as u32), Lookup::Value),
    row(ProgArray, "prog_array", FOUR, FOUR, Lookup::Nothing),
    row(PerfEventArray, "perf_event_array", FOUR, FOUR, Lookup::Nothing),
    row(PercpuHash, "percpu_hash", HASHED, PERCPU, Lookup::Value),
    row(PercpuArray, "percpu_array", FOUR, PERCPU, Lookup::Value),
    row(StackTrace, "stack_trace", FOUR, SizeRule::MultipleOf8(1016), Lookup::Nothing),
    row(CgroupArray, "cgroup_array", FOUR, FOUR, Lookup::Nothing),
    row(LruHash, "lru_hash", HASHED, HASHED, Lookup::Value),
    row(LruPercpuHash, "lru_percpu_hash", HASHED, PERCPU, Lookup::Value),
    row(LpmTrie, "lpm_trie", SizeRule::Between(5, 260), SizeRule::Between(1, 4_194_024), Lookup::Value),
    row(ArrayOfMaps, "array_of_maps", FOUR, FOUR, Lookup::InnerMap),
    row(HashOfMaps, "hash_of_maps", HASHED, FOUR, Lookup::InnerMap),
    row(Devmap, "devmap", FOUR, FOUR_OR_EIGHT, Lookup::ReadOnlyValue),
    row(Sockmap, "sockmap", FOUR, FOUR_OR_EIGHT, Lookup::Socket).excluded(NO_SOCKETS),
    row(Cpumap, "cpumap", FOUR, FOUR_OR_EIGHT, Lookup::Nothing),
    row(Xskmap, "xskmap", FOUR, FOUR, Lookup::XdpSocket),
    row(Sockhash, "sockhash", SizeRule::Between(1, 512), FOUR_OR_EIGHT, Lookup::Socket).excluded(NO_SOCKETS),
    row(CgroupStorage, "cgroup_storage", SizeRule::OneOf(&[8, 16]), SizeRule::Between(1, STORAGE_BYTES), Lookup::Nothing)
        .entries(EntriesRule::Zero).excluded(NO_CGROUPS),
    row(ReuseportSockarray, "reuseport_sockarray", FOUR, FOUR_OR_EIGHT, Lookup::Nothing).excluded(NO_SOCKETS),
    row(PercpuCgroupStorage, "percpu_cgroup_storage", SizeRule::OneOf(&[8, 16]), PERCPU, Lookup::Nothing)
        .entries(EntriesRule::Zero).excluded(NO_CGROUPS),
    row(Queue, "queue", NONE, QUEUED, Lookup::Nothing),
    row(Stack, "stack", NONE, QUEUED, Lookup::Nothing),
    row(SkStorage, "sk_storage", FOUR, SizeRule::Between(1, STORAGE_BYTES), Lookup::Nothing)
        .entries(EntriesRule::Zero).excluded(NO_SOCKETS),
    row(DevmapHash, "devmap_hash", FOUR, FOUR_OR_EIGHT, Lookup::ReadOnlyValue),
    row(StructOps, "struct_ops", FOUR, SizeRule::Between(1, i32::MAX as u32), Lookup::Nothing),
    row(Ringbuf, "ringbuf", NONE, NONE, Lookup::Nothing).entries(EntriesRule::RingSize),
    row(InodeStorage, "inode_storage", FOUR, SizeRule::Between(1, STORAGE_BYTES), Lookup::Nothing)
        .entries(EntriesRule::Zero).excluded(NO_INODES),
    row(TaskStorage, "task_storage", FOUR, SizeRule::Between(1, STORAGE_BYTES), Lookup::Nothing)
        .entries(EntriesRule::Zero),
    row(BloomFilter, "bloom_filter", NONE, QUEUED, Lookup::Nothing),
    row(UserRingbuf, "user_ringbuf", NONE, NONE, Lookup::Nothing).entries(EntriesRule::RingSize),
    row(CgrpStorage, "cgrp_storage", FOUR, SizeRule::Between(1, STORAGE_BYTES), Lookup::Nothing)
        .entries(EntriesRule::Zero).excluded(NO_CGROUPS),
    row(Arena, "arena", NONE, NONE, Lookup::Nothing).excluded(NO_ARENA),
];

/// Every map type, by number, from 1 on.
#[must_use]
pub const fn all() -> &'static [MapType] {
    &TABLE
}

/// What a type is like.
#[must_use]
pub const fn of(kind: MapKind) -> &'static MapType {
    &TABLE[kind as usize - 1]
}

/// The type with this number in `enum bpf_map_type`, if Linux 6.12 has one.
#[must_use]
pub fn by_number(number: u32) -> Option<&'static MapType> {
    TABLE.get((number as usize).checked_sub(1)?)
}

/// The helpers that take maps of a type.
pub fn helpers_of(kind: MapKind) -> impl Iterator<Item = &'static HelperProto> {
    helpers::all().iter().filter(move |proto| proto.maps.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_in_order_and_names_unique() {
        for (number, ty) in (1..).zip(&TABLE) {
            assert_eq!(ty.kind.number(), number, "{}", ty.name);
            assert_eq!(of(ty.kind), ty);
            assert_eq!(by_number(number), Some(ty));
            assert!(TABLE.iter().all(|other| other == ty || other.name != ty.name));
        }
        assert_eq!(by_number(0), None);
        assert_eq!(by_number(34), None);
    }

    #[test]
    fn lookups_go_with_the_helper() {
        for ty in &TABLE {
            let looked_up = helpers_of(ty.kind).any(|proto| proto.id == helpers::MAP_LOOKUP_ELEM);
            assert_eq!(looked_up, ty.lookup != Lookup::Nothing, "{}", ty.name);
        }
    }

    #[test]
    fn sizes() {
        let hash = of(Hash);
        assert!(hash.allows(4, HASH_BYTES - 4) && !hash.allows(4, HASH_BYTES - 3) && !hash.allows(0, 8));
        assert!(of(StackTrace).value.allows(1016) && !of(StackTrace).value.allows(1024));
        assert!(!of(StackTrace).value.allows(0) && !of(StackTrace).value.allows(12));
        assert!(
            of(Ringbuf).entries.allows(8192) && !of(Ringbuf).entries.allows(4097) && !of(Ringbuf).entries.allows(0)
        );
    }
}

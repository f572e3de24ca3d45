//! The kernel's map types: their numbers (`enum bpf_map_type`) and the names that bpftool and libbpf print for them.

pub(crate) const PROG_ARRAY: u32 = 3;
pub(crate) const ARRAY_OF_MAPS: u32 = 12;
pub(crate) const HASH_OF_MAPS: u32 = 13;
pub(crate) const STRUCT_OPS: u32 = 26;
pub(crate) const ARENA: u32 = 33;

/// Names by number, those of Linux 6.12; `BPF_MAP_TYPE_UNSPEC` has none.
const NAMES: [&str; 34] = [
    "",
    "hash",
    "array",
    "prog_array",
    "perf_event_array",
    "percpu_hash",
    "percpu_array",
    "stack_trace",
    "cgroup_array",
    "lru_hash",
    "lru_percpu_hash",
    "lpm_trie",
    "array_of_maps",
    "hash_of_maps",
    "devmap",
    "sockmap",
    "cpumap",
    "xskmap",
    "sockhash",
    "cgroup_storage",
    "reuseport_sockarray",
    "percpu_cgroup_storage",
    "queue",
    "stack",
    "sk_storage",
    "devmap_hash",
    "struct_ops",
    "ringbuf",
    "inode_storage",
    "task_storage",
    "bloom_filter",
    "user_ringbuf",
    "cgrp_storage",
    "arena",
];

/// The name of a map type, as bpftool prints it: "hash" for 1 (`BPF_MAP_TYPE_HASH`). `None` for 0, which is no type, and for
/// numbers that Linux 6.12 does not have.
///
/// ```
/// assert_eq!(hitless_object::map_type_name(27), Some("ringbuf"));
/// assert_eq!(hitless_object::map_type_name(0), None);
/// ```
#[must_use]
pub fn map_type_name(map_type: u32) -> Option<&'static str> {
    NAMES.get(map_type as usize).copied().filter(|name| !name.is_empty())
}

/// A map type in messages: "hash (1)", or "1000" for one without a name.
pub(crate) fn describe(map_type: u32) -> String {
    match map_type_name(map_type) {
        Some(name) => format!("{name} ({map_type})"),
        None => map_type.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_have_their_names() {
        let named = [
            (PROG_ARRAY, "prog_array"),
            (ARRAY_OF_MAPS, "array_of_maps"),
            (HASH_OF_MAPS, "hash_of_maps"),
            (STRUCT_OPS, "struct_ops"),
        ];
        for (map_type, name) in named {
            assert_eq!(map_type_name(map_type), Some(name));
        }
        assert_eq!(describe(33), "arena (33)");
        assert_eq!(describe(34), "34");
        assert_eq!(describe(u32::MAX), "4294967295");
    }
}

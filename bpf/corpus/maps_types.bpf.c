// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Maps of many types.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

#define KEYED(map_type, entries, flags, key_type, value_type) \
	struct {                                              \
		__uint(type, map_type);                       \
		__uint(max_entries, entries);                 \
		__uint(map_flags, flags);                     \
		__type(key, key_type);                        \
		__type(value, value_type);                    \
	}
#define KEYLESS(map_type, entries, value_type) \
	struct {                               \
		__uint(type, map_type);        \
		__uint(max_entries, entries);  \
		__type(value, value_type);     \
	}

struct prefix {
	u32 bits;
	u8 address[4];
};

KEYED(MAP_HASH, 10, 0, u64, u64) hash SEC(".maps");
KEYED(MAP_ARRAY, 10, F_MMAPABLE, u32, u64) array SEC(".maps");
KEYED(MAP_PERCPU_HASH, 10, 0, u64, u64) percpu_hash SEC(".maps");
KEYED(MAP_PERCPU_ARRAY, 10, 0, u32, u64) percpu_array SEC(".maps");
KEYED(MAP_LRU_HASH, 10, 0, u64, u64) lru_hash SEC(".maps");
KEYED(MAP_LRU_PERCPU_HASH, 10, F_NO_COMMON_LRU, u64, u64) lru_percpu_hash SEC(".maps");
KEYED(MAP_LPM_TRIE, 10, F_NO_PREALLOC, struct prefix, u64) lpm_trie SEC(".maps");
KEYED(MAP_STACK_TRACE, 10, 0, u32, u64[127]) stack_trace SEC(".maps");
KEYED(MAP_CGROUP_ARRAY, 10, 0, u32, u32) cgroup_array SEC(".maps");
KEYED(MAP_DEVMAP, 10, 0, u32, u32) devmap SEC(".maps");
KEYED(MAP_DEVMAP_HASH, 10, 0, u32, u32) devmap_hash SEC(".maps");
KEYED(MAP_SOCKMAP, 10, 0, u32, u64) sockmap SEC(".maps");
KEYED(MAP_SOCKHASH, 10, 0, u32, u64) sockhash SEC(".maps");
KEYED(MAP_CPUMAP, 10, 0, u32, u32) cpumap SEC(".maps");
KEYED(MAP_XSKMAP, 10, 0, u32, u32) xskmap SEC(".maps");
KEYED(MAP_SK_STORAGE, 0, F_NO_PREALLOC, int, u64) sk_storage SEC(".maps");
KEYED(MAP_TASK_STORAGE, 0, F_NO_PREALLOC, int, u64) task_storage SEC(".maps");
KEYED(MAP_PERF_EVENT_ARRAY, 0, 0, u32, u32) perf_event_array SEC(".maps");
KEYLESS(MAP_QUEUE, 10, u64) queue SEC(".maps");
KEYLESS(MAP_STACK, 10, u64) stack SEC(".maps");

struct {
	__uint(type, MAP_RINGBUF);
	__uint(max_entries, 4096);
} ringbuf SEC(".maps");

SEC("xdp") int use(struct xdp_md *ctx __unused)
{
	u64 key = 0;

	bpf_map_lookup_elem(&lru_hash, &key);
	return 0;
}

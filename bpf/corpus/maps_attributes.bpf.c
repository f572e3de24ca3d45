// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Every attribute of a map.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

struct key {
	u32 a;
	u16 b[2];
};
typedef struct {
	u64 count;
	struct bpf_spin_lock lock;
} value_t;

enum { ENTRIES = 300 };

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, ENTRIES);
	__uint(map_flags, F_NO_PREALLOC | F_NUMA_NODE | F_RDONLY);
	__uint(numa_node, 1);
	__type(key, struct key);
	__type(value, value_t);
} typed SEC(".maps");

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 4);
	__uint(key_size, 12);
	__uint(value_size, 24);
} sized SEC(".maps");

struct {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__uint(key_size, 4);
	__uint(value_size, 8);
	__type(value, u64);
} both SEC(".maps");

struct {
	__uint(type, MAP_BLOOM_FILTER);
	__uint(max_entries, 100);
	__uint(map_extra, 3);
	__type(value, u32);
} bloom SEC(".maps");

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 1);
	__uint(pinning, PIN_BY_NAME);
	__type(key, u32);
	__type(value, u32);
} pinned SEC(".maps");

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 1);
	__uint(pinning, PIN_NONE);
	__type(key, u32);
	__type(value, u32);
} not_pinned SEC(".maps");

// A type of its own, and a name longer than the kernel's.
struct settings_map {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u8[40]);
} settings_with_a_very_long_name SEC(".maps"), more_settings SEC(".maps");

SEC("xdp") int use(struct xdp_md *ctx __unused)
{
	u32 key = 0;

	bpf_map_lookup_elem(&both, &key);
	bpf_map_lookup_elem(&more_settings, &key);
	return 0;
}

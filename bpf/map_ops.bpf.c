// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the map benchmark runs: one operation, many times, on random keys. The
// packet holds what goes on from run to run, and which keys: a seed, how many
// keys there are (a power of two) less one, and the first of them.
#include "hitless.h"

#define TIMES 256

struct state {
	u64 seed;
	u32 mask;
	u32 first;
};

struct wide_key {
	u64 words[2];
};

struct wide_value {
	u64 words[8];
};

#define MAP(map_name, map_type, key_type, value_type, entries, flags) \
struct { \
	__uint(type, map_type); \
	__type(key, key_type); \
	__type(value, value_type); \
	__uint(max_entries, entries); \
	__uint(map_flags, flags); \
} map_name SEC(".maps")

enum { MAP_PERCPU_HASH = 5, MAP_PERCPU_ARRAY = 6, MAP_LRU_HASH = 9 };
enum { NO_PREALLOC = 1 };

MAP(hash, MAP_HASH, u32, u64, 65536, 0);
MAP(half, MAP_HASH, u32, u64, 65536, 0);
MAP(lazy, MAP_HASH, u32, u64, 65536, NO_PREALLOC);
MAP(percpu, MAP_PERCPU_HASH, u32, u64, 65536, 0);
MAP(lru, MAP_LRU_HASH, u32, u64, 65536, 0);
MAP(array, MAP_ARRAY, u32, u64, 65536, 0);
MAP(percpu_array, MAP_PERCPU_ARRAY, u32, u64, 65536, 0);
MAP(million, MAP_HASH, u32, u64, 1048576, 0);
MAP(wide, MAP_HASH, struct wide_key, struct wide_value, 65536, 0);

static __always_inline struct state *state_of(struct xdp_md *ctx)
{
	struct state *state = (void *)(long)ctx->data;

	return (void *)(state + 1) <= (void *)(long)ctx->data_end ? state : 0;
}

// A program that does `body` with a fresh `key` each time.
#define PROGRAM(name, body) \
SEC("xdp") int name(struct xdp_md *ctx) \
{ \
	struct state *state = state_of(ctx); \
	u64 seed, value = 1, sum = 0; \
	u32 mask, first, i, key; \
\
	(void)value; \
	if (!state) \
		return XDP_DROP; \
	seed = state->seed; \
	mask = state->mask; \
	first = state->first; \
	for (i = 0; i < TIMES; i++) { \
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL; \
		key = first + ((u32)(seed >> 33) & mask); \
		body; \
	} \
	state->seed = seed; \
	return sum == 0x123456789 ? XDP_TX : XDP_PASS; \
}

#define LOOKUP(map) \
	u64 *found = bpf_map_lookup_elem(&map, &key); \
	if (found) \
		sum += *found
#define ADD(map) \
	u64 *found = bpf_map_lookup_elem(&map, &key); \
	if (found) \
		__sync_fetch_and_add(found, 1)
#define UPDATE(map) bpf_map_update_elem(&map, &key, &value, BPF_ANY)
#define DELETE(map) bpf_map_delete_elem(&map, &key)

PROGRAM(nothing, sum += *(volatile u32 *)&key)
PROGRAM(hash_add, ADD(hash))
PROGRAM(hash_lookup, LOOKUP(hash))
PROGRAM(hash_update, UPDATE(hash))
PROGRAM(half_lookup, LOOKUP(half))
PROGRAM(half_update_delete, UPDATE(half); DELETE(half))
PROGRAM(half_update_lookup_delete, UPDATE(half); LOOKUP(half); DELETE(half))
PROGRAM(lazy_update_lookup_delete, UPDATE(lazy); LOOKUP(lazy); DELETE(lazy))
PROGRAM(percpu_lookup, LOOKUP(percpu))
PROGRAM(percpu_update, UPDATE(percpu))
PROGRAM(lru_lookup, LOOKUP(lru))
PROGRAM(lru_update, UPDATE(lru))
PROGRAM(array_lookup, LOOKUP(array))
PROGRAM(array_update, UPDATE(array))
PROGRAM(percpu_array_lookup, LOOKUP(percpu_array))
PROGRAM(million_lookup, LOOKUP(million))
PROGRAM(million_update, UPDATE(million))

#define WIDE_KEY struct wide_key wide_key = {{key, key}}
#define WIDE_LOOKUP \
	u64 *found = bpf_map_lookup_elem(&wide, &wide_key); \
	if (found) \
		sum += *found
#define WIDE_UPDATE \
	struct wide_value wide_value = {{key}}; \
	bpf_map_update_elem(&wide, &wide_key, &wide_value, BPF_ANY)

PROGRAM(wide_lookup, WIDE_KEY; WIDE_LOOKUP)
PROGRAM(wide_update, WIDE_KEY; WIDE_UPDATE)

// Puts in the next keys in order: the seed counts them.
#define FILL(name, body) \
SEC("xdp") int fill_##name(struct xdp_md *ctx) \
{ \
	struct state *state = state_of(ctx); \
	u64 value = 1; \
	u32 first, i, key; \
\
	if (!state) \
		return XDP_DROP; \
	(void)value; \
	first = state->seed; \
	for (i = 0; i < TIMES; i++) { \
		key = first + i; \
		body; \
	} \
	state->seed = first + TIMES; \
	return XDP_PASS; \
}

FILL(hash, UPDATE(hash))
FILL(half, UPDATE(half))
FILL(lazy, UPDATE(lazy))
FILL(percpu, UPDATE(percpu))
FILL(lru, UPDATE(lru))
FILL(array, UPDATE(array))
FILL(percpu_array, UPDATE(percpu_array))
FILL(million, UPDATE(million))
FILL(wide, WIDE_KEY; WIDE_UPDATE)

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the map benchmark runs on keys that it has chosen: they lie in an array,
// and are used one after the other. The packet holds what goes on from run to
// run: how many keys were used, how many there are (a power of two) less one,
// and how many were found.
#include "hitless.h"

#define TIMES 256

enum { MAP_LRU_HASH = 9 };

struct state {
	u64 used;
	u64 mask;
	u64 hits;
};

struct {
	__uint(type, MAP_ARRAY);
	__type(key, u32);
	__type(value, u32);
	__uint(max_entries, 1048576);
} keys SEC(".maps");

struct {
	__uint(type, MAP_HASH);
	__type(key, u32);
	__type(value, u64);
	__uint(max_entries, 65536);
} hash SEC(".maps");

struct {
	__uint(type, MAP_LRU_HASH);
	__type(key, u32);
	__type(value, u64);
	__uint(max_entries, 65536);
} lru SEC(".maps");

static __always_inline struct state *state_of(struct xdp_md *ctx)
{
	struct state *state = (void *)(long)ctx->data;

	return (void *)(state + 1) <= (void *)(long)ctx->data_end ? state : 0;
}

// A program that does `body` with the next `key` each time.
#define PROGRAM(name, body) \
SEC("xdp") int name(struct xdp_md *ctx) \
{ \
	struct state *state = state_of(ctx); \
	u64 used, value = 1, hits = 0, *found = 0; \
	u32 i, index, key, *at; \
\
	(void)value; (void)found; \
	if (!state) \
		return XDP_DROP; \
	used = state->used; \
	for (i = 0; i < TIMES; i++) { \
		index = (used + i) & state->mask; \
		at = bpf_map_lookup_elem(&keys, &index); \
		if (!at) \
			return XDP_DROP; \
		key = *at; \
		body; \
	} \
	state->used = used + TIMES; \
	state->hits += hits; \
	return XDP_PASS; \
}

#define LOOKUP(map) \
	found = bpf_map_lookup_elem(&map, &key); \
	if (found) \
		hits += *found
#define UPDATE(map) bpf_map_update_elem(&map, &key, &value, BPF_ANY)

PROGRAM(lookup, LOOKUP(hash))
PROGRAM(update, UPDATE(hash))
// A cache: what is not there is put in.
PROGRAM(cache, LOOKUP(lru); else UPDATE(lru))

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A program that changes a map in every way that a program can, and tracers that
// mirror the map into a plain hash. The host chooses the type of the map before it
// loads the object, and sets the constants below to what that type has.
#ifndef TRACE_KINDS_H
#define TRACE_KINDS_H

#include "hitless.h"

static long (*const bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;
static long (*const bpf_for_each_map_elem)(void *map, void *func, void *ctx,
					   u64 flags) = (void *)164;
static long (*const bpf_loop)(u32 count, void *func, void *ctx, u64 flags) = (void *)181;

struct bpf_dynptr {
	u64 opaque[2];
} __attribute__((aligned(8)));

static long (*const bpf_dynptr_from_mem)(void *data, u32 size, u64 flags,
					 struct bpf_dynptr *ptr) = (void *)197;
static long (*const bpf_dynptr_write)(const struct bpf_dynptr *ptr, u32 offset, void *from,
				      u32 len, u64 flags) = (void *)202;

// A prefix and its length for a trie; the index comes first for an array.
struct key {
	u32 first;
	u32 second;
};

#ifdef LOCKED
struct value {
	struct bpf_spin_lock lock;
	u32 spare;
	u64 a;
	u64 b; // a + 1, when the lock is free
	u8 bytes[8];
};
#else
struct value {
	u64 spare;
	u64 a;
	u64 b;
	u8 bytes[8];
};
#endif

// A value of the map, of one slot if each has its own.
struct place {
	struct key key;
	u32 slot;
	u32 pad;
};

struct copy {
	u64 a;
	u64 b;
	u8 bytes[8];
};

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 64);
	__type(key, struct key);
	__type(value, struct value);
} source SEC(".maps");

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 65536);
	__type(key, struct place);
	__type(value, struct copy);
} mirror SEC(".maps");

const volatile u32 key_size = 8; // 4 in an array
const volatile u32 slots = 0;	 // how many values an element has, in a per-CPU map

u64 failed = 0;	 // changes of the mirror that failed
u64 evicted = 0; // elements that the map took out by itself
u64 torn = 0;	 // values that a tracer saw in the middle of a change

static __always_inline void read_key(struct place *place, void *key)
{
	place->key.second = 0;
	if (key_size == 4)
		place->key.first = *(u32 *)key;
	else
		place->key = *(struct key *)key;
	place->slot = 0;
	place->pad = 0;
}

static __always_inline void forget(void *key)
{
	struct place place;
	u32 i;

	read_key(&place, key);
	bpf_map_delete_elem(&mirror, &place);
	for (i = 1; i < slots && i < 64; i++) {
		place.slot = i;
		bpf_map_delete_elem(&mirror, &place);
	}
}

MAP_TRACE(source, UPDATE_ELEM) int on_update(struct bpf_map_trace_ctx__update_elem *ctx)
{
	struct value *value = ctx->value;
	void *key = ctx->key;
	struct place place;
	struct copy copy;

	if (!key || !value)
		return 0;
	read_key(&place, key);
	if (slots)
		place.slot = ctx->slot;
	copy.a = value->a;
	copy.b = value->b;
	__builtin_memcpy(copy.bytes, value->bytes, sizeof(copy.bytes));
#ifdef LOCKED
	if (copy.b != copy.a + 1 && copy.a)
		__sync_fetch_and_add(&torn, 1);
#endif
	if (bpf_map_update_elem(&mirror, &place, &copy, BPF_ANY))
		__sync_fetch_and_add(&failed, 1);
	return 0;
}

MAP_TRACE(source, DELETE_ELEM) int on_delete(struct bpf_map_trace_ctx__delete_elem *ctx)
{
	void *key = ctx->key;

	if (key)
		forget(key);
	return 0;
}

MAP_TRACE(source, EVICT_ELEM) int on_evict(struct bpf_map_trace_ctx__evict_elem *ctx)
{
	void *key = ctx->key;

	if (key) {
		forget(key);
		__sync_fetch_and_add(&evicted, 1);
	}
	return 0;
}

// A packet is one change.
struct change {
	u32 op;
	struct key key;
	u32 pad;
	u64 value;
};

enum {
	OP_UPDATE = 0,	 // bpf_map_update_elem()
	OP_DELETE = 1,	 // bpf_map_delete_elem()
	OP_STORE = 2,	 // a store through the pointer that a lookup gave
	OP_ADD = 3,	 // an atomic addition
	OP_HELPER = 4,	 // a helper that writes to the value
	OP_FUNCTION = 5, // a global function that is given the value
	OP_CALLBACK = 6, // a function that a helper calls back
	OP_TWICE = 7,	 // several stores, by one of which another key is met
	OP_GLOBAL = 8,	 // a store to global data
	OP_DYNPTR = 9,	 // a dynptr over a part of the value
};

u64 global = 0; // traced by tests, as the map of .bss

// Given a part of a value: the store goes through an argument.
__noinline int set(u64 *part, u64 to)
{
	if (!part)
		return 0;
	*part = to;
	return 1;
}

#ifdef LOCKED
#define UPDATE_FLAGS BPF_F_LOCK
#else
#define UPDATE_FLAGS BPF_ANY

struct turn {
	struct key key;
	u64 to;
};

static long on_turn(u32 index, struct turn *turn)
{
	struct value *value = bpf_map_lookup_elem(&source, &turn->key);

	if (value)
		value->a = turn->to + index;
	return 0;
}
#endif

static __always_inline void write_locked(struct value *value, u64 to)
{
#ifdef LOCKED
	bpf_spin_lock(&value->lock);
	value->a = to;
	value->b = to + 1;
	bpf_spin_unlock(&value->lock);
#else
	value->a = to;
	value->b = to + 1;
#endif
}

SEC("xdp") int writer(struct xdp_md *ctx)
{
	struct change *change = (void *)(long)ctx->data;
	struct value fresh = {}, *value;
	struct key key;
	u64 to;
	u32 op;

	if ((void *)(change + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	op = change->op;
	key = change->key;
	to = change->value;
	if (op == OP_UPDATE) {
		fresh.a = to;
		fresh.b = to + 1;
		return bpf_map_update_elem(&source, &key, &fresh, UPDATE_FLAGS) ? XDP_DROP : XDP_PASS;
	}
	if (op == OP_DELETE)
		return bpf_map_delete_elem(&source, &key) ? XDP_DROP : XDP_PASS;
	if (op == OP_GLOBAL) {
		global = to;
		return XDP_PASS;
	}
#ifndef LOCKED
	if (op == OP_CALLBACK) {
		struct turn turn = {.key = key, .to = to};

		bpf_loop(3, on_turn, &turn, 0);
		return XDP_PASS;
	}
#endif
	value = bpf_map_lookup_elem(&source, &key);
	if (!value)
		return XDP_DROP;
	switch (op) {
#ifndef LOCKED
	case OP_STORE:
		*(volatile u64 *)&value->a = to;
		return XDP_PASS;
	case OP_ADD:
		__sync_fetch_and_add(&value->a, to);
		return XDP_PASS;
	case OP_FUNCTION:
		set(&value->b, to);
		return XDP_PASS;
	case OP_DYNPTR: {
		struct bpf_dynptr part;

		if (bpf_dynptr_from_mem(value->bytes, sizeof(value->bytes), 0, &part) == 0)
			bpf_dynptr_write(&part, 2, &to, 4, 0);
		return XDP_PASS;
	}
#endif
	case OP_HELPER:
		bpf_probe_read_kernel(value->bytes, sizeof(value->bytes), &change->value);
		return XDP_PASS;
	}
	write_locked(value, to);
	// The element that another key has, and this one again.
	key.second ^= 1;
	if (key_size == 4)
		key.first ^= 1;
	value = bpf_map_lookup_elem(&source, &key);
	if (value)
		write_locked(value, to);
	return XDP_PASS;
}

#ifndef LOCKED
// Deletes each element whose first number is even, while it looks at all of them.
static long on_element(void *map, void *key, struct value *value, void *ctx)
{
	(void)ctx;
	if (value->a % 2 == 0)
		bpf_map_delete_elem(map, key);
	return 0;
}

// Not loaded for types of maps whose elements are not visited, or not deleted.
SEC("xdp") int eraser(struct xdp_md *ctx)
{
	(void)ctx;
	bpf_for_each_map_elem(&source, on_element, 0, 0);
	return XDP_PASS;
}
#endif

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#endif

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Map tracing: two programs that run on updates and deletes of `source` and
// repeat them on `mirror`, and a program that changes `source` in each of the
// ways a program can. Writes through a pointer that bpf_map_lookup_elem returned
// (POKE, ADD below) are traced as updates, when the program that made them exits.
#include "hitless.h"

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
} source SEC(".maps");

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
} mirror SEC(".maps");

u64 updates_traced = 0;
u64 deletes_traced = 0;
u64 commands = 0; // carried out by `writer`
u64 refused = 0;  // commands that failed

MAP_TRACE(source, UPDATE_ELEM) int on_update(struct bpf_map_trace_ctx__update_elem *ctx)
{
	u32 *key = ctx->key;
	u64 *value = ctx->value;
	u32 k;
	u64 v;

	if (!key || !value)
		return 0;
	k = *key;
	v = *value;
	bpf_map_update_elem(&mirror, &k, &v, BPF_ANY);
	__sync_fetch_and_add(&updates_traced, 1);
	return 0;
}

MAP_TRACE(source, DELETE_ELEM) int on_delete(struct bpf_map_trace_ctx__delete_elem *ctx)
{
	u32 *key = ctx->key;
	u32 k;

	if (!key)
		return 0;
	k = *key;
	bpf_map_delete_elem(&mirror, &k);
	__sync_fetch_and_add(&deletes_traced, 1);
	return 0;
}

// A packet is one command.
struct command {
	u8 op;
	u8 pad[3];
	u32 key;
	u64 value;
};

enum {
	OP_UPDATE = 1, // bpf_map_update_elem(key, value)
	OP_DELETE = 2, // bpf_map_delete_elem(key)
	OP_POKE = 3,   // *bpf_map_lookup_elem(key) = value
	OP_ADD = 4,    // atomic add of value to *bpf_map_lookup_elem(key)
};

// XDP_PASS: the command was carried out; XDP_DROP: it failed (no such key, map
// full, no such command); XDP_ABORTED: the packet is too short for one.
SEC("xdp") int writer(struct xdp_md *ctx)
{
	struct command *cmd = (void *)(long)ctx->data;
	u64 *element;
	u64 value;
	u32 key;
	u8 op;

	if ((void *)(cmd + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	op = cmd->op;
	key = cmd->key;
	value = cmd->value;

	switch (op) {
	case OP_UPDATE:
		if (bpf_map_update_elem(&source, &key, &value, BPF_ANY))
			goto fail;
		break;
	case OP_DELETE:
		if (bpf_map_delete_elem(&source, &key))
			goto fail;
		break;
	case OP_POKE:
		element = bpf_map_lookup_elem(&source, &key);
		if (!element)
			goto fail;
		*(volatile u64 *)element = value;
		break;
	case OP_ADD:
		element = bpf_map_lookup_elem(&source, &key);
		if (!element)
			goto fail;
		__sync_fetch_and_add(element, value);
		break;
	default:
		goto fail;
	}
	__sync_fetch_and_add(&commands, 1);
	return XDP_PASS;

fail:
	__sync_fetch_and_add(&refused, 1);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

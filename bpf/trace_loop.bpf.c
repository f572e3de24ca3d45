// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Two tracing programs that would call each other without end: the one on `a`
// writes `b`, the one on `b` writes `a`. Each alone may be attached; with one
// attached, attaching the other must be refused (EINVAL).
#include "hitless.h"

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u64);
} a SEC(".maps");

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u64);
} b SEC(".maps");

MAP_TRACE(a, UPDATE_ELEM) int a_to_b(struct bpf_map_trace_ctx__update_elem *ctx)
{
	u32 *key = ctx->key;
	u64 *value = ctx->value;
	u32 k;
	u64 v;

	if (!key || !value)
		return 0;
	k = *key;
	v = *value;
	bpf_map_update_elem(&b, &k, &v, BPF_ANY);
	return 0;
}

MAP_TRACE(b, UPDATE_ELEM) int b_to_a(struct bpf_map_trace_ctx__update_elem *ctx)
{
	u32 *key = ctx->key;
	u64 *value = ctx->value;
	u32 k;
	u64 v;

	if (!key || !value)
		return 0;
	k = *key;
	v = *value;
	bpf_map_update_elem(&a, &k, &v, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

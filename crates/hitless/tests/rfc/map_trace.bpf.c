// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the programs of the RFC "Introduce BPF map tracing" look like: written with
// vmlinux.h and libbpf's headers, and nothing else.
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} traced_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} tracer_map SEC(".maps");

// The numbers that links are made by are types of the runtime, too.
const volatile __u32 attach_type = BPF_TRACE_MAP;
const volatile __u32 link_type = BPF_LINK_TYPE_MAP_TRACE;
const volatile struct bpf_map_trace_link_info link_info = {
	.trace_type = BPF_MAP_TRACE_DELETE_ELEM,
};

SEC("map_trace/traced_map/UPDATE_ELEM")
int tracer_update(struct bpf_map_trace_ctx__update_elem *ctx)
{
	__u32 key = 0, value = 0;

	if (bpf_probe_read_kernel(&key, sizeof(key), ctx->key))
		return 0;
	if (bpf_probe_read_kernel(&value, sizeof(value), ctx->value))
		return 0;
	bpf_map_update_elem(&tracer_map, &key, &value, ctx->flags);
	return 0;
}

SEC("map_trace/traced_map/DELETE_ELEM")
int tracer_delete(struct bpf_map_trace_ctx__delete_elem *ctx)
{
	__u32 key = 0;

	if (bpf_probe_read_kernel(&key, sizeof(key), ctx->key))
		return 0;
	bpf_map_delete_elem(&tracer_map, &key);
	return 0;
}

SEC("xdp")
int writer(struct xdp_md *ctx)
{
	__u32 key = 1, value = 5, *found;

	bpf_map_update_elem(&traced_map, &key, &value, 0);
	key = 2;
	bpf_map_update_elem(&traced_map, &key, &value, 0);
	found = bpf_map_lookup_elem(&traced_map, &key);
	if (found)
		*found = 7;
	key = 1;
	bpf_map_delete_elem(&traced_map, &key);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";

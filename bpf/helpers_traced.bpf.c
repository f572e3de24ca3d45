// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Helpers that write to a value of a map that is traced: one program for each
// way, and a tracer that keeps what it sees.
#include "helpers.h"

struct bpf_dynptr {
	u64 opaque[2];
} __attribute__((aligned(8)));

static long (*const bpf_map_push_elem)(void *map, const void *value, u64 flags) = (void *)87;
static long (*const bpf_map_pop_elem)(void *map, void *value) = (void *)88;
static long (*const bpf_for_each_map_elem)(void *map, void *func, void *ctx, u64 flags) = (void *)164;
static long (*const bpf_loop)(u32 count, void *func, void *ctx, u64 flags) = (void *)181;
static long (*const bpf_xdp_load_bytes)(struct xdp_md *ctx, u32 offset, void *to, u32 len) = (void *)189;
static long (*const bpf_dynptr_from_mem)(void *data, u64 size, u64 flags, struct bpf_dynptr *to) = (void *)197;
static long (*const bpf_dynptr_read)(void *to, u32 len, const struct bpf_dynptr *from, u32 offset,
				     u64 flags) = (void *)201;
static long (*const bpf_dynptr_write)(const struct bpf_dynptr *to, u32 offset, void *from, u32 len,
				      u64 flags) = (void *)202;
static void *(*const bpf_dynptr_data)(const struct bpf_dynptr *ptr, u32 offset, u32 len) = (void *)203;

struct value {
	u64 words[8];
};

struct {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct value);
} traced SEC(".maps");

struct {
	__uint(type, 22);
	__uint(max_entries, 3);
	__type(value, struct value);
} queue SEC(".maps");

struct value seen;
u64 changes;
struct value source = { { 1, 2, 3, 4, 5, 6, 7, 8 } };

MAP_TRACE(traced, UPDATE_ELEM) int keep(struct bpf_map_trace_ctx__update_elem *ctx)
{
	struct value *value = ctx->value;

	seen = *value;
	changes++;
	return 0;
}

static __always_inline struct value *find(void)
{
	u32 key = 0;

	return bpf_map_lookup_elem(&traced, &key);
}

#define WRITES(name)                                                     \
	static __always_inline void name##_to(struct xdp_md *ctx, struct value *value); \
	SEC("xdp") int name(struct xdp_md *ctx)                          \
	{                                                                \
		struct value *value = find();                            \
									 \
		if (value)                                               \
			name##_to(ctx, value);                           \
		return XDP_PASS;                                         \
	}                                                                \
	static __always_inline void name##_to(struct xdp_md *ctx __attribute__((unused)), struct value *value)

WRITES(text)
{
	static const char format[] = "%d and more";
	u64 arg = 42;

	bpf_snprintf((char *)value, 32, format, &arg, 8);
}

WRITES(number)
{
	bpf_strtol("-17", 3, 0, (s64 *)&value->words[1]);
}

WRITES(copy)
{
	bpf_probe_read_kernel(&value->words[2], 24, &source);
}

WRITES(string)
{
	bpf_probe_read_kernel_str(&value->words[3], 16, "some text");
}

WRITES(comm)
{
	bpf_get_current_comm(&value->words[4], 16);
}

WRITES(ids)
{
	bpf_get_ns_current_pid_tgid(0, 0, &value->words[0], 8);
}

WRITES(packet)
{
	bpf_xdp_load_bytes(ctx, 0, &value->words[5], 16);
}

WRITES(popped)
{
	bpf_map_push_elem(&queue, &source, 0);
	bpf_map_pop_elem(&queue, value);
}

WRITES(written)
{
	struct bpf_dynptr ptr;

	bpf_dynptr_from_mem(value, sizeof(*value), 0, &ptr);
	bpf_dynptr_write(&ptr, 16, &source, 16, 0);
}

WRITES(slice)
{
	struct bpf_dynptr ptr;
	u64 *word;

	bpf_dynptr_from_mem(value, sizeof(*value), 0, &ptr);
	word = bpf_dynptr_data(&ptr, 24, 8);
	if (word)
		*word = 99;
}

WRITES(read)
{
	struct bpf_dynptr ptr;

	bpf_dynptr_from_mem(&source, sizeof(source), 0, &ptr);
	bpf_dynptr_read(&value->words[6], 16, &ptr, 8, 0);
}

static long visit(void *map, u32 *key, struct value *value, void *unused)
{
	value->words[0] = 1000 + *key;
	return !map || unused;
}

SEC("xdp") int visited(struct xdp_md *ctx)
{
	bpf_for_each_map_elem(&traced, visit, (void *)0, 0);
	return ctx->ingress_ifindex ? XDP_PASS : XDP_DROP;
}

static long turn(u32 index, void *unused)
{
	struct value *value = find();

	if (value)
		value->words[index & 7] = 2000 + index;
	return !!unused;
}

SEC("xdp") int looped(struct xdp_md *ctx)
{
	bpf_loop(3, turn, (void *)0, 0);
	return ctx->ingress_ifindex ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

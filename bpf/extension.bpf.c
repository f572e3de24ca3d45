// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Programs that take the place of functions of extended.bpf.c; those in sections
// that begin with ? are for one test each, which loads them alone.
#include "hitless.h"

enum { MAP_PROG_ARRAY = 3 };

static void (*const bpf_tail_call)(void *ctx, void *map, u32 index) = (void *)12;
static long (*const bpf_xdp_adjust_head)(struct xdp_md *ctx, int delta) = (void *)44;

struct pair {
	u32 first;
	u32 second;
};

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u64);
} lengths SEC(".maps");

struct {
	__uint(type, MAP_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} next SEC(".maps");

u64 asked;

static __noinline void note(u32 length)
{
	u64 one = 1, *value = bpf_map_lookup_elem(&lengths, &length);

	if (value)
		__sync_fetch_and_add(value, 1);
	else
		bpf_map_update_elem(&lengths, &length, &one, BPF_ANY);
}

SEC("freplace/verdict") int drop(struct xdp_md *ctx, u64 length)
{
	u8 *data = (u8 *)(u64)ctx->data;

	__sync_fetch_and_add(&asked, 1);
	if (data + 1 > (u8 *)(u64)ctx->data_end || length != ctx->data_end - ctx->data)
		return XDP_ABORTED;
	note(length);
	return XDP_DROP;
}

SEC("?freplace/verdict") int bounce(struct xdp_md *ctx __attribute__((unused)), u64 length)
{
	return length < 1000 ? XDP_TX : XDP_DROP;
}

// May move the packet, as what it replaces may; and ends with another program.
SEC("?freplace/moved") int jump(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &next, 0);
	return XDP_REDIRECT;
}

SEC("?xdp") int last(struct xdp_md *ctx)
{
	note(ctx->rx_queue_index);
	return XDP_TX;
}

// All of the program.
SEC("?freplace/count") int whole(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data == 64 ? XDP_REDIRECT : XDP_ABORTED;
}

// Refused ---------------------------------------------------------------------

SEC("?freplace/fixed") int of_static(u64 length)
{
	return length;
}

SEC("?freplace/nothing") int of_nothing(u64 length)
{
	return length;
}

SEC("?freplace") int unnamed(struct xdp_md *ctx __attribute__((unused)), u64 length)
{
	return length;
}

SEC("?freplace/verdict") int fewer(struct xdp_md *ctx __attribute__((unused)))
{
	return 0;
}

SEC("?freplace/verdict") int narrower(struct xdp_md *ctx __attribute__((unused)), u32 length)
{
	return length;
}

SEC("?freplace/verdict") int number(u64 ctx, u64 length)
{
	return ctx + length;
}

SEC("?freplace/verdict") int other(struct pair *ctx __attribute__((unused)), u64 length)
{
	return length;
}

SEC("?freplace/verdict") void *pointer(struct xdp_md *ctx __attribute__((unused)), u64 length)
{
	return (void *)length;
}

SEC("?freplace/sum") int memory(struct pair *pair)
{
	return pair ? 1 : 0;
}

SEC("?freplace/verdict") int moves(struct xdp_md *ctx, u64 length)
{
	bpf_xdp_adjust_head(ctx, 0);
	return length;
}

SEC("?freplace/watched") int of_observer(u64 value)
{
	return value;
}

// Verified for any number.
SEC("?freplace/verdict") int unguarded(struct xdp_md *ctx, u64 length)
{
	u8 *data = (u8 *)(u64)ctx->data;

	return data[length];
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

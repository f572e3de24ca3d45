// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Tail calls: what they take, what is known after one that fails, and from where
// they are allowed. Programs whose names begin with "bad" are refused.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

struct {
	__uint(type, MAP_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 4);
} programs SEC(".maps");

struct locked {
	struct bpf_spin_lock lock;
	u32 count;
};

struct {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct locked);
} numbers SEC(".maps");

SEC("xdp") int constant_index(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &programs, 2);
	return 1;
}

// Any index will do: one too great fails at run time.
SEC("xdp") int any_index(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &programs, ctx->rx_queue_index);
	return 1;
}

// The packet is as it was if the call fails.
SEC("xdp") int packet_after(struct xdp_md *ctx)
{
	u8 *data = (u8 *)(long)ctx->data;

	if (data + 1 > (u8 *)(long)ctx->data_end)
		return 0;
	bpf_tail_call(ctx, &programs, 0);
	return *data;
}

static __noinline int leave(struct xdp_md *ctx)
{
	u64 small[2] = {1, 2};

	barrier_var(ctx);
	small[1] += ctx->rx_queue_index;
	bpf_tail_call(ctx, &programs, 1);
	return small[1];
}

SEC("xdp") int from_subprogram(struct xdp_md *ctx)
{
	return leave(ctx) + 1;
}

__noinline int leave_global(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &programs, 3);
	return 2;
}

SEC("xdp") int from_global_function(struct xdp_md *ctx)
{
	return leave_global(ctx) & 1;
}

SEC("?xdp") int bad_map(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &numbers, 0);
	return 1;
}

SEC("?xdp") int bad_context(struct xdp_md *ctx)
{
	u64 words[4] = {1, 2, 3, ctx->rx_queue_index};

	bpf_tail_call(words, &programs, 0);
	return 1;
}

// Another program may change the packet.
SEC("?xdp") int bad_packet_after_subprogram(struct xdp_md *ctx)
{
	u8 *data = (u8 *)(long)ctx->data;

	if (data + 1 > (u8 *)(long)ctx->data_end)
		return 0;
	leave(ctx);
	return *data;
}

SEC("?xdp") int bad_packet_after_global(struct xdp_md *ctx)
{
	u8 *data = (u8 *)(long)ctx->data;

	if (data + 1 > (u8 *)(long)ctx->data_end)
		return 0;
	leave_global(ctx);
	return *data;
}

SEC("?xdp") int bad_held_lock(struct xdp_md *ctx)
{
	u32 key = 1;
	struct locked *value = bpf_map_lookup_elem(&numbers, &key);

	if (!value)
		return 0;
	bpf_spin_lock(&value->lock);
	bpf_tail_call(ctx, &programs, 0);
	bpf_spin_unlock(&value->lock);
	return 1;
}

// A subprogram that calls so may be entered with 256 bytes of stack at the most.
SEC("?xdp") int bad_deep_caller(struct xdp_md *ctx)
{
	u64 words[40];

	for (int i = 0; i < 40; i++)
		words[i] = ctx->rx_queue_index;
	asm volatile("" ::"r"(words) : "memory");
	return leave(ctx) + words[ctx->rx_queue_index & 31];
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A program whose global functions others take the place of (extension.bpf.c).
#include "hitless.h"

static long (*const bpf_xdp_adjust_head)(struct xdp_md *ctx, int delta) = (void *)44;

struct pair {
	u32 first;
	u32 second;
};

struct {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} packets SEC(".maps");

u64 asked;
u32 action = XDP_PASS;

// What becomes of a packet.
__noinline int verdict(struct xdp_md *ctx, u64 length)
{
	__sync_fetch_and_add(&asked, 1);
	if (length > 1000 || ctx->rx_queue_index == 99)
		return XDP_ABORTED;
	return action;
}

// May move the packet, and so may what takes its place.
__noinline int moved(struct xdp_md *ctx)
{
	if (action == XDP_ABORTED)
		bpf_xdp_adjust_head(ctx, 0);
	return action;
}

__noinline int sum(struct pair *pair)
{
	return pair ? pair->first + pair->second : -1;
}

// Callers rely on more than its prototype.
static __noinline int fixed(u64 length)
{
	return length > 2000 ? XDP_ABORTED : action;
}

SEC("xdp") int count(struct xdp_md *ctx)
{
	u64 length = ctx->data_end - ctx->data;
	struct pair pair = { length, 0 };
	u32 first = 0, found;
	u64 *value;

	value = bpf_map_lookup_elem(&packets, &first);
	if (value)
		__sync_fetch_and_add(value, 1);
	if (sum(&pair) != (int)length || fixed(length) == XDP_ABORTED)
		return XDP_ABORTED;
	found = verdict(ctx, length);
	return found == XDP_TX ? moved(ctx) : (int)found;
}

// What observes is not extended.
__noinline int watched(u64 value)
{
	return value ? action : 0;
}

SEC("?fentry/hitless_watched") int watch(u64 *ctx)
{
	watched(ctx[0]);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Programs that a verifier must refuse, each for one common mistake.
#include "net.h"

enum { MAP_RINGBUF = 27 };

static void *(*const bpf_ringbuf_reserve)(void *map, u64 size, u64 flags) = (void *)131;
static void (*const bpf_ringbuf_discard)(void *record, u64 flags) = (void *)133;

struct counters {
	u64 by_size[16];
};

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, struct counters);
} counted SEC(".maps");

struct {
	__uint(type, MAP_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

SEC("xdp") int out_of_bounds(struct xdp_md *ctx)
{
	u32 key = 0;
	struct counters *counters = bpf_map_lookup_elem(&counted, &key);

	if (!counters)
		return XDP_PASS;
	counters->by_size[ctx->data_end - ctx->data]++;
	return XDP_PASS;
}

SEC("xdp") int missing_null_check(struct xdp_md *ctx)
{
	u32 key = ctx->ingress_ifindex;
	struct counters *counters = bpf_map_lookup_elem(&counted, &key);

	counters->by_size[0]++;
	return XDP_PASS;
}

SEC("xdp") int missing_bounds_check(struct xdp_md *ctx)
{
	struct ether *eth = (void *)(long)ctx->data;
	struct ipv4 *ip = (void *)(eth + 1);

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	if (eth->type != ETHERTYPE_IPV4)
		return XDP_PASS;
	return ip->ttl ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int leaked_reference(struct xdp_md *ctx)
{
	u32 *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return XDP_PASS;
	if (ctx->ingress_ifindex == 1)
		return XDP_DROP;
	bpf_ringbuf_discard(event, 0);
	return XDP_PASS;
}

SEC("xdp") int unbounded_loop(struct xdp_md *ctx)
{
	u32 left = ctx->ingress_ifindex;

	while (left != 1) {
		bpf_ktime_get_ns();
		left &= 0xff;
	}
	return XDP_PASS;
}

SEC("xdp") int uninitialised_read(struct xdp_md *ctx)
{
	u64 what;

	asm volatile("%0 = r8" : "=r"(what) : : "r8");
	return ctx->ingress_ifindex == what ? XDP_DROP : XDP_PASS;
}

static __noinline u64 sum(u32 seed)
{
	volatile u64 numbers[40];

	for (u32 i = 0; i < 40; i++)
		numbers[i] = seed + i;
	return numbers[seed % 40];
}

SEC("xdp") int too_large_stack(struct xdp_md *ctx)
{
	volatile u64 numbers[40];

	for (u32 i = 0; i < 40; i++)
		numbers[i] = sum(ctx->ingress_ifindex);
	return numbers[ctx->rx_queue_index % 40] ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

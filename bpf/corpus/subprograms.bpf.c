// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Subprograms: static and global, called from several programs and from each
// other, reached twice, never called, recursive, and called through a pointer.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

u64 counted = 0;

struct {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} numbers SEC(".maps");

static __noinline int lowest(u32 a)
{
	barrier_var(a);
	__sync_fetch_and_add(&counted, a);
	return a + 1;
}

static __noinline int middle(u32 a)
{
	return lowest(a) + lowest(a + 2);
}

__noinline int global(u32 a)
{
	return middle(a) + lowest(a + 5);
}

// Verified for each call, like a static one.
__hidden __noinline int hidden(u32 a)
{
	barrier_var(a);
	return a ^ 3;
}

__noinline int never_called(u32 a)
{
	return middle(a);
}

static int each(u32 index, void *ctx)
{
	*(u32 *)ctx += lowest(index);
	return 0;
}

static long each_element(void *map __unused, u32 *key, u64 *value, u32 *ctx)
{
	*ctx += *key + *value;
	return 0;
}

SEC("xdp") int first(struct xdp_md *ctx)
{
	return global(ctx->data) + lowest(ctx->data_end);
}

SEC("xdp") int second(struct xdp_md *ctx)
{
	return middle(ctx->data) + hidden(ctx->data_end);
}

SEC("socket") int third(struct __sk_buff *skb)
{
	u32 sum = lowest(skb->len);

	bpf_loop(10, each, &sum, 0);
	bpf_for_each_map_elem(&numbers, each_element, &sum, 0);
	return sum;
}

SEC("socket") int alone(struct __sk_buff *skb)
{
	return skb->len;
}

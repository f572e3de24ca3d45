// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The other of two parts.
#include "linked.h"

LICENSE("Dual MIT/GPL");

extern struct shared_map shared __attribute__((section(".maps")));

extern u64 common_counter;
u64 counter_of_two = 2;
static volatile u32 same_name = 200;
u32 zero_of_two;

__noinline int overridden(u32 a)
{
	barrier_var(a);
	return a + 2;
}

static __noinline int same_function(u32 a)
{
	return a * same_name;
}

__noinline int function_of_two(u32 a)
{
	barrier_var(a);
	zero_of_two++;
	return same_function(a) + common_counter;
}

SEC("xdp") int program_of_two(struct xdp_md *ctx)
{
	u32 key = 2;

	bpf_map_lookup_elem(&shared, &key);
	return function_of_two(ctx->data);
}

SEC("socket") int socket_of_two(struct __sk_buff *skb)
{
	return same_function(skb->len);
}

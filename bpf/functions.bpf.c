// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Global functions, which are verified by themselves: one gets memory that may
// be NULL, one memory that may not, one the context. And a loop of may_goto.
#include "hitless.h"

#define __arg_nonnull __attribute__((btf_decl_tag("arg:nonnull")))

struct pair {
	u32 first;
	u32 second;
};

u64 total;

// May be NULL.
__noinline int sum(struct pair *pair)
{
	if (!pair)
		return -1;
	return pair->first + pair->second;
}

__noinline int swap(struct pair *pair __arg_nonnull)
{
	u32 first = pair->first;

	pair->first = pair->second;
	pair->second = first;
	return 0;
}

__noinline int length(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data;
}

SEC("xdp") int stack_memory(struct xdp_md *ctx __attribute__((unused)))
{
	struct pair pair = { 40, 2 };

	swap(&pair);
	return sum(&pair) == 42 && pair.first == 2 && sum((void *)0) == -1 ? XDP_TX : XDP_ABORTED;
}

SEC("xdp") int context(struct xdp_md *ctx)
{
	total += sum((struct pair *)&total);
	return length(ctx) == 60 ? XDP_TX : XDP_PASS;
}

// Ends when the runtime says so.
SEC("xdp") int forever(struct xdp_md *ctx __attribute__((unused)))
{
	for (;;) {
		asm volatile goto("may_goto %l[out]" :::: out);
		total++;
	}
out:
	return XDP_TX;
}

// Reads what it need not have been given.
__noinline int unguarded_read(struct pair *pair)
{
	return pair->second;
}

SEC("?xdp") int unguarded(struct xdp_md *ctx __attribute__((unused)))
{
	struct pair pair = { 40, 2 };

	return unguarded_read(&pair);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Programs, subprograms and global data without type information.
// build: -g0
#include "corpus.h"

LICENSE("Dual MIT/GPL");

u64 counter;
const volatile u32 step = 3;
int initialised = 9;
u32 custom SEC(".data.custom") = 4;

static __noinline int increment(u32 n)
{
	barrier_var(n);
	counter += step + custom;
	return n + initialised;
}

SEC("xdp") int program(struct xdp_md *ctx)
{
	return increment(ctx->data);
}

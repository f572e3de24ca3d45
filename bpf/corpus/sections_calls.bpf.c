// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A program that calls another program as a subprogram.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

SEC("socket") __noinline int callee(struct __sk_buff *skb)
{
	u32 length = skb->len;

	barrier_var(length);
	return length;
}

SEC("socket") int caller(struct __sk_buff *skb)
{
	return callee(skb) + 1;
}

SEC("xdp") __noinline int other_callee(struct xdp_md *ctx)
{
	u32 data = ctx->data;

	barrier_var(data);
	return data;
}

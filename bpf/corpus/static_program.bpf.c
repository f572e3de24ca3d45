// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A static function in a program's section: only ever called.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

SEC("xdp") static __noinline int local(struct xdp_md *ctx)
{
	u32 data = ctx->data;

	barrier_var(data);
	return data;
}

SEC("xdp") int program(struct xdp_md *ctx)
{
	return local(ctx) + 1;
}

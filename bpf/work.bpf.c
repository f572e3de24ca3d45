// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the native code benchmark computes, on the first KiB of a packet; the
// result goes behind it.
#include "hitless.h"
#include "work.h"

#define PROGRAM(name) \
SEC("xdp") int name(struct xdp_md *ctx) \
{ \
	u8 *data = (u8 *)(long)ctx->data; \
\
	if (data + WORK_BYTES + sizeof(u64) > (u8 *)(long)ctx->data_end) \
		return XDP_DROP; \
	*(u64 *)(data + WORK_BYTES) = work_##name(data); \
	return XDP_PASS; \
}

WORKS(PROGRAM)

SEC("xdp") int empty(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

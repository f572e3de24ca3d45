// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Atomic operations with and without the old value, of 4 and 8 bytes.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

u64 wide;
u32 narrow;
RESULTS(8);

SEC("xdp") int add(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&wide, ctx->data);
	__sync_fetch_and_add(&narrow, ctx->data);
	results[0] = __sync_fetch_and_add(&wide, ctx->data);
	results[1] = __sync_fetch_and_add(&narrow, ctx->data);
	results[2] = __sync_fetch_and_sub(&wide, ctx->data);
	return 0;
}

SEC("xdp") int bits(struct xdp_md *ctx)
{
	__sync_fetch_and_or(&wide, ctx->data);
	__sync_fetch_and_or(&narrow, ctx->data);
	__sync_fetch_and_and(&wide, ctx->data);
	__sync_fetch_and_and(&narrow, ctx->data);
	__sync_fetch_and_xor(&wide, ctx->data);
	__sync_fetch_and_xor(&narrow, ctx->data);
	results[0] = __sync_fetch_and_or(&wide, ctx->data);
	results[1] = __sync_fetch_and_or(&narrow, ctx->data);
	results[2] = __sync_fetch_and_and(&wide, ctx->data);
	results[3] = __sync_fetch_and_and(&narrow, ctx->data);
	results[4] = __sync_fetch_and_xor(&wide, ctx->data);
	results[5] = __sync_fetch_and_xor(&narrow, ctx->data);
	return 0;
}

SEC("xdp") int exchange(struct xdp_md *ctx)
{
	results[0] = __sync_lock_test_and_set(&wide, ctx->data);
	results[1] = __sync_lock_test_and_set(&narrow, ctx->data);
	results[2] = __sync_val_compare_and_swap(&wide, ctx->data, ctx->data_end);
	results[3] = __sync_val_compare_and_swap(&narrow, ctx->data, ctx->data_end);
	return 0;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Helpers for packets of XDP programs: by turns, as the packet says at its
// beginning: what, and an argument, four times.
#include "helpers.h"

static long (*const bpf_xdp_adjust_head)(struct xdp_md *ctx, int by) = (void *)44;
static long (*const bpf_xdp_adjust_meta)(struct xdp_md *ctx, int by) = (void *)54;
static long (*const bpf_xdp_adjust_tail)(struct xdp_md *ctx, int by) = (void *)65;
static u64 (*const bpf_xdp_get_buff_len)(struct xdp_md *ctx) = (void *)188;
static long (*const bpf_xdp_load_bytes)(struct xdp_md *ctx, u32 offset, void *to, u32 len) = (void *)189;
static long (*const bpf_xdp_store_bytes)(struct xdp_md *ctx, u32 offset, void *from, u32 len) = (void *)190;

enum { HEAD, META, TAIL, LOAD, STORE, MARK };

SEC("xdp") int steps(struct xdp_md *ctx)
{
	u32 *turns = (u32 *)&input;

	read_input(ctx);
	__builtin_memset(bytes, '#', sizeof(bytes));
	for (u32 i = 0; i < 4; i++) {
		u32 what = turns[2 * i];
		int by = turns[2 * i + 1];
		u8 *meta, *data;
		long answer = 0;

		switch (what) {
		case HEAD:
			answer = bpf_xdp_adjust_head(ctx, by);
			break;
		case META:
			answer = bpf_xdp_adjust_meta(ctx, by);
			break;
		case TAIL:
			answer = bpf_xdp_adjust_tail(ctx, by);
			break;
		case LOAD:
			answer = bpf_xdp_load_bytes(ctx, by, bytes + 64 * i, (by & 31) + 1);
			break;
		case STORE:
			answer = bpf_xdp_store_bytes(ctx, by, input.text, (by & 31) + 1);
			break;
		case MARK:
			meta = (u8 *)(long)ctx->data_meta;
			data = (u8 *)(long)ctx->data;
			if (meta + 4 <= data)
				*(u32 *)meta = by;
			break;
		}
		answers[4 * i] = answer;
		answers[4 * i + 1] = bpf_xdp_get_buff_len(ctx);
		answers[4 * i + 2] = ctx->data - ctx->data_meta;
		answers[4 * i + 3] = ctx->data_end - ctx->data;
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

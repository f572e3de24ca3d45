// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Prog arrays with and without programs in them from the start.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

int first(struct xdp_md *ctx);
int second(struct xdp_md *ctx);

struct {
	__uint(type, MAP_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__array(values, int(struct xdp_md *));
} filled SEC(".maps") = {.values = {[0] = &first, [3] = &second}};

struct {
	__uint(type, MAP_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 4);
} empty SEC(".maps");

SEC("xdp") int first(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &filled, 3);
	return 1;
}

SEC("xdp") int second(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &empty, 1);
	return 2;
}

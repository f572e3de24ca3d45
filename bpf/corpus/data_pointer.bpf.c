// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A pointer in global data, which nothing fills in.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

u64 target = 1;
u64 *pointer = &target;

SEC("xdp") int use(struct xdp_md *ctx __unused)
{
	return pointer != NULL;
}

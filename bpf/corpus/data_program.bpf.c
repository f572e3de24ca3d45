// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Pointers to programs in global data. No program can call another one, so what
// they are does not matter; they stay zero.
#include "corpus.h"

LICENSE("GPL");

SEC("xdp") int pass(struct xdp_md *ctx __unused)
{
	return 2;
}

struct hook {
	int (*run)(struct xdp_md *ctx);
	u32 priority;
};

u32 runs = 1;
struct hook hook = {.run = pass, .priority = 50};

SEC("xdp") int count(struct xdp_md *ctx __unused)
{
	return runs++;
}

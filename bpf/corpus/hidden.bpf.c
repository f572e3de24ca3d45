// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Hidden symbols: data that user space has nothing to do with, so that it is not
// mapped, and a program, which is one all the same.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

__hidden u32 ours SEC(".data.ours") = 1;
u32 theirs SEC(".data.theirs") = 2;
__hidden u32 ours_too SEC(".data.theirs") = 3;

SEC("xdp") __hidden int program(struct xdp_md *ctx __unused)
{
	return ours + theirs + ours_too;
}

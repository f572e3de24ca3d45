// SPDX-License-Identifier: MIT OR Apache-2.0
//
// For machines of the other byte order.
// build: -mbig-endian
#include "corpus.h"

LICENSE("Dual MIT/GPL");

SEC("xdp") int program(struct xdp_md *ctx __unused)
{
	return 2;
}

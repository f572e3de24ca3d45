// SPDX-License-Identifier: MIT OR Apache-2.0
//
// An enum that is only declared: BTF has it as one without a size.
#include "corpus.h"

LICENSE("GPL");

enum later;

struct event {
	enum later *kind;
	u64 time;
};

struct event last;

SEC("xdp") int use(struct xdp_md *ctx __unused)
{
	return last.time++ != 0;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A map of another object, with which this one has not been linked.
#include "corpus.h"

LICENSE("GPL");

struct array {
	__uint(type, 2);
	__type(key, u32);
	__type(value, u64);
	__uint(max_entries, 1);
};

struct array here SEC(".maps");
extern struct array elsewhere __attribute__((section(".maps")));

SEC("xdp") int use(struct xdp_md *ctx __unused)
{
	return here.key != elsewhere.key;
}

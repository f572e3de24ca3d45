// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A map that is static.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

static struct {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
} local SEC(".maps");

SEC("xdp") int use(struct xdp_md *ctx __unused)
{
	u32 key = 1;

	return bpf_map_lookup_elem(&local, &key) != NULL;
}

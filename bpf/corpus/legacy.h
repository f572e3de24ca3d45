// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Programs that use a map `counters`, defined as struct bpf_map_def has it.
#include "corpus.h"

#define USE_COUNTERS                                                           \
	SEC("xdp") int count(struct xdp_md *ctx __unused)                      \
	{                                                                      \
		u32 key = 1;                                                   \
		u64 *value = bpf_map_lookup_elem(&counters, &key);             \
									       \
		if (value)                                                     \
			*value += 1;                                           \
		bpf_map_update_elem(&settings, &key, &key, 0);                 \
		return 0;                                                      \
	}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Maps as the kernel's samples defined them: with an inner map and a NUMA node.
#include "legacy.h"

LICENSE("GPL");

struct bpf_map_def {
	u32 type, key_size, value_size, max_entries, map_flags, inner_map_idx, numa_node;
};

struct bpf_map_def settings SEC("maps") = {MAP_HASH, 4, 4, 16, F_NUMA_NODE, 0, 1};
struct bpf_map_def counters SEC("maps") = {.type = MAP_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 10};

USE_COUNTERS

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Maps as they were defined before BTF, in an object without any.
// build: -g0
#include "legacy.h"

LICENSE("GPL");

struct bpf_map_def {
	u32 type, key_size, value_size, max_entries, map_flags;
};

struct bpf_map_def settings SEC("maps") = {MAP_HASH, 4, 4, 16, F_NO_PREALLOC};
struct bpf_map_def counters SEC("maps") = {.type = MAP_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 10};

USE_COUNTERS

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Maps as aya defines them: with an id and a pinning.
#include "legacy.h"

LICENSE("GPL");

struct bpf_map_def {
	u32 type, key_size, value_size, max_entries, map_flags, id, pinning;
};

struct bpf_map_def settings SEC("maps") = {MAP_HASH, 4, 4, 16, 0, 0, PIN_BY_NAME};
struct bpf_map_def counters SEC("maps") = {.type = MAP_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 10};

USE_COUNTERS

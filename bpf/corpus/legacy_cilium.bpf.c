// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Maps as iproute2 and Cilium defined them.
#include "legacy.h"

LICENSE("GPL");

struct bpf_elf_map {
	u32 type, size_key, size_value, max_elem, flags, id, pinning, inner_id, inner_idx;
};

struct bpf_elf_map settings SEC("maps") = {
	.type = MAP_HASH, .size_key = 4, .size_value = 4, .max_elem = 16, .id = 1, .pinning = 2};
struct bpf_elf_map counters SEC("maps") = {
	.type = MAP_ARRAY, .size_key = 4, .size_value = 8, .max_elem = 10, .flags = F_MMAPABLE};

USE_COUNTERS

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Attributes given as values of enums, which may have 64 bits.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

struct {
	__uint(type, MAP_BLOOM_FILTER);
	__uint(max_entries, 100);
	__ulong(map_extra, 0x1ULL << 33 | 5);
	__type(value, u32);
} wide SEC(".maps");

struct {
	__ulong(type, MAP_HASH);
	__ulong(max_entries, 77);
	__type(key, u32);
	__type(value, u32);
} narrow SEC(".maps");

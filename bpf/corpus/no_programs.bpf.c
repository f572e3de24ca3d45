// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A map and nothing else, not even a license.
#include "corpus.h"

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} alone SEC(".maps");

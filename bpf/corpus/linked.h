// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the two parts of `linked` share.
#include "corpus.h"

struct shared_map {
	__uint(type, MAP_HASH);
	__uint(max_entries, 12);
	__type(key, u32);
	__type(value, u64);
};

struct outer_map {
	__uint(type, MAP_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, u32);
	__array(values, struct shared_map);
};

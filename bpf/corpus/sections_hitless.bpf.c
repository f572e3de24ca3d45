// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Sections that only this project knows, and names that nobody does.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} flows SEC(".maps");

#define PROGRAM(name, section) \
	SEC(section) int name(void *ctx __unused) { return 0; }

PROGRAM(on_update, "map_trace/flows/UPDATE_ELEM")
PROGRAM(on_delete, "map_trace/flows/DELETE_ELEM")
PROGRAM(on_evict, "map_trace/flows/EVICT_ELEM")
PROGRAM(not_by_default, "?map_trace/flows/UPDATE_ELEM")
PROGRAM(migrate, "migrate/flows")
PROGRAM(unknown, "nobody/knows")
PROGRAM(almost, "xdpx")

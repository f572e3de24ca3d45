// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Maps of maps: by template, by map, filled from the start.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

struct inner_map {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 3);
	__uint(map_flags, F_INNER_MAP);
	__type(key, u32);
	__type(value, u64);
} one SEC(".maps"), two SEC(".maps");

struct {
	__uint(type, MAP_ARRAY_OF_MAPS);
	__uint(max_entries, 5);
	__type(key, u32);
	__array(values, struct inner_map);
} array_of_maps SEC(".maps") = {.values = {[0] = &one, [4] = &two, [2] = &one}};

struct {
	__uint(type, MAP_HASH_OF_MAPS);
	__uint(max_entries, 9);
	__type(key, u32);
	__array(values, struct inner_map);
} hash_of_maps SEC(".maps") = {.values = {[1] = &two}};

struct {
	__uint(type, MAP_HASH_OF_MAPS);
	__uint(max_entries, 7);
	__uint(key_size, 6);
	__array(values, struct {
		__uint(type, MAP_HASH);
		__uint(max_entries, 8);
		__uint(key_size, 4);
		__uint(value_size, 16);
		__uint(map_flags, F_NO_PREALLOC);
	});
} anonymous_template SEC(".maps");

struct {
	__uint(type, MAP_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__array(values, struct {
		__uint(type, MAP_RINGBUF);
		__uint(max_entries, 4096);
	});
} rings SEC(".maps");

SEC("xdp") int use(struct xdp_md *ctx __unused)
{
	u32 key = 1;
	void *inner = bpf_map_lookup_elem(&array_of_maps, &key);

	if (inner)
		bpf_map_lookup_elem(inner, &key);
	bpf_map_lookup_elem(&hash_of_maps, &key);
	return 0;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Maps of extreme sizes, with types behind typedefs and modifiers, and attributes of
// all kinds in one.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

typedef const struct {
	u8 bytes[511];
} odd_t;

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 0x3fffffff);
	__type(key, volatile odd_t);
	__type(value, u8);
	__uint(map_flags, F_NO_PREALLOC);
} wide_key SEC(".maps");

struct {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, char[1 << 20]);
} large_value SEC(".maps");

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 3);
	__type(key, void *);
	__type(value, enum xdp_action);
} pointers SEC(".maps");

struct {
	__uint(type, 4000);
	__uint(max_entries, 3);
	__uint(key_size, 1);
	__uint(value_size, 3);
} type_of_the_future SEC(".maps");

SEC("xdp") int use(struct xdp_md *ctx __unused)
{
	u8 key = 1;

	return bpf_map_lookup_elem(&type_of_the_future, &key) != NULL;
}

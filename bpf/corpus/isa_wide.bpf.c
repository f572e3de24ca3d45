// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Wide immediates of every kind that a compiler makes: a number, a map, an address
// in global data, a function, a variable of the kernel.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

struct {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} numbers SEC(".maps");

u64 first = 1, second = 2;

extern const int number_of_cpus __ksym;

static int each(u32 index __unused, void *ctx)
{
	*(u64 *)ctx += 1;
	return 0;
}

SEC("socket") int wide(struct __sk_buff *skb __unused)
{
	u32 key = 0;
	u64 *value = bpf_map_lookup_elem(&numbers, &key);

	if (!value)
		return 0;
	bpf_loop(3, each, value, 0);
	*value ^= 0x0123456789abcdefULL;
	*value += (u64)-1 << 33;
	second += *value;
	return second + number_of_cpus;
}

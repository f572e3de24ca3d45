// SPDX-License-Identifier: MIT OR Apache-2.0
//
// One of two parts, linked into one object: calls a function of the other part,
// has a weak function and a weak map that the other overrides, and a static
// function and variable whose names the other has too.
#include "linked.h"

LICENSE("Dual MIT/GPL");

struct shared_map shared SEC(".maps");
struct outer_map outer SEC(".maps") __weak = {.values = {[1] = &shared}};

u64 common_counter = 1;
extern u64 counter_of_two;
const volatile u32 constant_of_one = 11;
static volatile u32 same_name = 100;

int function_of_two(u32 a);

__weak __noinline int overridden(u32 a)
{
	barrier_var(a);
	return a + 1;
}

static __noinline int same_function(u32 a)
{
	return a + same_name;
}

SEC("xdp") int program_of_one(struct xdp_md *ctx)
{
	u32 key = 1;

	bpf_map_lookup_elem(&shared, &key);
	bpf_map_lookup_elem(&outer, &key);
	common_counter += counter_of_two;
	return function_of_two(ctx->data) + overridden(constant_of_one) + same_function(ctx->data);
}

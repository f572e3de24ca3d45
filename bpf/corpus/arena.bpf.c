// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Global data in an arena: variables of another address space, as sections of that
// name make them.
#include "corpus.h"

LICENSE("GPL");

#define __arena_global SEC(".addr_space.1")

struct {
	__uint(type, 33);
	__uint(map_flags, 1 << 10);
	__uint(max_entries, 4);
} memory SEC(".maps");

u64 __arena_global total = 5;
static u32 __arena_global calls = 7;
u64 ordinary;

SEC("syscall") int count(void *ctx __unused)
{
	volatile u32 *mine = &calls;

	total += *mine;
	ordinary++;
	return memory.type != NULL;
}

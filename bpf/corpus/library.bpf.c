// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Functions for other objects, and no program.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

u64 calls;

__noinline int increment(u32 n)
{
	barrier_var(n);
	calls++;
	return n + 1;
}

__hidden __noinline int twice(u32 n)
{
	return increment(n) + increment(n);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Subprograms that call each other in circles. The verifier's concern, not the
// loader's.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

__noinline int odd(u32 n);

__noinline int even(u32 n)
{
	barrier_var(n);
	return n ? odd(n - 1) : 1;
}

__noinline int odd(u32 n)
{
	barrier_var(n);
	return n ? even(n - 1) : 0;
}

SEC("socket") int is_even(struct __sk_buff *skb)
{
	return even(skb->len);
}

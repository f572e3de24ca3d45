// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the compiler makes of a source when it is in no mood to improve it.
// build: -O1 -mcpu=v2
#include "corpus.h"

LICENSE("Dual MIT/GPL");

u64 total;

static __noinline u32 digit(u64 n, u32 base)
{
	return n % base;
}

SEC("socket") int digits(struct __sk_buff *skb)
{
	u64 n = skb->len;
	u32 sum = 0;

	for (int i = 0; i < 8; i++) {
		sum += digit(n, 10);
		n /= 10;
	}
	switch (sum) {
	case 1: total += 7; break;
	case 2: total ^= 5; break;
	case 3: total <<= 2; break;
	case 4: total = 1; break;
	case 9: total |= 3; break;
	}
	return sum;
}

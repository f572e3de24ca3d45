// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A loop whose end is a matter of the kernel's patience.
// build: -mcpu=v4
#include "corpus.h"

LICENSE("Dual MIT/GPL");

SEC("socket") __naked int patient(struct __sk_buff *skb __unused)
{
	asm volatile("r0 = 0;"
		     "l0_%=:"
		     "may_goto l1_%=;"
		     "r0 += 1;"
		     "goto l0_%=;"
		     "l1_%=:"
		     "exit;" ::: "r0");
}

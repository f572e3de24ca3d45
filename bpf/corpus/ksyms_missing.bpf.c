// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Needs a function of the kernel that is not there.
#include "corpus.h"

LICENSE("GPL");

extern int no_such_function(u32 argument) __ksym;

SEC("raw_tp") int call(void *ctx __unused)
{
	return no_such_function(3);
}

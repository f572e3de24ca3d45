// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Needs a function of the kernel that is there with other parameters.
#include "corpus.h"

LICENSE("GPL");

extern int kernel_function(u32 argument) __ksym;

SEC("raw_tp") int call(void *ctx __unused)
{
	return kernel_function(3);
}

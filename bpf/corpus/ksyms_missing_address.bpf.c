// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Needs the address of a symbol of the kernel that is not there.
#include "corpus.h"

LICENSE("GPL");

extern const void no_such_symbol __ksym;

SEC("raw_tp") int read(void *ctx __unused)
{
	return (u64)&no_such_symbol >> 32;
}

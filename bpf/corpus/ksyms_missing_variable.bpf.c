// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Needs a variable of the kernel that is not there.
#include "corpus.h"

LICENSE("GPL");

extern const int number_of_nothing __ksym;

SEC("raw_tp") int read(void *ctx __unused)
{
	return number_of_nothing;
}

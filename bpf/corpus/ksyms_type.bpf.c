// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Needs a variable of the kernel that is there with another type.
#include "corpus.h"

LICENSE("GPL");

struct number {
	int a;
};

extern const struct number number_of_cpus __ksym;

SEC("raw_tp") int read(void *ctx __unused)
{
	return number_of_cpus.a;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Variables of the kernel: by type, by address, and missing ones that may be.
#include "corpus.h"

LICENSE("GPL");

RESULTS(8);

struct widget {
	u64 cookie;
};

extern const int number_of_cpus __ksym;
extern struct widget the_widget __ksym;
extern const struct widget no_such_widget __ksym __weak;
extern const void symbol_by_address __ksym;
extern const void other_symbol __ksym;
extern const void no_such_symbol __ksym __weak;

SEC("raw_tp") int read(void *ctx __unused)
{
	results[0] = number_of_cpus;
	results[1] = the_widget.cookie;
	results[2] = (u64)&the_widget;
	results[3] = (u64)&symbol_by_address;
	results[4] = (u64)&other_symbol;
	results[5] = (u64)&no_such_symbol;
	if (&no_such_widget)
		results[6] = no_such_widget.cookie;
	return 0;
}

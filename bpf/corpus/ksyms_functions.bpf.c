// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Functions of the kernel, called directly.
#include "corpus.h"

LICENSE("GPL");

struct widget {
	u64 cookie;
};

extern int kernel_function(struct widget *widget, u32 argument) __ksym;
extern void kernel_release(struct widget *widget) __ksym;
extern int no_such_function(u32 argument) __ksym __weak;

static __noinline int indirectly(struct widget *widget)
{
	return kernel_function(widget, 2);
}

SEC("raw_tp") int call(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;
	int sum = kernel_function(widget, 1) + indirectly(widget);

	if (no_such_function)
		sum += no_such_function(3);
	kernel_release(widget);
	return sum;
}

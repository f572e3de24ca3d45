// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Immediate stores to fields, and sign-extending loads of them.
// build: -mcpu=v4
#include "core.h"

SEC("raw_tp") int stores(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;

	widget->hidden_a = 7;
	widget->next = NULL;
	widget->name[1] = 1;
	return 0;
}

SEC("raw_tp") int loads(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;

	results[0] = widget->mode;
	results[1] = (s64)(s32)widget->hidden_a;
	return 0;
}

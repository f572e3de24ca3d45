// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Loads and stores, directly, of a bitfield that is none there: they would access a
// part of the field, and take it for the whole. Such instructions must never run.
// What is a bitfield on both sides is accessed as it is here.
#include "core.h"

SEC("raw_tp") int load(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;

	results[0] = widget->flag_d;
	return 0;
}

SEC("raw_tp") int store(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;

	widget->flag_d = 1;
	return 0;
}

SEC("raw_tp") int both(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;

	results[0] = widget->flag_a;
	return 0;
}

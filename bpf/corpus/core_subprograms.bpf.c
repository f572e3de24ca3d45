// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Relocations in subprograms, which move with them.
#include "core.h"

static __noinline u64 weight(struct inner *inner)
{
	return BPF_CORE_READ(inner, weight);
}

__noinline u64 total(struct widget *widget)
{
	return weight(&widget->embedded) + widget->hidden_a;
}

SEC("raw_tp") int first(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;

	results[0] = weight(widget->inner) + total(widget);
	return 0;
}

SEC("raw_tp") int second(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;

	results[1] = total(widget) + bpf_core_field_offset(struct widget, id);
	return 0;
}

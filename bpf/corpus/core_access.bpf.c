// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Fields that are loaded and stored directly, some of another size there, and
// through the helper that reads the kernel's memory.
#include "core.h"

SEC("raw_tp") int loads(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;

	results[0] = widget->id; // 8 bytes here, 4 there
	results[1] = widget->hidden_a;
	results[2] = (u64)widget->owner;
	results[3] = (u64)widget->inner;
	results[4] = widget->embedded.weight;
	results[5] = (u64)widget->next;
	results[6] = widget->name[3];
	results[7] = widget->mode;
	return 0;
}

SEC("raw_tp") int stores(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;

	widget->hidden_a = results[0];
	widget->id = results[1];
	widget->next = NULL;
	widget->name[0] = 0;
	return 0;
}

SEC("raw_tp") int helper(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;
	struct inner *inner = BPF_CORE_READ(widget, inner);

	results[0] = BPF_CORE_READ(inner, weight);
	results[1] = BPF_CORE_READ(inner, points[2].y);
	results[2] = BPF_CORE_READ(widget, id);
	return 0;
}

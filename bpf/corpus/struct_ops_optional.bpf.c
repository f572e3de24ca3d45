// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Structs of functions of which not all are made: programs are loaded if any of what
// they implement is, whatever their own section says.
#include "corpus.h"

LICENSE("GPL");

struct widget;

struct widget_ops {
	int (*init)(struct widget *widget);
	int (*step)(struct widget *widget, u32 argument);
	void (*release)(struct widget *widget);
	char name[16];
	u32 flags;
};

SEC("?struct_ops/init") int shared(u64 *ctx)
{
	return ctx[0] != 0;
}

SEC("struct_ops/step") int only_optional(u64 *ctx)
{
	return ctx[1];
}

SEC("?struct_ops/step") int only_made(u64 *ctx)
{
	return ctx[1] + 1;
}

SEC("?.struct_ops.link") struct widget_ops optional = {
	.init = (void *)shared,
	.step = (void *)only_optional,
};

SEC(".struct_ops.link") struct widget_ops made = {
	.init = (void *)shared,
	.step = (void *)only_made,
};

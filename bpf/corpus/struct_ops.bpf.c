// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A struct of functions that programs implement; the kernel has more members, at
// other offsets.
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

SEC("struct_ops/init") int widget_init(u64 *ctx)
{
	return ctx[0] != 0;
}

SEC("struct_ops/step") int widget_step(u64 *ctx)
{
	return ctx[1];
}

SEC(".struct_ops") struct widget_ops widget_ops = {
	.init = (void *)widget_init,
	.step = (void *)widget_step,
	.name = "corpus",
	.flags = 5,
};

SEC(".struct_ops") struct widget_ops other_ops = {
	.step = (void *)widget_step,
	.name = "other",
};

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Several local versions of one type.
#include "core.h"

struct gadget___old {
	u64 name;
	u64 first;
} __preserve_access_index;

struct gadget___new {
	u64 renamed;
} __preserve_access_index;

struct point___with___more {
	u64 y;
} __preserve_access_index;

SEC("raw_tp") int either(void *ctx)
{
	void *gadget = *(void **)ctx;

	if (bpf_core_field_exists(struct gadget___new, renamed))
		results[0] = ((struct gadget___new *)gadget)->renamed;
	else
		results[0] = ((struct gadget___old *)gadget)->name;
	results[1] = bpf_core_field_offset(struct point___with___more, y);
	return 0;
}

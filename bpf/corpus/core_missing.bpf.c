// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Fields and types that are not there, used without asking first.
#include "core.h"

struct absent {
	u64 field;
} __preserve_access_index;

SEC("raw_tp") int field(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;

	results[0] = widget->gone;
	return 0;
}

SEC("raw_tp") int field_by_helper(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;

	results[0] = BPF_CORE_READ(widget, gone);
	return 0;
}

SEC("raw_tp") int type(void *ctx)
{
	struct absent *absent = *(struct absent **)ctx;

	results[0] = absent->field;
	return 0;
}

SEC("raw_tp") int type_id(void *ctx __unused)
{
	results[0] = bpf_core_type_id_kernel(struct absent);
	results[1] = bpf_core_enum_value(enum mode, MODE_GONE);
	results[2] = bpf_core_field_offset(struct widget, gone);
	results[3] = bpf_core_field_size(struct widget, gone);
	return 0;
}

SEC("raw_tp") int beyond(void *ctx __unused)
{
	// An index beyond the array there.
	results[0] = bpf_core_field_exists(union variant, bytes[11]);
	return 0;
}

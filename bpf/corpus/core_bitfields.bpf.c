// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Bitfields: what to load, and by how much to shift it.
#include "core.h"

SEC("raw_tp") int shifts(void *ctx __unused)
{
	results[0] = core_field_lshift(struct widget, flag_a);
	results[1] = core_field_rshift(struct widget, flag_a);
	results[2] = core_field_lshift(struct widget, flag_b);
	results[3] = core_field_rshift(struct widget, flag_b);
	results[4] = core_field_lshift(struct widget, flag_c);
	results[5] = core_field_rshift(struct widget, flag_c);
	results[6] = core_field_lshift(struct widget, flag_d);
	results[7] = core_field_rshift(struct widget, flag_d);
	results[8] = core_field_lshift(struct widget, id);
	results[9] = core_field_rshift(struct widget, id);
	results[10] = core_field_lshift(struct widget, small);
	results[11] = core_field_rshift(struct widget, small);
	return 0;
}

SEC("raw_tp") int reads(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;

	results[0] = BPF_CORE_READ_BITFIELD(widget, flag_a);
	results[1] = BPF_CORE_READ_BITFIELD(widget, flag_b);
	results[2] = BPF_CORE_READ_BITFIELD(widget, flag_c);
	results[3] = BPF_CORE_READ_BITFIELD(widget, flag_d);
	return 0;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Offset, size, existence and sign of fields: plain, nested, of arrays, of anonymous
// members, of flexible arrays.
#include "core.h"

SEC("raw_tp") int offsets(void *ctx __unused)
{
	results[0] = bpf_core_field_offset(struct widget, inner);
	results[1] = bpf_core_field_offset(struct widget, hidden_a);
	results[2] = bpf_core_field_offset(struct widget, embedded.points[3].y);
	results[3] = bpf_core_field_offset(struct widget, name[5]);
	results[4] = bpf_core_field_offset(struct widget, tail[3]);
	results[5] = bpf_core_field_offset(struct widget, variant.bytes[2]);
	results[6] = bpf_core_field_offset(struct widget, next);
	return 0;
}

SEC("raw_tp") int sizes(void *ctx __unused)
{
	results[0] = bpf_core_field_size(struct widget, inner);
	results[1] = bpf_core_field_size(struct widget, embedded);
	results[2] = bpf_core_field_size(struct widget, embedded.points);
	results[3] = bpf_core_field_size(struct widget, embedded.points[0].x);
	results[4] = bpf_core_field_size(struct widget, name);
	results[5] = bpf_core_field_size(struct widget, id);
	results[6] = bpf_core_field_size(struct widget, mode);
	results[7] = bpf_core_field_size(struct widget, variant);
	return 0;
}

SEC("raw_tp") int exist(void *ctx __unused)
{
	results[0] = bpf_core_field_exists(struct widget, inner);
	results[1] = bpf_core_field_exists(struct widget, gone);
	results[2] = bpf_core_field_exists(struct widget, embedded.points[0].x);
	results[3] = bpf_core_field_exists(struct widget, hidden_a);
	results[4] = bpf_core_field_exists(struct widget, flag_c);
	return 0;
}

SEC("raw_tp") int signs(void *ctx __unused)
{
	results[0] = core_field_signed(struct widget, id);
	results[1] = core_field_signed(struct widget, small);
	results[2] = core_field_signed(struct widget, embedded.points[1].x);
	results[3] = core_field_signed(struct widget, flag_a);
	results[4] = core_field_signed(struct widget, flag_b);
	results[5] = core_field_signed(struct widget, mode);
	return 0;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Values of enums, of 32 and 64 bits, signed and not, renumbered and gone.
#include "core.h"

enum mode___flavour { MODE_ON___flavour = 99 };

SEC("raw_tp") int values(void *ctx __unused)
{
	results[0] = bpf_core_enum_value(enum mode, MODE_ON);
	results[1] = bpf_core_enum_value(enum mode, MODE_AUTO);
	results[2] = bpf_core_enum_value(enum level, LEVEL_LOW);
	results[3] = bpf_core_enum_value(enum mask, MASK_TOP);
	results[4] = bpf_core_enum_value(enum mask, MASK_LOW);
	results[5] = bpf_core_enum_value(enum depth, DEPTH_MIN);
	results[6] = bpf_core_enum_value(enum mode___flavour, MODE_ON___flavour);
	return 0;
}

SEC("raw_tp") int exist(void *ctx __unused)
{
	results[0] = bpf_core_enum_value_exists(enum mode, MODE_ON);
	results[1] = bpf_core_enum_value_exists(enum mode, MODE_GONE);
	results[2] = bpf_core_enum_value_exists(enum mask, MASK_TOP);
	return 0;
}

// Never runs where MODE_GONE is gone.
SEC("raw_tp") int guarded(void *ctx __unused)
{
	if (bpf_core_enum_value_exists(enum mode, MODE_GONE))
		results[0] = bpf_core_enum_value(enum mode, MODE_GONE);
	return 0;
}

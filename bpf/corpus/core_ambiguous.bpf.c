// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The target has two types of this name, which disagree about the field.
#include "core.h"

struct ambiguous {
	u32 field, agreed;
} __preserve_access_index;

SEC("raw_tp") int load(void *ctx)
{
	struct ambiguous *ambiguous = *(struct ambiguous **)ctx;

	results[0] = ambiguous->field;
	return 0;
}

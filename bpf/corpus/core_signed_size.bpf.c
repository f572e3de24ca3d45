// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Loads a signed field that has another size there: no load of another size means
// the same, so the instruction must never run.
#include "core.h"

SEC("raw_tp") int load(void *ctx)
{
	struct widget *widget = *(struct widget **)ctx;

	results[0] = widget->small;
	return 0;
}

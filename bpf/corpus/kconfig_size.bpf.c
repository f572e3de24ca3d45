// SPDX-License-Identifier: MIT OR Apache-2.0
//
// More room for configuration values than any configuration has.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

extern const char CONFIG_HUGE[1 << 21] __kconfig __weak;

SEC("raw_tp") int read(void *ctx __unused)
{
	return CONFIG_HUGE[1];
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A configuration value that does not fit the variable.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

extern u8 CONFIG_TOO_LARGE __kconfig;

SEC("raw_tp") int read(void *ctx __unused)
{
	return CONFIG_TOO_LARGE;
}

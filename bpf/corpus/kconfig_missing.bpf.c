// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Needs a configuration value that is not there.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

extern int CONFIG_ABSENT __kconfig;

SEC("raw_tp") int read(void *ctx __unused)
{
	return CONFIG_ABSENT;
}

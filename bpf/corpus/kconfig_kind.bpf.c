// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A configuration value that is text where a number is expected.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

extern int CONFIG_TEXT __kconfig;

SEC("raw_tp") int read(void *ctx __unused)
{
	return CONFIG_TEXT;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Values of the kernel's configuration, of every type.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

enum libbpf_tristate { TRI_NO = 0, TRI_YES = 1, TRI_MODULE = 2 };

extern unsigned int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_SWITCH __kconfig;
extern bool CONFIG_ABSENT_SWITCH __kconfig __weak;
extern enum libbpf_tristate CONFIG_MODULE __kconfig;
extern enum libbpf_tristate CONFIG_BUILT_IN __kconfig;
extern char CONFIG_LETTER __kconfig;
extern u8 CONFIG_BYTE __kconfig;
extern int CONFIG_NEGATIVE __kconfig;
extern u32 CONFIG_HEX __kconfig;
extern u64 CONFIG_WIDE __kconfig;
extern s16 CONFIG_SHORT __kconfig;
extern char CONFIG_TEXT[12] __kconfig;
extern char CONFIG_CUT[4] __kconfig;
extern int CONFIG_ABSENT __kconfig __weak;

RESULTS(16);

SEC("raw_tp") int read(void *ctx __unused)
{
	results[0] = LINUX_KERNEL_VERSION;
	results[1] = CONFIG_SWITCH;
	results[2] = CONFIG_ABSENT_SWITCH;
	results[3] = CONFIG_MODULE;
	results[4] = CONFIG_BUILT_IN;
	results[5] = CONFIG_LETTER;
	results[6] = CONFIG_BYTE;
	results[7] = CONFIG_NEGATIVE;
	results[8] = CONFIG_HEX;
	results[9] = CONFIG_WIDE;
	results[10] = CONFIG_SHORT;
	results[11] = CONFIG_TEXT[1];
	results[12] = CONFIG_CUT[1];
	results[13] = CONFIG_ABSENT;
	return 0;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The same for the host's compiler.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#include "../../bpf/work.h"

#define FUNCTION(name) \
void name(u8 *data) \
{ \
	*(u64 *)(data + WORK_BYTES) = work_##name(data); \
}

WORKS(FUNCTION)

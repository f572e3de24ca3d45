// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Load-acquire and store-release, which this version of the compiler does not
// know: spelled in bytes (opcode, registers, offset, immediate 0x100 or 0x110).
// build: -mcpu=v4
#include "corpus.h"

LICENSE("Dual MIT/GPL");

// r0 = load_acquire((u8|u16|u32|u64 *)(r10 - 8)), store_release((...)(r10 - 8), r1)
SEC("socket") __naked int ordered(struct __sk_buff *skb __unused)
{
	asm volatile("r1 = 1;"
		     "*(u64 *)(r10 - 8) = r1;"
		     ".8byte 0x00000100fff8a0d3;" // 1 byte
		     ".8byte 0x00000100fff8a0cb;" // 2 bytes
		     ".8byte 0x00000100fff8a0c3;" // 4 bytes
		     ".8byte 0x00000100fff8a0db;" // 8 bytes
		     ".8byte 0x00000110fff81ad3;"
		     ".8byte 0x00000110fff81acb;"
		     ".8byte 0x00000110fff81ac3;"
		     ".8byte 0x00000110fff81adb;"
		     "r0 = 0;"
		     "exit;" ::: "r0", "r1");
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Version 4 of the instruction set: signed division, sign-extending moves and
// loads, unconditional byte swaps, immediate stores, far jumps.
// build: -mcpu=v4
#include "isa.h"

SEC("xdp") int signed_division(struct xdp_md *ctx __unused)
{
	out.s64 = in.s64 / in.s64;
	out.s64 = in.s64 % in.s64;
	out.s64 = in.s64 / -7;
	out.s64 = in.s64 % -7;
	out.s32 = in.s32 / in.s32;
	out.s32 = in.s32 % in.s32;
	return 0;
}

SEC("xdp") int sign_extension(struct xdp_md *ctx __unused)
{
	u64 a = in.u64;
	u32 b = in.u32;

	out.s64 = (s8)a;
	out.s64 = (s16)a;
	out.s64 = (s32)a;
	out.s32 = (s8)b;
	out.s32 = (s16)b;
	return 0;
}

SEC("xdp") __naked int far_jump(struct xdp_md *ctx __unused)
{
	asm volatile("r0 = 0;"
		     "gotol l0_%=;"
		     "r0 = 1;"
		     "l0_%=:"
		     "exit;" ::: "r0");
}

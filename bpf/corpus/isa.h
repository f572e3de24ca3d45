// SPDX-License-Identifier: MIT OR Apache-2.0
//
// C that needs every kind of arithmetic, jump, load and store. The same for each
// version of the instruction set: what a version lacks, the compiler works around.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

struct numbers {
	u8 u8;
	u16 u16;
	u32 u32;
	u64 u64;
	s8 s8;
	s16 s16;
	s32 s32;
	s64 s64;
};

volatile struct numbers in, out;
volatile u64 sink;

SEC("xdp") int arithmetic(struct xdp_md *ctx __unused)
{
	u64 a = in.u64, b = in.u64;
	u32 c = in.u32, d = in.u32;

	sink = a + b;
	sink = a - b;
	sink = a * b;
	sink = a / b;
	sink = a % b;
	sink = a | b;
	sink = a & b;
	sink = a ^ b;
	sink = a << (b & 63);
	sink = a >> (b & 63);
	sink = (s64)a >> (b & 63);
	sink = -a;
	sink = a + 7;
	sink = a * 1000003;
	sink = a / 10;
	sink = a % 10;
	sink = a | 0x10001;
	sink = a & 0x7ffffff0;
	sink = a ^ 0x55;
	sink = a << 5;
	sink = a >> 5;
	sink = (s64)a >> 5;
	sink = a + 0x123456789abcdefULL;
	out.u32 = c + d;
	out.u32 = c - d;
	out.u32 = c * d;
	out.u32 = c / d;
	out.u32 = c % d;
	out.u32 = c | d;
	out.u32 = c & d;
	out.u32 = c ^ d;
	out.u32 = c << (d & 31);
	out.u32 = c >> (d & 31);
	out.s32 = (s32)c >> (d & 31);
	out.u32 = -c;
	return 0;
}

SEC("xdp") int memory(struct xdp_md *ctx __unused)
{
	out.u8 = in.u8;
	out.u16 = in.u16;
	out.u32 = in.u32;
	out.u64 = in.u64;
	out.s64 = in.s8;
	out.s64 = in.s16;
	out.s64 = in.s32;
	out.s32 = in.s8;
	out.s32 = in.s16;
	out.u8 = 1;
	out.u16 = 2;
	out.u32 = 3;
	out.u64 = 4;
	return 0;
}

SEC("xdp") int jumps(struct xdp_md *ctx __unused)
{
	u64 a = in.u64, b = in.u64;
	u32 c = in.u32, d = in.u32;
	u64 n = 0;

#define COUNT(condition)                        \
	do {                                    \
		if (condition) {                \
			sink = ++n;             \
			asm volatile("" ::: "memory"); \
		}                               \
	} while (0)
	COUNT(a == b);
	COUNT(a != b);
	COUNT(a < b);
	COUNT(a <= b);
	COUNT(a > b);
	COUNT(a >= b);
	COUNT((s64)a < (s64)b);
	COUNT((s64)a <= (s64)b);
	COUNT((s64)a > (s64)b);
	COUNT((s64)a >= (s64)b);
	COUNT(a & b);
	COUNT(a == 5);
	COUNT(a < 500);
	COUNT((s64)a < -500);
	COUNT(a & 8);
	COUNT(c == d);
	COUNT(c < d);
	COUNT((s32)c > (s32)d);
	COUNT((s32)c <= -5);
	COUNT(c & d);
	return n;
}

SEC("xdp") int swaps(struct xdp_md *ctx __unused)
{
	out.u16 = __builtin_bswap16(in.u16);
	out.u32 = __builtin_bswap32(in.u32);
	out.u64 = __builtin_bswap64(in.u64);
	return 0;
}

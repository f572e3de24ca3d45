// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Global data: initialised, zero and constant, in sections of the compiler's and
// of our own choice; static, global, in functions, and strings.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

int zero;
int initialised = 42;
const volatile u64 constant = 0x1122334455667788ULL;
static volatile u16 hidden = 7;
static volatile u8 hidden_zero[3];
const volatile char text[16] = "constant text";
struct {
	u8 a;
	u64 b;
	char c[5];
} record = {1, 2, "abc"};

u32 other_data SEC(".data.other") = 5;
u32 more_data SEC(".data.more.with.dots") = 6;
const volatile u32 other_rodata SEC(".rodata.other") = 7;
u32 other_bss SEC(".bss.other");
u64 aligned SEC(".data.other") __attribute__((aligned(64))) = 8;

static __noinline int sum(int n)
{
	static volatile int calls = 3;

	return ++calls + n;
}

SEC("xdp") int use(struct xdp_md *ctx)
{
	volatile const char *string = "some string";
	volatile char buffer[] = "a string that is copied";

	zero += initialised;
	initialised += constant;
	hidden += hidden_zero[1] + text[3];
	record.b++;
	other_data += more_data + other_rodata + other_bss + aligned;
	return sum(string[ctx->data & 7]) + buffer[ctx->data & 15];
}

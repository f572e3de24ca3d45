// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Everything that a reference in an object file can go to. Rebuild here with
//
//	clang-19 -O2 -g -target bpf -mcpu=v3 -ffile-prefix-map=$PWD=. -c features.bpf.c -o features.bpf.o
//	llvm-strip-19 -g features.bpf.o
#define SEC(name) __attribute__((section(name), used))
#define __noinline __attribute__((noinline))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) __typeof__(val) *name
#define __ulong(name, val) enum { ___##name = val } name

typedef unsigned u32;
typedef unsigned long long u64;

static void *(*const lookup)(void *map, const void *key) = (void *)1;
static long (*const trace)(const char *text, u32 len, ...) = (void *)6;
static long (*const loop)(u32 n, void *callback, void *ctx, u64 flags) = (void *)181;

static struct {
	__uint(type, 1);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 8);
	__uint(map_flags, 1);
} first SEC(".maps");

struct value {
	u64 a;
};

static struct {
	__uint(type, 2);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, struct value);
	__uint(numa_node, 1);
	__uint(pinning, 1);
	__ulong(map_extra, 0x500000000);
} second SEC(".maps");

static u64 total;
static volatile u64 weights[2] = {5, 6};
volatile u64 scale = 7;
static const char text[] = "total %d";

static __noinline int add(u32 index, void *ctx)
{
	total += index;
	return 0;
}

__noinline int twice(int n)
{
	static u64 calls;

	calls += 1;
	return n + calls;
}

static __noinline int thrice(int n)
{
	return twice(n) * 3;
}

// Not a program: static, and called by the one below only.
static __noinline SEC("xdp") int local(int n)
{
	return n * total + weights[1];
}

SEC("xdp") int main_program(void *ctx)
{
	u32 key = 1;
	u64 *a = lookup(&first, &key), *b = lookup(&second, &key);

	trace("literal", 8);
	trace(text, sizeof(text));
	loop(3, add, 0, 0);
	return thrice(4) + local(2) + scale + (a && b);
}

SEC("xdp.frags/other") int other_program(void *ctx)
{
	return twice(1);
}

char _license[] SEC("license") = "GPL";

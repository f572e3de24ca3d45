// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Maps declared in .maps with everything that a declaration can say. Rebuild here with
//
//	clang-19 -O2 -g -target bpf -mcpu=v3 -ffile-prefix-map=$PWD=. -c maps.bpf.c -o maps.bpf.o
//	llvm-strip-19 -g maps.bpf.o
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) __typeof__(val) *name
#define __array(name, val) __typeof__(val) *name[]
#define __ulong(name, val) enum { ___##name = val } name

typedef unsigned u32;
typedef unsigned long long u64;

struct key {
	u32 a, b;
};

struct inner {
	__uint(type, 1);
	__uint(max_entries, 5);
	__type(key, struct key);
	__type(value, u64);
	__uint(map_flags, 1);
} inner_a SEC(".maps");

// By a symbol of its own, and by section and offset.
static struct inner inner_b SEC(".maps");
static struct inner inner_c SEC(".maps");

typedef struct {
	__uint(type, 12);
	__uint(max_entries, 8);
	__type(key, u32);
	__array(values, struct inner);
} outer_t;

volatile outer_t outer SEC(".maps") = {
	.values = {[6] = &inner_a, [1] = (void *)&inner_c, [3] = (void *)&inner_b, [7] = &inner_a},
};

struct {
	__uint(type, 13);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__array(values, struct {
		__uint(type, 27);
		__uint(max_entries, 4096);
	});
} hash_outer SEC(".maps");

struct ring {
	__uint(type, 27);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, 13);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, struct ring);
} hash_filled SEC(".maps") = {.values = {[1000] = &ring}};

SEC("xdp") int first(void *ctx)
{
	return 1;
}

SEC("xdp") int second(void *ctx)
{
	return 2;
}

struct {
	__uint(type, 3);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__array(values, int(void *));
} programs SEC(".maps") = {.values = {[3] = first, [0] = second}};

struct {
	__uint(type, 30);
	__uint(max_entries, 100);
	__type(value, u64);
	__uint(numa_node, 0);
	__uint(pinning, 1);
	__ulong(map_extra, 3);
} bloom SEC(".maps");

// The number of processors is left to who makes it.
struct {
	__uint(type, 4);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf SEC(".maps");

// A lock in an array of one, and another type's in a union.
struct bpf_spin_lock {
	u32 val;
};

struct locked {
	u64 count;
	struct {
		struct bpf_spin_lock lock[1];
	} inside;
	union {
		struct bpf_spin_lock not_found;
		u32 word;
	};
};

struct {
	__uint(type, 2);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct locked);
} locks SEC(".maps");

// Sections of global data with names of their own; nobody reads the one with pointers.
SEC(".data.mine") int mine = 3;
SEC(".rodata.mine") const int constant = 4;
SEC(".bss.mine") int zero;
SEC(".data.unread") int *unread = &mine;

char _license[] SEC("license") = "GPL";

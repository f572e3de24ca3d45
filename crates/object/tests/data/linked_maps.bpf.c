// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Maps of two objects linked into one; each has a static map of the same name. Rebuild here with
//
//	for n in 1 2; do
//		clang-19 -O2 -g -target bpf -mcpu=v3 -ffile-prefix-map=$PWD=. -DN=$n -c linked_maps.bpf.c -o $n.o
//	done
//	bpftool gen object linked_maps.bpf.o 1.o 2.o
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) __typeof__(val) *name
#define __array(name, val) __typeof__(val) *name[]
#define NAME__(name, n) name##_##n
#define NAME_(name, n) NAME__(name, n)
#define NAME(name) NAME_(name, N)

struct inner {
	__uint(type, 2);
	__uint(max_entries, N);
	__type(key, int);
	__type(value, int);
};

static struct inner same SEC(".maps");
struct inner NAME(inner) SEC(".maps");

struct {
	__uint(type, 12);
	__uint(max_entries, 8);
	__type(key, int);
	__array(values, struct inner);
} NAME(outer) SEC(".maps") = {.values = {[N] = &NAME(inner)}};

static void *(*const lookup)(void *map, const void *key) = (void *)1;

SEC("xdp") int NAME(program)(void *ctx)
{
	return lookup(&same, ctx) != 0;
}

struct {
	__uint(type, 3);
	__uint(max_entries, 8);
	__uint(key_size, 4);
	__array(values, int(void *));
} NAME(programs) SEC(".maps") = {.values = {[N] = NAME(program)}};

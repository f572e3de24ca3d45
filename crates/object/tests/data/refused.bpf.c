// SPDX-License-Identifier: MIT OR Apache-2.0
//
// One reason for refusal each, chosen by a macro: POINTER, LOCKS. Rebuild here with
//
//	for x in POINTER LOCKS; do
//		clang-19 -O2 -g -target bpf -mcpu=v3 -ffile-prefix-map=$PWD=. -D$x -c refused.bpf.c -o refused_$x.bpf.o
//		llvm-strip-19 -g refused_$x.bpf.o
//	done
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) __typeof__(val) *name

#ifdef POINTER
int target = 3;
int *pointer = &target;

SEC("xdp") int program(void *ctx)
{
	return *pointer;
}
#endif

#ifdef LOCKS
struct bpf_spin_lock {
	unsigned val;
};

struct value {
	struct bpf_spin_lock one;
	struct {
		struct bpf_spin_lock two;
	} inner;
};

struct {
	__uint(type, 1);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, struct value);
} locked SEC(".maps");
#endif

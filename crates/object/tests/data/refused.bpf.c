// SPDX-License-Identifier: MIT OR Apache-2.0
//
// One reason for refusal each, chosen by a macro: CORE, EXTERN, VALUES, POINTER, LOCKS, LEGACY. Rebuild here with
//
//	for x in CORE EXTERN VALUES POINTER LOCKS LEGACY; do
//		clang-19 -O2 -g -target bpf -mcpu=v3 -ffile-prefix-map=$PWD=. -D$x -c refused.bpf.c -o refused_$x.bpf.o
//		llvm-strip-19 -g refused_$x.bpf.o
//	done
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) __typeof__(val) *name

#ifdef CORE
struct task {
	int pid;
} __attribute__((preserve_access_index));

__attribute__((noinline)) int pid_of(struct task *task)
{
	return task->pid;
}
SEC("xdp") int program(void *ctx)
{
	return pid_of(ctx);
}
#endif

#ifdef EXTERN
extern int bpf_something(void *ctx) SEC(".ksyms");

SEC("xdp") int program(void *ctx)
{
	return bpf_something(ctx);
}
#endif

#ifdef VALUES
struct {
	__uint(type, 12);
	__uint(max_entries, 2);
	__type(key, int);
	int (*values)[];
} outer SEC(".maps");
#endif

#ifdef POINTER
int target = 3;
int *pointer = &target;
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

#ifdef LEGACY
struct {
	int type, key_size, value_size, max_entries;
} old SEC("maps") = {1, 4, 4, 1};
#endif

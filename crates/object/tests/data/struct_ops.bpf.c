// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Structs whose functions are programs. Rebuild here with
//
//	clang-19 -O2 -g -target bpf -mcpu=v3 -ffile-prefix-map=$PWD=. -c struct_ops.bpf.c -o struct_ops.bpf.o
//	llvm-strip-19 -g struct_ops.bpf.o
//	for x in TEXT DATA XDP STATIC; do
//		clang-19 -O2 -g -target bpf -mcpu=v3 -ffile-prefix-map=$PWD=. -DREFUSED_$x \
//			-c struct_ops.bpf.c -o refused_struct_ops_$x.bpf.o
//		llvm-strip-19 -g refused_struct_ops_$x.bpf.o
//	done
#define SEC(name) __attribute__((section(name), used))

struct ops {
	int (*init)(void *ctx);
	const char *text;
	unsigned flags;
	unsigned (*value)(void *ctx);
	char name[16];
};

SEC("struct_ops/init") int init(void *ctx)
{
	return 0;
}

SEC("struct_ops.s/value") int value(void *ctx)
{
	return 7;
}

#ifdef REFUSED_TEXT
__attribute__((noinline)) int subprogram(void *ctx)
{
	return 1;
}
#define VALUE subprogram
#elif defined REFUSED_XDP
SEC("xdp") int packet(void *ctx)
{
	return 1;
}
#define VALUE packet
#elif defined REFUSED_STATIC
static SEC("struct_ops/unseen") int unseen(void *ctx)
{
	return 1;
}
#define VALUE unseen
#else
#define VALUE value
#endif

SEC(".struct_ops") struct ops first = {
	.init = (void *)init,
	.flags = 5,
	.value = (void *)VALUE,
	.name = "first",
#ifdef REFUSED_DATA
	.text = "a text",
#endif
};

SEC(".struct_ops") struct ops second = {.value = (void *)value, .name = "second"};
SEC(".struct_ops.link") struct ops linked = {.init = (void *)init, .name = "linked"};
SEC("?.struct_ops.link") struct ops optional = {.name = "optional"};

char _license[] SEC("license") = "GPL";

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Printing by types. They are the kernel's, so that it has to print the same.
#include "iter.h"

struct btf_ptr {
	void *ptr;
	u32 type_id;
	u32 flags;
};

// Types of Linux, as far as it takes to name them.
struct bpf_spin_lock;
struct bpf_func_info { int any; };
struct in6_addr { int any; };
struct bpf_prog_info { int any; };
struct iphdr { int any; };
struct tcphdr { int any; };
struct sockaddr { int any; };
struct uid_gid_map { int any; };
struct ethhdr { int any; };
struct fxregs_state { int any; };
struct btf_header { int any; };
struct qstr { int any; };
struct list_head { int any; };
struct desc_struct { int any; };
union bpf_iter_link_info { int any; };
enum bpf_cgroup_iter_order { BPF_CGROUP_ITER_ORDER_UNSPEC };
typedef struct { int any; } kuid_t;
typedef struct { int any; } atomic64_t;
typedef unsigned char __u8;
typedef _Bool bool;

static long (*const bpf_snprintf_btf)(char *to, u32 size, struct btf_ptr *ptr, u32 len, u64 flags) = (void *)149;
static long (*const bpf_seq_printf_btf)(struct seq_file *seq, struct btf_ptr *ptr, u32 len, u64 flags) = (void *)150;

struct {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64);
} flags SEC(".maps");

u64 words[128]; // what is printed
u64 shift;	// where in it, in bytes
char text[256];

#define BTF_TYPE_ID_TARGET 1
#define type_id(type) __builtin_btf_type_id(*(type *)0, BTF_TYPE_ID_TARGET)

#define SHOW(type)                                                                             \
	({                                                                                     \
		struct btf_ptr what = {.ptr = (char *)words + (shift & 63), .type_id = type_id(type)}; \
		long result = bpf_seq_printf_btf(seq, &what, sizeof(what), *key);              \
		long len = bpf_snprintf_btf(text, sizeof(text), &what, sizeof(what), *key);    \
		BPF_SEQ_PRINTF(seq, "|%ld %ld %s|\n", result, len, (u64)text);                 \
	})

// With each set of flags, one program for as many types as there is room for.
#define PROGRAM(name, body)                                                                    \
	SEC("iter/bpf_map_elem") int name(struct bpf_iter__bpf_map_elem *ctx)                  \
	{                                                                                      \
		struct seq_file *seq = ctx->meta->seq;                                         \
		u32 *key = ctx->key;                                                           \
											       \
		if (!key)                                                                      \
			return 0;                                                              \
		body;                                                                          \
		return 0;                                                                      \
	}

PROGRAM(numbers, SHOW(int); SHOW(u32); SHOW(u64); SHOW(__u8); SHOW(bool); SHOW(enum bpf_cgroup_iter_order);
	SHOW(kuid_t); SHOW(atomic64_t))
PROGRAM(structs, SHOW(struct bpf_func_info); SHOW(struct btf_header); SHOW(struct ethhdr); SHOW(struct sockaddr);
	SHOW(struct in6_addr))
PROGRAM(unions, SHOW(union bpf_iter_link_info); SHOW(struct qstr); SHOW(struct uid_gid_map))
PROGRAM(bitfields, SHOW(struct iphdr); SHOW(struct tcphdr); SHOW(struct desc_struct))
PROGRAM(large, SHOW(struct bpf_prog_info); SHOW(struct fxregs_state))
PROGRAM(pointers, SHOW(struct list_head))

// What is refused.
SEC("iter/bpf_map_elem") int refused(struct bpf_iter__bpf_map_elem *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	char *first = (char *)words + (shift & 63);
	struct btf_ptr what = {.ptr = first, .type_id = type_id(u32)};
	struct btf_ptr none = {.type_id = type_id(u32)};
	struct btf_ptr beyond = {.ptr = first, .type_id = 0x7fffffff};
	struct btf_ptr untyped = {.ptr = first};
	struct btf_ptr reserved = {.ptr = first, .type_id = type_id(u32), .flags = 1};
	long results[] = {
		bpf_seq_printf_btf(seq, &what, 8, 0),
		bpf_seq_printf_btf(seq, &what, sizeof(what), 16),
		bpf_seq_printf_btf(seq, &none, sizeof(what), 0),
		bpf_seq_printf_btf(seq, &beyond, sizeof(what), 0),
		bpf_seq_printf_btf(seq, &untyped, sizeof(what), 0),
		bpf_seq_printf_btf(seq, &reserved, sizeof(what), 0),
		bpf_snprintf_btf(text, 4, &what, sizeof(what), 3),
	};

	for (int i = 0; i < 7; i++)
		BPF_SEQ_PRINTF(seq, "%ld ", results[i]);
	BPF_SEQ_PRINTF(seq, "[%s]\n", (u64)text);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Functions that look at dynptrs.
#include "skb.h"

#define __ksym __attribute__((section(".ksyms")))

typedef _Bool bool;

struct bpf_dynptr {
	u64 opaque[2];
} __attribute__((aligned(8)));

static long (*const bpf_dynptr_from_mem)(void *data, u64 size, u64 flags, struct bpf_dynptr *to) = (void *)197;
static long (*const bpf_dynptr_read)(void *to, u32 len, const struct bpf_dynptr *from, u32 offset,
				     u64 flags) = (void *)201;

extern int bpf_dynptr_adjust(const struct bpf_dynptr *p, u32 start, u32 end) __ksym;
extern bool bpf_dynptr_is_null(const struct bpf_dynptr *p) __ksym;
extern bool bpf_dynptr_is_rdonly(const struct bpf_dynptr *p) __ksym;
extern u32 bpf_dynptr_size(const struct bpf_dynptr *p) __ksym;

u8 memory[128];

SEC("tc") int adjust(struct __sk_buff *skb)
{
	struct bpf_dynptr ptr;

	__builtin_memset(bytes, '#', sizeof(bytes));
	for (u32 i = 0; i < sizeof(memory); i++)
		memory[i] = i;
	bpf_dynptr_from_mem(memory, sizeof(memory), skb->cb[4], &ptr);
	answers[0] = bpf_dynptr_size(&ptr);
	answers[1] = bpf_dynptr_is_null(&ptr);
	answers[2] = bpf_dynptr_is_rdonly(&ptr);
	answers[3] = bpf_dynptr_adjust(&ptr, skb->cb[0], skb->cb[1]);
	answers[4] = bpf_dynptr_size(&ptr);
	answers[5] = bpf_dynptr_adjust(&ptr, skb->cb[2], skb->cb[3]);
	answers[6] = bpf_dynptr_size(&ptr);
	answers[7] = bpf_dynptr_read(bytes, 16, &ptr, 0, 0);
	answers[8] = bpf_dynptr_read(bytes + 32, 1, &ptr, 0, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

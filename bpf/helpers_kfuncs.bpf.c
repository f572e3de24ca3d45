// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Functions of the kernel's that programs call by their names: iterators,
// dynptrs, regions. The program type is one that Linux lets call them all.
#include "skb.h"

#define __ksym __attribute__((section(".ksyms")))

typedef _Bool bool;

struct bpf_dynptr {
	u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_iter_num {
	u64 opaque[1];
} __attribute__((aligned(8)));

struct bpf_iter_bits {
	u64 opaque[2];
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
extern int bpf_iter_bits_new(struct bpf_iter_bits *it, const u64 *unsafe_ptr__ign, u32 nr_words) __ksym;
extern int *bpf_iter_bits_next(struct bpf_iter_bits *it) __ksym;
extern void bpf_iter_bits_destroy(struct bpf_iter_bits *it) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern void bpf_preempt_disable(void) __ksym;
extern void bpf_preempt_enable(void) __ksym;

u64 mask[8];

SEC("tc") int numbers(struct __sk_buff *skb)
{
	struct bpf_iter_num it;
	int *number;

	answers[1] = answers[2] = 0;
	answers[0] = bpf_iter_num_new(&it, skb->cb[0], skb->cb[1]);
	while ((number = bpf_iter_num_next(&it))) {
		answers[1]++;
		answers[2] = answers[2] * 3 + *number;
	}
	bpf_iter_num_destroy(&it);
	return 0;
}

SEC("tc") int bits(struct __sk_buff *skb)
{
	struct bpf_iter_bits it;
	int *bit;

	for (u32 i = 0; i < 8; i++)
		mask[i] = (u64)skb->cb[0] << (i * 4) | (u64)skb->cb[1] << 32;
	answers[1] = answers[2] = 0;
	answers[0] = bpf_iter_bits_new(&it, mask, skb->cb[2]);
	while ((bit = bpf_iter_bits_next(&it))) {
		answers[1]++;
		answers[2] = answers[2] * 3 + *bit;
	}
	bpf_iter_bits_destroy(&it);
	answers[3] = bpf_iter_bits_new(&it, (void *)0, 1);
	bpf_iter_bits_destroy(&it);
	answers[4] = bpf_iter_bits_new(&it, (void *)0xffff800000000000, 1);
	answers[5] = !bpf_iter_bits_next(&it);
	bpf_iter_bits_destroy(&it);
	answers[6] = bpf_iter_bits_new(&it, mask, 512);
	bpf_iter_bits_destroy(&it);
	return 0;
}

SEC("tc") int regions(struct __sk_buff *skb)
{
	bpf_rcu_read_lock();
	bpf_preempt_disable();
	answers[0] = skb->cb[0];
	bpf_preempt_enable();
	bpf_rcu_read_unlock();
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

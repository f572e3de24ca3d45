// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Open-coded iterators, which are kernel functions.
#include "hitless.h"

#define __ksym __attribute__((section(".ksyms")))

struct bpf_iter_num {
	u64 __opaque[1];
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

// One in another: 0 + 1 + ... of each.
SEC("xdp") int triangle(struct xdp_md *ctx __attribute__((unused)))
{
	struct bpf_iter_num outer, inner;
	int *row, *column;
	u64 sum = 0;

	bpf_rcu_read_lock();
	bpf_iter_num_new(&outer, 0, 5);
	while ((row = bpf_iter_num_next(&outer))) {
		bpf_iter_num_new(&inner, 0, *row);
		while ((column = bpf_iter_num_next(&inner)))
			sum += *column;
		bpf_iter_num_destroy(&inner);
	}
	bpf_iter_num_destroy(&outer);
	bpf_rcu_read_unlock();
	return sum == 10 ? XDP_TX : XDP_DROP;
}

SEC("xdp") int empty(struct xdp_md *ctx __attribute__((unused)))
{
	struct bpf_iter_num it;
	int failed = bpf_iter_num_new(&it, 2, 1);
	int *number = bpf_iter_num_next(&it);

	bpf_iter_num_destroy(&it);
	return failed == -EINVAL && !number ? XDP_TX : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

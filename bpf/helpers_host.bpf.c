// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Helpers that have the host at the other end: records of both directions,
// perf events, strings.
#include "skb.h"

#define __ksym __attribute__((section(".ksyms")))

struct bpf_dynptr {
	u64 opaque[2];
} __attribute__((aligned(8)));

extern int bpf_copy_from_user_str(void *dst, u32 dst__sz, const void *unsafe_ptr__ign, u64 flags) __ksym;

static u64 (*const bpf_get_func_ip)(void *ctx) = (void *)173;
static u64 (*const bpf_perf_event_read)(void *map, u64 flags) = (void *)22;
static long (*const bpf_perf_event_output)(void *ctx, void *map, u64 flags, void *data, u64 size) = (void *)25;
static long (*const bpf_perf_event_read_value)(void *map, u64 flags, void *to, u32 size) = (void *)55;
static long (*const bpf_dynptr_read)(void *to, u32 len, const struct bpf_dynptr *from, u32 offset,
				     u64 flags) = (void *)201;
static void *(*const bpf_dynptr_data)(const struct bpf_dynptr *ptr, u32 offset, u32 len) = (void *)203;
static long (*const bpf_user_ringbuf_drain)(void *map, void *func, void *ctx, u64 flags) = (void *)209;

#define F_CURRENT_CPU 0xffffffffULL

struct {
	__uint(type, 31);
	__uint(max_entries, 4096);
} commands SEC(".maps");

struct {
	__uint(type, 4);
	__uint(max_entries, 0);
	__type(key, u32);
	__type(value, u32);
} events SEC(".maps");

struct drained {
	u64 records;
	u64 bytes;
	u64 sum;
	u64 limit;
};

static long take(struct bpf_dynptr *record, void *context)
{
	struct drained *drained = context;
	u64 *word = bpf_dynptr_data(record, 0, 8);
	u8 last = 0;

	drained->records++;
	if (word)
		drained->sum += *word;
	if (!bpf_dynptr_read(&last, 1, record, 8, 0))
		drained->bytes += last;
	return drained->records >= drained->limit;
}

// cb: the most records, and flags.
SEC("tc") int drain(struct __sk_buff *skb)
{
	struct drained drained = { .limit = skb->cb[0] };

	answers[0] = bpf_user_ringbuf_drain(&commands, take, &drained, skb->cb[1]);
	answers[1] = drained.records;
	answers[2] = drained.sum;
	answers[3] = drained.bytes;
	return 0;
}

SEC("tc") int report(struct __sk_buff *skb)
{
	u64 words[3] = { 1, 2, skb->cb[0] };
	u64 flags = (u64)skb->cb[1] << 32 | F_CURRENT_CPU;

	answers[0] = bpf_perf_event_output(skb, &events, flags, words, sizeof(words));
	answers[1] = bpf_perf_event_read(&events, F_CURRENT_CPU);
	answers[2] = bpf_perf_event_read_value(&events, F_CURRENT_CPU, bytes, 24);
	answers[3] = bpf_perf_event_read_value(&events, F_CURRENT_CPU, bytes + 32, 16);
	answers[4] = bpf_perf_event_read(&events, 1ULL << 32);
	answers[5] = bpf_perf_event_read(&events, 0x7fffffff);
	return 0;
}

SEC("kprobe/somewhere") int where(void *ctx)
{
	answers[0] = bpf_get_func_ip(ctx);
	return 0;
}

struct string {
	u64 from;
	u64 flags;
};

SEC("syscall") int strings(struct string *string)
{
	__builtin_memset(bytes, '#', sizeof(bytes));
	answers[0] = bpf_copy_from_user_str(bytes, 16, (void *)string->from, string->flags);
	answers[1] = bpf_copy_from_user_str(bytes + 32, 4, (void *)string->from, string->flags);
	answers[2] = bpf_copy_from_user_str(bytes + 64, 16, (void *)8, string->flags);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

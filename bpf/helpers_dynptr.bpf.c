// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Functions that work on dynptrs, of memory and of packets.
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
extern int bpf_dynptr_clone(const struct bpf_dynptr *p, struct bpf_dynptr *clone__uninit) __ksym;
extern int bpf_dynptr_copy(struct bpf_dynptr *dst_ptr, u32 dst_off, struct bpf_dynptr *src_ptr, u32 src_off,
			   u32 size) __ksym;
extern int bpf_dynptr_memset(struct bpf_dynptr *p, u32 offset, u32 size, u8 val) __ksym;
extern int bpf_dynptr_from_skb(struct __sk_buff *s, u64 flags, struct bpf_dynptr *ptr__uninit) __ksym;
extern int bpf_dynptr_from_xdp(struct xdp_md *x, u64 flags, struct bpf_dynptr *ptr__uninit) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *p, u32 offset, void *buffer__opt, u32 buffer__szk) __ksym;
extern void *bpf_dynptr_slice_rdwr(const struct bpf_dynptr *p, u32 offset, void *buffer__opt,
				   u32 buffer__szk) __ksym;

static long (*const bpf_dynptr_write)(const struct bpf_dynptr *to, u32 offset, void *from, u32 len,
				      u64 flags) = (void *)202;
static void *(*const bpf_dynptr_data)(const struct bpf_dynptr *ptr, u32 offset, u32 len) = (void *)203;
static long (*const bpf_xdp_adjust_tail)(struct xdp_md *ctx, int by) = (void *)65;
static s64 (*const bpf_csum_level)(struct __sk_buff *skb, u64 level) = (void *)135;

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

// What is done with a dynptr of a packet: where, with which flags.
struct request {
	u32 offset;
	u32 len; // at most 64
	u64 flags;
	u32 start;
	u32 end;
};

static __always_inline void use(struct bpf_dynptr *ptr, const struct request *what)
{
	struct bpf_dynptr other, local;
	u64 buffer[2];
	u16 *slice;
	u32 len = what->len;

	if (len > 64)
		len = 64;
	__builtin_memset(bytes, '#', sizeof(bytes));
	for (u32 i = 0; i < sizeof(memory); i++)
		memory[i] = i;
	answers[0] = bpf_dynptr_size(ptr);
	answers[1] = bpf_dynptr_is_null(ptr);
	answers[2] = bpf_dynptr_is_rdonly(ptr);
	answers[3] = bpf_dynptr_read(bytes, len, ptr, what->offset, 0);
	answers[4] = bpf_dynptr_read(bytes, 1, ptr, 0, 1);
	answers[5] = bpf_dynptr_write(ptr, what->offset, memory, len, what->flags);
	answers[6] = !bpf_dynptr_data(ptr, 0, 1);
	slice = bpf_dynptr_slice(ptr, what->offset, 0, 4);
	answers[7] = slice ? slice[1] : -1;
	slice = bpf_dynptr_slice_rdwr(ptr, what->offset, buffer, 8);
	answers[8] = slice ? slice[3] : -1;
	if (slice)
		slice[1] = 0x1234;
	answers[9] = bpf_dynptr_clone(ptr, &other);
	answers[10] = bpf_dynptr_adjust(&other, what->start, what->end);
	answers[11] = bpf_dynptr_size(&other);
	answers[12] = bpf_dynptr_read(bytes + 128, 8, &other, what->offset, 0);
	answers[13] = bpf_dynptr_size(ptr);
	answers[14] = bpf_dynptr_from_mem(memory, sizeof(memory), 0, &local);
	answers[15] = bpf_dynptr_copy(&local, 70, ptr, what->offset, len);
	answers[16] = bpf_dynptr_copy(&other, what->offset, &local, 3, len);
	answers[17] = bpf_dynptr_copy(&local, 1, &local, 5, len);
	answers[18] = bpf_dynptr_memset(&other, what->start, len, 0xab);
	answers[19] = bpf_dynptr_memset(ptr, 1, 1, 0xcd);
}

// cb: offset, length, flags of the dynptr and of the write, then the part of the copy.
SEC("tc") int packet(struct __sk_buff *skb)
{
	struct request what = {
		.offset = skb->cb[0],
		.len = skb->cb[1],
		.flags = skb->cb[2] >> 4,
		.start = skb->cb[3],
		.end = skb->cb[4],
	};
	struct bpf_dynptr ptr;

	answers[20] = bpf_dynptr_from_skb(skb, skb->cb[2] & 15, &ptr);
	use(&ptr, &what);
	for (u32 i = 0; i < 6; i++)
		answers[24 + i] = bpf_csum_level(skb, i);
	return 0;
}

// The packet has become shorter than the dynptr.
SEC("tc") int shortened(struct __sk_buff *skb)
{
	struct bpf_dynptr ptr;
	u8 *byte;

	__builtin_memset(bytes, '#', sizeof(bytes));
	answers[0] = bpf_dynptr_from_skb(skb, 0, &ptr);
	answers[1] = bpf_skb_change_tail(skb, 40, 0);
	answers[2] = bpf_dynptr_size(&ptr);
	answers[3] = bpf_dynptr_read(bytes, 8, &ptr, 32, 0);
	answers[4] = bpf_dynptr_read(bytes + 32, 8, &ptr, 33, 0);
	answers[5] = bpf_dynptr_write(&ptr, 33, memory, 8, 0);
	byte = bpf_dynptr_slice(&ptr, 40, 0, 1);
	answers[6] = byte ? *byte : -1;
	byte = bpf_dynptr_slice(&ptr, 39, 0, 1);
	answers[7] = byte ? *byte : -1;
	return 0;
}

// The packet begins with what is done.
SEC("xdp") int frame(struct xdp_md *ctx)
{
	struct request *in = (void *)(long)ctx->data, what;
	struct bpf_dynptr ptr;

	if ((void *)(in + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	what = *in;
	answers[20] = bpf_dynptr_from_xdp(ctx, what.flags >> 8, &ptr);
	what.flags &= 0xff;
	use(&ptr, &what);
	return XDP_PASS;
}

SEC("xdp") int shortened_frame(struct xdp_md *ctx)
{
	struct bpf_dynptr ptr;

	__builtin_memset(bytes, '#', sizeof(bytes));
	answers[0] = bpf_dynptr_from_xdp(ctx, 0, &ptr);
	answers[1] = bpf_xdp_adjust_tail(ctx, -8);
	answers[2] = bpf_dynptr_size(&ptr);
	answers[3] = bpf_dynptr_read(bytes, 8, &ptr, 48, 0);
	answers[4] = bpf_dynptr_read(bytes + 32, 8, &ptr, 49, 0);
	answers[5] = bpf_dynptr_write(&ptr, 49, memory, 8, 0);
	return XDP_PASS;
}

// Programs that may not write packets have dynptrs that are only read.
SEC("socket") int observed(struct __sk_buff *skb)
{
	struct bpf_dynptr ptr;
	u8 *byte;

	answers[0] = bpf_dynptr_from_skb(skb, 0, &ptr);
	answers[1] = bpf_dynptr_is_rdonly(&ptr);
	answers[2] = bpf_dynptr_write(&ptr, 0, memory, 1, 0);
	byte = bpf_dynptr_slice(&ptr, 3, 0, 1);
	answers[3] = byte ? *byte : -1;
	answers[4] = bpf_dynptr_memset(&ptr, 0, 1, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

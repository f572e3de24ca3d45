// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Global functions, each verified by itself: what they may rely on, and what
// their callers owe them. Programs whose names begin with "bad" are refused.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

#define __arg_nonnull __decl_tag("arg:nonnull")
#define __arg_ctx __decl_tag("arg:ctx")

struct pair {
	u64 first;
	u32 second;
	u32 third;
};

// Has the compiler fill all of an object.
#define fill(object) asm volatile("" ::"r"(object) : "memory")

u64 counted;
u8 letters[5] = "bytes";

// Numbers, of which nothing is known but their types.
__noinline u64 divide(u64 a, u32 b)
{
	return a / b;
}

// Memory that may be NULL.
__noinline u64 add(struct pair *pair, u64 more)
{
	if (!pair)
		return more;
	pair->first += more;
	return pair->first + pair->second;
}

__noinline int clear(struct pair *pair __arg_nonnull)
{
	pair->second = 0;
	return 0;
}

__noinline int length(struct xdp_md *ctx)
{
	return ctx->data_end - ctx->data;
}

__noinline int tagged_length(void *ctx __arg_ctx)
{
	return length(ctx);
}

// Changes global data, and calls another.
__noinline int count(u64 by)
{
	counted += by;
	return divide(counted, 3);
}

__noinline int bad_unguarded_read(struct pair *pair)
{
	return pair->third;
}

__noinline int bad_read_beyond(struct pair *pair __arg_nonnull)
{
	return ((u32 *)pair)[4];
}

// The number may be no address.
__noinline int bad_read_at(u64 address)
{
	return *(volatile u32 *)address;
}

__noinline u64 one_byte(u8 *byte __arg_nonnull)
{
	return *byte;
}

SEC("xdp") int numbers(struct xdp_md *ctx)
{
	return divide(ctx->ingress_ifindex, ctx->rx_queue_index) + count(2);
}

SEC("xdp") int stack_memory(struct xdp_md *ctx __unused)
{
	struct pair pair = {1, 2, 3};

	clear(&pair);
	return add(&pair, 7) + add(NULL, 1);
}

SEC("xdp") int packet_memory(struct xdp_md *ctx)
{
	u8 *data = (u8 *)(long)ctx->data;

	return data + 1 > (u8 *)(long)ctx->data_end ? 0 : one_byte(data);
}

SEC("xdp") int contexts(struct xdp_md *ctx)
{
	return length(ctx) + tagged_length(ctx);
}

// A number may be anything: what the caller gives is not known in the function.
SEC("xdp") int any_result(struct xdp_md *ctx)
{
	u32 index = count(ctx->ingress_ifindex);

	return index < 5 ? letters[index] : 0;
}

SEC("?xdp") int bad_unguarded(struct xdp_md *ctx __unused)
{
	struct pair pair = {1, 2, 3};

	fill(&pair);
	return bad_unguarded_read(&pair);
}

SEC("?xdp") int bad_beyond(struct xdp_md *ctx __unused)
{
	struct pair pair = {1, 2, 3};

	fill(&pair);
	return bad_read_beyond(&pair);
}

SEC("?xdp") int bad_address(struct xdp_md *ctx)
{
	return bad_read_at(ctx->ingress_ifindex);
}

SEC("?xdp") int bad_null(struct xdp_md *ctx __unused)
{
	return clear(NULL);
}

SEC("?xdp") int bad_short_memory(struct xdp_md *ctx __unused)
{
	u32 word = 1;

	fill(&word);
	return add((struct pair *)&word, 1);
}

// The packet may be shorter.
SEC("?xdp") int bad_packet_memory(struct xdp_md *ctx)
{
	return one_byte((u8 *)(long)ctx->data);
}

SEC("?xdp") int bad_context(struct xdp_md *ctx __unused)
{
	u64 words[4] = {1, 2, 3, 4};

	fill(words);
	return length((struct xdp_md *)words);
}

// What a global function returns is not bounded by what it does.
SEC("?xdp") int bad_result(struct xdp_md *ctx __unused)
{
	return letters[count(0)];
}

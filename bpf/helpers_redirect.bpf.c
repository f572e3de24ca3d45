// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Verdicts that send a packet elsewhere. What and its arguments are in the
// scratch space, or at the beginning of the packet.
#include "skb.h"

static long (*const bpf_clone_redirect)(struct __sk_buff *skb, u32 ifindex, u64 flags) = (void *)13;
static long (*const bpf_redirect)(u32 ifindex, u64 flags) = (void *)23;
static long (*const bpf_redirect_map)(void *map, u64 key, u64 flags) = (void *)51;
static long (*const bpf_redirect_neigh)(u32 ifindex, void *params, int len, u64 flags) = (void *)152;
static long (*const bpf_redirect_peer)(u32 ifindex, u64 flags) = (void *)155;

struct {
	__uint(type, 14);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u32);
} devices SEC(".maps");

SEC("tc") int away(struct __sk_buff *skb)
{
	u8 params[20] = {};
	long verdict;

	switch (skb->cb[0]) {
	case 0:
		verdict = bpf_redirect(skb->cb[1], skb->cb[2]);
		break;
	case 1:
		verdict = bpf_redirect_peer(skb->cb[1], skb->cb[2]);
		break;
	case 2:
		verdict = bpf_redirect_neigh(skb->cb[1], (void *)0, 0, skb->cb[2]);
		break;
	default:
		verdict = bpf_redirect_neigh(skb->cb[1], params, skb->cb[3] & 1 ? 20 : 8, skb->cb[2]);
		break;
	}
	answers[0] = verdict;
	return verdict;
}

SEC("xdp") int through_map(struct xdp_md *ctx)
{
	read_input(ctx);
	answers[0] = bpf_redirect_map(&devices, input.words[0], input.words[1]);
	answers[1] = bpf_redirect(input.words[0], input.words[1]);
	return XDP_PASS;
}

SEC("xdp") int to_map(struct xdp_md *ctx __attribute__((unused)))
{
	return bpf_redirect_map(&devices, 1, XDP_PASS);
}

// cb[0]: flags. Copies of the packet go elsewhere, with other first bytes; the packet itself goes on.
SEC("tc") int copies(struct __sk_buff *skb)
{
	u8 first = 0xaa;

	answers[0] = bpf_clone_redirect(skb, 7, 0);
	bpf_skb_store_bytes(skb, 0, &first, 1, 0);
	answers[1] = bpf_clone_redirect(skb, 8, 1);
	answers[2] = bpf_clone_redirect(skb, 9, skb->cb[0]);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

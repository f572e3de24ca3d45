// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Helpers for packets of the network stack: one each, or several by turns, as the
// context's scratch space says (what, and three arguments), and what the packet
// is then.
#include "skb.h"

enum {
	LOAD,
	LOAD_RELATIVE,
	STORE,
	L3_SUM,
	L4_SUM,
	VLAN_PUSH,
	VLAN_POP,
	CHANGE_TYPE,
	CHANGE_TAIL,
	CHANGE_HEAD,
	PULL,
	SUM_UPDATE,
	HASH,
	ADJUST_ROOM,
	TSTAMP,
	ECN,
};

static __always_inline long step(struct __sk_buff *skb, u32 what, u32 a, u32 b, u32 c)
{
	long hash;

	switch (what) {
	case LOAD:
		return bpf_skb_load_bytes(skb, a, bytes, (b & 63) + 1);
	case LOAD_RELATIVE:
		return bpf_skb_load_bytes_relative(skb, a, bytes, (b & 63) + 1, c);
	case STORE:
		return bpf_skb_store_bytes(skb, a, input.text, (b & 63) + 1, c);
	case L3_SUM:
		return bpf_l3_csum_replace(skb, a, (c & 0xf) ? 0x1234 : 0, b, c);
	case L4_SUM:
		return bpf_l4_csum_replace(skb, a, (c & 0xf) ? 0x81234 : 0, b, c);
	case VLAN_PUSH:
		return bpf_skb_vlan_push(skb, a, b);
	case VLAN_POP:
		return bpf_skb_vlan_pop(skb);
	case CHANGE_TYPE:
		return bpf_skb_change_type(skb, a);
	case CHANGE_TAIL:
		return bpf_skb_change_tail(skb, a, c);
	case CHANGE_HEAD:
		return bpf_skb_change_head(skb, a, c);
	case PULL:
		return bpf_skb_pull_data(skb, a);
	case SUM_UPDATE:
		return bpf_csum_update(skb, a);
	case HASH:
		// What a flow's hash is depends on the machine.
		hash = bpf_get_hash_recalc(skb) != 0;
		hash += 2 * (skb->hash != 0);
		bpf_set_hash(skb, a);
		hash += 4 * (skb->hash == a);
		bpf_set_hash_invalid(skb);
		return hash + 8 * (skb->hash == 0);
	case ADJUST_ROOM:
		return bpf_skb_adjust_room(skb, a, b & 3, (c & 0x1ff) | (u64)(c >> 24) << 56);
	case TSTAMP:
		return bpf_skb_set_tstamp(skb, a, b);
	case ECN:
		return bpf_skb_ecn_set_ce(skb);
	}
	return 0;
}

static __always_inline void look(struct __sk_buff *skb)
{
	answers[10] = skb->len;
	answers[11] = skb->protocol;
	answers[12] = skb->pkt_type;
	answers[13] = skb->vlan_present;
	answers[14] = skb->vlan_tci;
	answers[15] = skb->vlan_proto;
	answers[16] = skb->tstamp;
	answers[17] = skb->tstamp_type;
	answers[18] = skb->data_end - skb->data;
}

SEC("tc") int one(struct __sk_buff *skb)
{
	__builtin_memset(bytes, '#', sizeof(bytes));
	for (u32 i = 0; i < 64; i++)
		input.text[i] = i + 1;
	answers[0] = step(skb, skb->cb[0], skb->cb[1], skb->cb[2], skb->cb[3]);
	look(skb);
	return 0;
}

// Two with the same arguments, then a third that loads what there is.
SEC("tc") int several(struct __sk_buff *skb)
{
	__builtin_memset(bytes, '#', sizeof(bytes));
	for (u32 i = 0; i < 64; i++)
		input.text[i] = i + 1;
	answers[0] = step(skb, skb->cb[0] & 15, skb->cb[1], skb->cb[2], skb->cb[3]);
	answers[1] = step(skb, skb->cb[0] >> 4 & 15, skb->cb[1], skb->cb[2], skb->cb[3]);
	answers[2] = step(skb, skb->cb[0] >> 8 & 15, skb->cb[1], skb->cb[2], skb->cb[3]);
	answers[3] = bpf_skb_load_bytes_relative(skb, 0, bytes + 128, 20, 1);
	look(skb);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

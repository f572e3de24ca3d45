// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The context of programs of the network stack, and their helpers.
#ifndef SKB_H
#define SKB_H

#include "helpers.h"

struct __sk_buff {
	u32 len;
	u32 pkt_type;
	u32 mark;
	u32 queue_mapping;
	u32 protocol;
	u32 vlan_present;
	u32 vlan_tci;
	u32 vlan_proto;
	u32 priority;
	u32 ingress_ifindex;
	u32 ifindex;
	u32 tc_index;
	u32 cb[5];
	u32 hash;
	u32 tc_classid;
	u32 data;
	u32 data_end;
	u32 napi_id;
	u32 family;
	u32 remote_ip4;
	u32 local_ip4;
	u32 remote_ip6[4];
	u32 local_ip6[4];
	u32 remote_port;
	u32 local_port;
	u32 data_meta;
	u64 flow_keys;
	u64 tstamp;
	u32 wire_len;
	u32 gso_segs;
	u64 sk;
	u32 gso_size;
	u8 tstamp_type;
	u8 unused[3];
	u64 hwtstamp;
};

static long (*const bpf_skb_store_bytes)(struct __sk_buff *skb, u32 offset, const void *from, u32 len,
					 u64 flags) = (void *)9;
static long (*const bpf_l3_csum_replace)(struct __sk_buff *skb, u32 offset, u64 from, u64 to, u64 flags) = (void *)10;
static long (*const bpf_l4_csum_replace)(struct __sk_buff *skb, u32 offset, u64 from, u64 to, u64 flags) = (void *)11;
static long (*const bpf_skb_vlan_push)(struct __sk_buff *skb, u16 protocol, u16 tci) = (void *)18;
static long (*const bpf_skb_vlan_pop)(struct __sk_buff *skb) = (void *)19;
static long (*const bpf_skb_load_bytes)(const void *skb, u32 offset, void *to, u32 len) = (void *)26;
static long (*const bpf_skb_change_type)(struct __sk_buff *skb, u32 type) = (void *)32;
static u32 (*const bpf_get_hash_recalc)(struct __sk_buff *skb) = (void *)34;
static long (*const bpf_skb_change_tail)(struct __sk_buff *skb, u32 len, u64 flags) = (void *)38;
static long (*const bpf_skb_pull_data)(struct __sk_buff *skb, u32 len) = (void *)39;
static s64 (*const bpf_csum_update)(struct __sk_buff *skb, u32 sum) = (void *)40;
static void (*const bpf_set_hash_invalid)(struct __sk_buff *skb) = (void *)41;
static long (*const bpf_skb_change_head)(struct __sk_buff *skb, u32 len, u64 flags) = (void *)43;
static long (*const bpf_set_hash)(struct __sk_buff *skb, u32 hash) = (void *)48;
static long (*const bpf_skb_adjust_room)(struct __sk_buff *skb, int by, u32 mode, u64 flags) = (void *)50;
static long (*const bpf_skb_load_bytes_relative)(const void *skb, u32 offset, void *to, u32 len,
						 u32 header) = (void *)68;
static long (*const bpf_skb_ecn_set_ce)(struct __sk_buff *skb) = (void *)97;
static long (*const bpf_skb_set_tstamp)(struct __sk_buff *skb, u64 tstamp, u32 type) = (void *)192;

#endif

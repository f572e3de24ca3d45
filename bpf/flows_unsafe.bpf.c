// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A program that a verifier must refuse: it reads the packet without having
// compared the pointer with data_end. Its map is that of flows_v1, so that it is
// refused as an upgrade for this reason alone.
#include "net.h"

struct flow_key {
	u32 saddr[4];
	u32 daddr[4];
	u16 sport;
	u16 dport;
	u8 proto;
	u8 pad[3];
};

struct flow_stats {
	u32 packets;
	u32 bytes;
};

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 4096);
	__type(key, struct flow_key);
	__type(value, struct flow_stats);
} flows SEC(".maps");

u64 packets_seen = 0;
u64 deleted_packets = 0;
u64 failed_packets = 0;

SEC("xdp") int count_flows(struct xdp_md *ctx)
{
	struct ether *eth = (void *)(long)ctx->data;
	struct flow_key key = {};
	struct flow_stats *stats;

	__sync_fetch_and_add(&packets_seen, 1);
	__sync_fetch_and_add(&deleted_packets, 0);
	key.sport = eth->type; // no bounds check
	stats = bpf_map_lookup_elem(&flows, &key);
	if (stats)
		__sync_fetch_and_add(&stats->packets, 1);
	else
		__sync_fetch_and_add(&failed_packets, 1);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

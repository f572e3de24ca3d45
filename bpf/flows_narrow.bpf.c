// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A valid program, but not an upgrade of flows_v1: `packets` has 16 bits where
// it had 32. Taking over a map of flows_v1 must be refused: counts might not fit.
#include "hitless.h"

struct flow_key {
	u32 saddr[4];
	u32 daddr[4];
	u16 sport;
	u16 dport;
	u8 proto;
	u8 pad[3];
};

struct flow_stats {
	u64 bytes;
	u16 packets;
	u16 pad[3];
};

#include "flow_parse.h"

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
	struct flow_key key = {};
	struct flow_stats first = {};
	struct flow_stats *stats;

	parse_flow(ctx, &key);
	__sync_fetch_and_add(&packets_seen, 1);

	bpf_map_update_elem(&flows, &key, &first, BPF_NOEXIST);
	stats = bpf_map_lookup_elem(&flows, &key);
	if (!stats) {
		__sync_fetch_and_add(&failed_packets, 1);
		return XDP_PASS;
	}
	stats->packets++; // BPF has no 16-bit atomics
	__sync_fetch_and_add(&stats->bytes, frame_bytes(ctx));
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

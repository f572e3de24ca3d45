// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Per-flow packet accounting, third version. It differs from flows_v2 in the
// order of fields and globals and in one name only, so upgrades from either to
// the other lose nothing, any number of times.
#include "hitless.h"

#define MAX_FLOWS 16384

struct flow_key {
	u32 saddr[4];
	u32 daddr[4];
	u8 proto;
	u8 pad[3];
	u16 sport;
	u16 dport;
};

struct flow_stats {
	u64 packets;
	u64 bytes WAS(octets);
	u64 last_seen; // bpf_ktime_get_ns
};

#include "flow_parse.h"

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, MAX_FLOWS);
	__type(key, struct flow_key);
	__type(value, struct flow_stats);
} flows SEC(".maps");

u64 packets_seen = 0;
u64 deleted_packets = 0;
u64 failed_packets = 0;
u64 new_flows = 0; // inserted by this version and the second

SEC("xdp") int count_flows(struct xdp_md *ctx)
{
	struct flow_key key = {};
	struct flow_stats *stats;
	int state = parse_flow(ctx, &key);
	u32 bytes = frame_bytes(ctx);
	u64 now = bpf_ktime_get_ns();
	u64 packets;

	__sync_fetch_and_add(&packets_seen, 1);

	stats = bpf_map_lookup_elem(&flows, &key);
	if (!stats) {
		struct flow_stats first = {.last_seen = now, .bytes = bytes, .packets = 1};
		long err;

		err = bpf_map_update_elem(&flows, &key, &first, BPF_NOEXIST);
		if (!err) {
			__sync_fetch_and_add(&new_flows, 1);
			if (state != FLOW_CLOSING)
				return XDP_PASS;
			packets = 1;
			goto close;
		}
		if (err == -EEXIST)
			stats = bpf_map_lookup_elem(&flows, &key);
		if (!stats) {
			__sync_fetch_and_add(&failed_packets, 1);
			return XDP_PASS;
		}
	}
	__sync_fetch_and_add(&stats->packets, 1);
	__sync_fetch_and_add(&stats->bytes, bytes);
	stats->last_seen = now;
	if (state != FLOW_CLOSING)
		return XDP_PASS;
	packets = stats->packets;

close:
	if (!bpf_map_delete_elem(&flows, &key))
		__sync_fetch_and_add(&deleted_packets, packets);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Per-flow packet accounting, first version: 32-bit counters.
//
// Every packet is counted in exactly one place, so that at any quiet moment
//
//	sum of flows[*].packets + deleted_packets + failed_packets == packets_seen
//
// whatever was replaced underneath in between. Packets of one flow come to one
// thread at a time (as a network card's receive-side scaling steers them): the
// counters are atomic, but the end of a flow, which reads its counter and then
// deletes the element, relies on that.
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
	u32 packets;
	u32 bytes;
};

#include "flow_parse.h"

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 4096);
	__type(key, struct flow_key);
	__type(value, struct flow_stats);
} flows SEC(".maps");

u64 packets_seen = 0;
u64 deleted_packets = 0; // of flows that have ended
u64 failed_packets = 0;	 // no element to count them in

SEC("xdp") int count_flows(struct xdp_md *ctx)
{
	struct flow_key key = {};
	struct flow_stats *stats;
	int state = parse_flow(ctx, &key);
	u32 bytes = frame_bytes(ctx);
	u32 packets;

	__sync_fetch_and_add(&packets_seen, 1);

	stats = bpf_map_lookup_elem(&flows, &key);
	if (!stats) {
		struct flow_stats first = {.packets = 1, .bytes = bytes};
		long err;

		err = bpf_map_update_elem(&flows, &key, &first, BPF_NOEXIST);
		if (!err) {
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
	if (state != FLOW_CLOSING)
		return XDP_PASS;
	packets = stats->packets;

close:
	if (!bpf_map_delete_elem(&flows, &key))
		__sync_fetch_and_add(&deleted_packets, packets);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

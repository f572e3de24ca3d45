// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Per-flow packet accounting with a spin lock in each value and plain counters
// under it, first version. Any thread may run it on any packet of any flow, and
// still no packet is lost:
//
//	sum of flows[*].packets + deleted_packets + failed_packets == packets_seen
//
// Therefore it deletes no element. An element deleted, and recycled for another
// flow, while another run holds a pointer to it would be a race of this program's
// own making. The end of a flow (FIN, RST) instead takes the flow's packets out:
// under the lock they move to a local variable, the counter goes to zero, and
// after the unlock they are added to deleted_packets. The element stays, and
// later packets of the flow count up from zero.
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
	struct bpf_spin_lock lock;
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
	u32 ended = 0;

	__sync_fetch_and_add(&packets_seen, 1);

	stats = bpf_map_lookup_elem(&flows, &key);
	if (!stats) {
		struct flow_stats first = {.bytes = bytes};
		long err;

		// A flow that begins with its last packet has ended already.
		if (state == FLOW_CLOSING)
			ended = 1;
		else
			first.packets = 1;
		err = bpf_map_update_elem(&flows, &key, &first, BPF_NOEXIST);
		if (!err)
			goto out;
		ended = 0;
		if (err == -EEXIST)
			stats = bpf_map_lookup_elem(&flows, &key);
		if (!stats) {
			__sync_fetch_and_add(&failed_packets, 1);
			return XDP_PASS;
		}
	}

	bpf_spin_lock(&stats->lock);
	stats->packets += 1;
	stats->bytes += bytes;
	if (state == FLOW_CLOSING) {
		ended = stats->packets;
		stats->packets = 0;
	}
	bpf_spin_unlock(&stats->lock);

out:
	if (ended)
		__sync_fetch_and_add(&deleted_packets, ended);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

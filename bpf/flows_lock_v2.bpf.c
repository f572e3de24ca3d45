// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Per-flow packet accounting under a spin lock, second version, an upgrade of
// flows_lock_v1: key and value fields in another order, the lock among them,
// 64-bit counters, `bytes` now called `octets`, the time of the last packet, a
// larger map, the globals in another order with a new one.
//
// The accounting, its invariant, and why it deletes nothing: see flows_lock_v1.
#include "hitless.h"

struct flow_key {
	u8 proto;
	u8 pad[3];
	u16 dport;
	u16 sport;
	u32 daddr[4];
	u32 saddr[4];
};

struct flow_stats {
	u64 last_seen; // bpf_ktime_get_ns; 0 until this version saw a packet
	u64 octets WAS(bytes);
	struct bpf_spin_lock lock;
	u32 pad;
	u64 packets;
};

#include "flow_parse.h"

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow_key);
	__type(value, struct flow_stats);
} flows SEC(".maps");

u64 failed_packets = 0;
u64 new_flows = 0; // inserted by this version
u64 packets_seen = 0;
u64 deleted_packets = 0;

SEC("xdp") int count_flows(struct xdp_md *ctx)
{
	struct flow_key key = {};
	struct flow_stats *stats;
	int state = parse_flow(ctx, &key);
	u32 bytes = frame_bytes(ctx);
	u64 now = bpf_ktime_get_ns();
	u64 ended = 0;

	__sync_fetch_and_add(&packets_seen, 1);

	stats = bpf_map_lookup_elem(&flows, &key);
	if (!stats) {
		struct flow_stats first = {.last_seen = now, .octets = bytes};
		long err;

		// A flow that begins with its last packet has ended already.
		if (state == FLOW_CLOSING)
			ended = 1;
		else
			first.packets = 1;
		err = bpf_map_update_elem(&flows, &key, &first, BPF_NOEXIST);
		if (!err) {
			__sync_fetch_and_add(&new_flows, 1);
			goto out;
		}
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
	stats->octets += bytes;
	stats->last_seen = now;
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

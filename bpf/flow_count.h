// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The program of the second and the third version, which differ in where their
// fields lie and in the name of one, FLOW_BYTES.
#ifndef HITLESS_FLOW_COUNT_H
#define HITLESS_FLOW_COUNT_H

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
		struct flow_stats first = {.last_seen = now, .FLOW_BYTES = bytes, .packets = 1};
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
	__sync_fetch_and_add(&stats->FLOW_BYTES, bytes);
	stats->last_seen = now;
	if (state != FLOW_CLOSING)
		return XDP_PASS;
	packets = stats->packets;

close:
	if (!bpf_map_delete_elem(&flows, &key))
		__sync_fetch_and_add(&deleted_packets, packets);
	return XDP_PASS;
}

#endif

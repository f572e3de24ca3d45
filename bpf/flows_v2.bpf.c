// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Per-flow packet accounting, second version, an upgrade of flows_v1:
//
//   - the key's fields stand in another order;
//   - the counters are 64 bits wide and stand in another order, `bytes` is now
//     called `octets`;
//   - each flow carries the time of its last packet;
//   - the map holds four times as many flows;
//   - the globals stand in another order, with a new one among them.
//
// The accounting and its invariant are those of flows_v1.
#include "hitless.h"

#ifndef MAX_FLOWS
#define MAX_FLOWS 16384
#endif

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
	u64 packets;
};

#include "flow_parse.h"

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, MAX_FLOWS);
	__type(key, struct flow_key);
	__type(value, struct flow_stats);
} flows SEC(".maps");

u64 failed_packets = 0;
u64 new_flows = 0; // inserted by this version
u64 packets_seen = 0;
u64 deleted_packets = 0;

#define FLOW_BYTES octets
#include "flow_count.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

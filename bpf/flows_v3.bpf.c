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

#define FLOW_BYTES bytes
#include "flow_count.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

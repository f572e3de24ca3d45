// SPDX-License-Identifier: MIT OR Apache-2.0
//
// flows_v1 with an iterator that prints its flows.
#include "flows_v1.bpf.c"
#include "iter.h"

SEC("iter/bpf_map_elem") int print_flows(struct bpf_iter__bpf_map_elem *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct flow_stats *stats = ctx->value;
	struct flow_key *key = ctx->key;

	if (!key || !stats) {
		BPF_SEQ_PRINTF(seq, "end of map %s\n", (u64)ctx->map->name);
		return 0;
	}
	// IPv4 addresses lie in the last word, as IPv6 has them.
	BPF_SEQ_PRINTF(seq, "%pI6:%u > %pI6:%u: %u packets, %u bytes\n", (u64)key->saddr,
		       __builtin_bswap16(key->sport), (u64)key->daddr, __builtin_bswap16(key->dport), stats->packets, stats->bytes);
	return 0;
}

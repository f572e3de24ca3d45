// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The parser that all flow programs share. `struct flow_key` is the including
// file's: each version lays its fields out differently, the names stay.
//
//	saddr, daddr  16 bytes each; IPv4 as ::ffff:a.b.c.d
//	sport, dport  as on the wire
//	proto         IPv4 protocol or first IPv6 next header
//
// Every packet gets exactly one key. A frame that is not IPv4 or IPv6 (ARP,
// VLAN, ...), or whose headers are truncated or malformed, gets the all-zero
// key. Ports are zero unless the packet is TCP or UDP and holds their header:
// ICMP, fragments other than the first, packets with IPv6 extension headers
// (not walked: `proto` is then the extension header's number).
#ifndef HITLESS_FLOW_PARSE_H
#define HITLESS_FLOW_PARSE_H

#include "net.h"

// Returned for a TCP segment with FIN or RST: the flow ends with this packet.
enum { FLOW_OPEN = 0, FLOW_CLOSING = 1 };

// `key` comes in zeroed, padding included, and stays so on a parse failure.
static __noinline int parse_flow(struct xdp_md *ctx, struct flow_key *key)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ether *eth = data;
	int has_ports = 1;
	void *l4;
	u8 proto;

	if ((void *)(eth + 1) > end)
		return FLOW_OPEN;

	if (eth->type == ETHERTYPE_IPV4) {
		struct ipv4 *ip4 = (void *)(eth + 1);
		u32 header_len;

		if ((void *)(ip4 + 1) > end)
			return FLOW_OPEN;
		header_len = (ip4->version_ihl & 0x0f) * 4;
		if (ip4->version_ihl >> 4 != 4 || header_len < sizeof(*ip4))
			return FLOW_OPEN;
		l4 = (void *)ip4 + header_len;
		if (l4 > end)
			return FLOW_OPEN;
		proto = ip4->proto;
		has_ports = !(ip4->frag & IPV4_FRAG_OFFSET);
		key->saddr[2] = NET32(0xffff);
		key->saddr[3] = ip4->src;
		key->daddr[2] = NET32(0xffff);
		key->daddr[3] = ip4->dst;
	} else if (eth->type == ETHERTYPE_IPV6) {
		struct ipv6 *ip6 = (void *)(eth + 1);

		if ((void *)(ip6 + 1) > end)
			return FLOW_OPEN;
		if ((ip6->version_class_label & NET32(0xf0000000)) != NET32(0x60000000))
			return FLOW_OPEN;
		l4 = ip6 + 1;
		proto = ip6->next_header;
		__builtin_memcpy(key->saddr, ip6->src, sizeof(key->saddr));
		__builtin_memcpy(key->daddr, ip6->dst, sizeof(key->daddr));
	} else {
		return FLOW_OPEN;
	}

	key->proto = proto;
	if (!has_ports)
		return FLOW_OPEN;

	if (proto == PROTO_TCP) {
		struct tcp *tcp = l4;

		if ((void *)(tcp + 1) > end)
			goto truncated;
		key->sport = tcp->sport;
		key->dport = tcp->dport;
		if (tcp->flags & (TCP_FIN | TCP_RST))
			return FLOW_CLOSING;
	} else if (proto == PROTO_UDP) {
		struct udp *udp = l4;

		if ((void *)(udp + 1) > end)
			goto truncated;
		key->sport = udp->sport;
		key->dport = udp->dport;
	}
	return FLOW_OPEN;

truncated:
	__builtin_memset(key, 0, sizeof(*key));
	return FLOW_OPEN;
}

// Bytes that each packet took beyond those handed to the program: the frame
// check sequence, which the network card strips. A loader may set another value
// before the program is loaded.
const volatile u32 frame_overhead = 4;

static __always_inline u32 frame_bytes(struct xdp_md *ctx)
{
	u64 bytes = (void *)(long)ctx->data_end - (void *)(long)ctx->data;

	// Keeps the compiler from subtracting the pointers' lower halves only,
	// which not every verifier allows.
	asm volatile("" : "+r"(bytes));
	return bytes + frame_overhead;
}

#endif

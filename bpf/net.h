// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The packet headers that the flow programs read, and their constants in
// network byte order (the BPF target is little-endian).
#ifndef HITLESS_NET_H
#define HITLESS_NET_H

#include "hitless.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the constants below are for little-endian targets"
#endif
#define NET16(x) ((u16)((((x) & 0xff) << 8) | (((x) >> 8) & 0xff)))
#define NET32(x) __builtin_bswap32(x)

enum { ETHERTYPE_IPV4 = NET16(0x0800), ETHERTYPE_IPV6 = NET16(0x86dd) };

enum { PROTO_TCP = 6, PROTO_UDP = 17 };

struct ether {
	u8 dst[6];
	u8 src[6];
	u16 type;
};

struct ipv4 {
	u8 version_ihl;
	u8 tos;
	u16 total_len;
	u16 id;
	u16 frag; // flags and fragment offset
	u8 ttl;
	u8 proto;
	u16 checksum;
	u32 src;
	u32 dst;
};

enum { IPV4_FRAG_OFFSET = NET16(0x1fff) };

struct ipv6 {
	u32 version_class_label;
	u16 payload_len;
	u8 next_header;
	u8 hop_limit;
	u32 src[4];
	u32 dst[4];
};

struct tcp {
	u16 sport;
	u16 dport;
	u32 seq;
	u32 ack;
	u8 offset;
	u8 flags;
	u16 window;
	u16 checksum;
	u16 urgent;
};

enum { TCP_FIN = 0x01, TCP_RST = 0x04 };

struct udp {
	u16 sport;
	u16 dport;
	u16 len;
	u16 checksum;
};

#endif

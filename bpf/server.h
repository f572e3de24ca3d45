// SPDX-License-Identifier: MIT OR Apache-2.0
// Made by hitless.
//
// Programs:
//
//	SEC("hook/request") int NAME(struct request *ctx)
#ifndef SERVER_H
#define SERVER_H

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

typedef unsigned int __u32;

typedef __u32 u32;

typedef long long unsigned int __u64;

typedef __u64 u64;

struct hitless_bytes {
	void *data;
	void *data_end;
};

struct request {
	u32 client;
	u32 trusted;
	u64 now_ns;
	struct hitless_bytes path;
};

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* SERVER_H */

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The second version, an upgrade of filter_v1 that goes on with its counts:
//
//   - the counters of a client are 64 bits wide and stand in another order,
//     `served` is now called `passed`;
//   - it keeps how many bytes of paths a client has asked for;
//   - the map holds four times as many clients;
//   - the globals stand in another order.
#include "hitless.h"
#include "server.h"

struct client {
	u64 path_bytes;
	u64 window;
	u64 in_window;
	u64 refused;
	u64 passed WAS(served);
};

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct client);
} clients SEC(".maps");

const volatile u64 window_ns = 1000000000;
const volatile u32 limit = 100;

u64 uncounted = 0;
u64 requests = 0;
u64 denied = 0;

#define CLIENT_SERVED passed
#define CLIENT_PATH_BYTES path_bytes
#include "filter.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

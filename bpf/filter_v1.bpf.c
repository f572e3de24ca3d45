// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A plugin of the example server (crates/hitless/examples/server), first version:
// keeps strangers out of /admin, and lets each client send so many requests in a
// window of time.
//
// Every request is counted in exactly one place, so that at any quiet moment
//
//	sum of clients[*].served + clients[*].refused + denied + uncounted == requests
//
// whatever version counted it.
#include "hitless.h"
#include "server.h"

struct client {
	u32 served;
	u32 refused;
	u64 window; // number of the window that in_window counts in
	u64 in_window;
};

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, struct client);
} clients SEC(".maps");

// Set by the server before it loads the plugin.
const volatile u32 limit = 100;	    // requests in a window
const volatile u64 window_ns = 1000000000;

u64 requests = 0;
u64 denied = 0;	   // for their path
u64 uncounted = 0; // no element to count them in

#define CLIENT_SERVED served
#include "filter.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The program that both versions of the filter share. They differ in the layout of
// `struct client`, in the name of one of its fields, CLIENT_SERVED, and in whether
// it has CLIENT_PATH_BYTES.
#ifndef HITLESS_FILTER_H
#define HITLESS_FILTER_H

enum { PASS = 0, FORBIDDEN = 403, TOO_MANY_REQUESTS = 429 };

static const char admin[] = {'/', 'a', 'd', 'm', 'i', 'n'};

static __always_inline int is_admin(const struct request *ctx)
{
	const u8 *path = ctx->path.data;

	if (path + sizeof(admin) > (const u8 *)ctx->path.data_end)
		return 0;
	for (u32 i = 0; i < sizeof(admin); i++)
		if (path[i] != admin[i])
			return 0;
	return 1;
}

// The client's element, made if this is its first request.
static __always_inline struct client *client(u32 id)
{
	struct client *found = bpf_map_lookup_elem(&clients, &id);
	struct client first = {};

	if (found)
		return found;
	bpf_map_update_elem(&clients, &id, &first, BPF_NOEXIST);
	return bpf_map_lookup_elem(&clients, &id);
}

SEC("hook/request") int filter(struct request *ctx)
{
	u32 id = ctx->client;
	u64 window = window_ns ? ctx->now_ns / window_ns : 0;
	struct client *who;
	u64 before;

	__sync_fetch_and_add(&requests, 1);
	if (is_admin(ctx) && !ctx->trusted) {
		__sync_fetch_and_add(&denied, 1);
		return FORBIDDEN;
	}
	who = client(id);
	if (!who) {
		__sync_fetch_and_add(&uncounted, 1);
		return PASS;
	}
#ifdef CLIENT_PATH_BYTES
	__sync_fetch_and_add(&who->CLIENT_PATH_BYTES, (u64)ctx->path.data_end - (u64)ctx->path.data);
#endif
	// Whoever comes first in a new window starts its count.
	before = who->window;
	if (before < window && __sync_val_compare_and_swap(&who->window, before, window) == before)
		who->in_window = 0;
	if (__sync_fetch_and_add(&who->in_window, 1) >= limit) {
		__sync_fetch_and_add(&who->refused, 1);
		return TOO_MANY_REQUESTS;
	}
	__sync_fetch_and_add(&who->CLIENT_SERVED, 1);
	return PASS;
}

#endif

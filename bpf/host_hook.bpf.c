// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A plugin for a hook of the host's own. The structs are the host's, in
// crates/hitless/tests/host_hook.rs.
#include "hitless.h"

struct peer {
	u16 port;
	u8 address[4];
} __attribute__((preserve_access_index));

struct hitless_bytes {
	void *data;
	void *data_end;
} __attribute__((preserve_access_index));

struct request {
	u32 method;
	u32 status;
	struct peer peer;
	u8 path[16];
	struct hitless_bytes body;
} __attribute__((preserve_access_index));

// Decides: answers with the status, or lets the next program see it.
SEC("hook/request") int filter(struct request *ctx)
{
	u8 *body = ctx->body.data;

	if (ctx->method == 7 && ctx->peer.port == 443 && ctx->path[1] == 'x') {
		ctx->status = 403;
		return 1;
	}
	if (body + 2 > (u8 *)ctx->body.data_end)
		return 0;
	body[1] += body[0];
	return 0;
}

// Refused: the method is not writable.
SEC("?hook/request") int refused(struct request *ctx)
{
	ctx->method = 1;
	return 0;
}

SEC("?hook/reply") int elsewhere(struct request *ctx __attribute__((unused)))
{
	return 0;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Exception callbacks: functions that a program names by a tag and never calls. They
// come last in it.
#include "corpus.h"

LICENSE("GPL");

#define __exception_cb(name) __decl_tag("exception_callback:" #name)

static __noinline u64 helper(u64 cookie)
{
	return cookie * 3;
}

static __noinline u64 only_callback(u64 cookie)
{
	return helper(cookie) + 1;
}

__noinline u64 on_throw(u64 cookie)
{
	return only_callback(cookie) + 5;
}

__noinline u64 unused_callback(u64 cookie)
{
	return cookie;
}

SEC("tc") __exception_cb(on_throw) int throws(struct __sk_buff *ctx)
{
	return helper(ctx->len);
}

SEC("tc") int does_not(struct __sk_buff *ctx)
{
	return helper(ctx->len);
}

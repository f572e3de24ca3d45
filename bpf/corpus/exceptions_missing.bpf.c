// SPDX-License-Identifier: MIT OR Apache-2.0
//
// An exception callback that is not there.
#include "corpus.h"

LICENSE("GPL");

SEC("tc") __decl_tag("exception_callback:nowhere") int throws(struct __sk_buff *ctx)
{
	return ctx->len;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Global data that is nobody's interface: what is hidden or static is not for user
// space to map, unless something beside it is.
#include "corpus.h"

LICENSE("GPL");

u64 ours __hidden SEC(".bss.private");
static volatile u64 mine SEC(".bss.private");
u64 also_ours __hidden SEC(".data.shared") = 1;
u64 theirs SEC(".data.shared") = 2;
u64 long_name __hidden SEC(".bss.private.to.this.object");

SEC("xdp") int use(struct xdp_md *ctx __unused)
{
	long_name++;
	return ours++ + mine++ + also_ours++ + theirs++;
}

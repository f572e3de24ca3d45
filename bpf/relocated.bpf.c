// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Programs that depend on where they are loaded: fields that are elsewhere, or
// absent, in the target's types (CO-RE), and configuration options. Packets
// are read as a `struct frame`, whose layout is the target's.
#include "hitless.h"

#define __kconfig __attribute__((section(".kconfig")))
#define __weak __attribute__((weak))
#define field_exists(field) __builtin_preserve_field_info(field, 2)
#define enumerator_exists(type, name) __builtin_preserve_enum_value(*(typeof(type) *)name, 0)

// In the target, `verdict` may lie anywhere, and be wider or narrower.
struct frame___ours {
	u32 verdict;
	u32 no_such_field;
} __attribute__((preserve_access_index));

// The runtime's own, in part.
enum bpf_func_id___ours { BPF_FUNC_map_lookup_elem = 1, BPF_FUNC_setsockopt = 49 };

extern unsigned int LINUX_KERNEL_VERSION __kconfig;
extern unsigned int CONFIG_HZ __kconfig __weak;

// The packet, of which the first 64 bytes are there.
#define FRAME(ctx)                                                      \
	({                                                              \
		void *data = (void *)(long)(ctx)->data;                 \
		if (data + 64 > (void *)(long)(ctx)->data_end)          \
			return XDP_ABORTED;                             \
		(struct frame___ours *)data;                            \
	})

// Does what the packet says.
SEC("xdp") int obey(struct xdp_md *ctx)
{
	struct frame___ours *frame = FRAME(ctx);

	return frame->verdict;
}

// Tests before it uses what may be missing.
SEC("xdp") int guarded(struct xdp_md *ctx)
{
	struct frame___ours *frame = FRAME(ctx);

	if (field_exists(frame->no_such_field))
		return frame->no_such_field;
	return XDP_TX;
}

// Does not.
SEC("?xdp") int unguarded(struct xdp_md *ctx)
{
	struct frame___ours *frame = FRAME(ctx);

	return frame->no_such_field;
}

// Tells what the runtime has.
SEC("xdp") int features(struct xdp_md *ctx __attribute__((unused)))
{
	if (!enumerator_exists(enum bpf_func_id___ours, BPF_FUNC_map_lookup_elem))
		return XDP_ABORTED;
	return enumerator_exists(enum bpf_func_id___ours, BPF_FUNC_setsockopt) ? XDP_DROP : XDP_PASS;
}

SEC("xdp") int options(struct xdp_md *ctx __attribute__((unused)))
{
	if (LINUX_KERNEL_VERSION < (6 << 16))
		return XDP_ABORTED;
	return CONFIG_HZ == 250 ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

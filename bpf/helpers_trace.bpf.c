// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Helpers that print into the trace. They are not run by Linux, where the trace
// is the machine's.
#include "helpers.h"

SEC("xdp") int trace(struct xdp_md *ctx)
{
	static const char format[] = "%s has %d, %pI4\n";
	u32 len = read_input(ctx);
	u64 args[3];

	args[0] = (u64)(long)input.text;
	args[1] = 42;
	args[2] = (u64)(long)input.words;

	answers[0] = bpf_trace_printk(format, sizeof(format), args[0], args[1], args[2]);
	answers[1] = bpf_trace_vprintk(format, sizeof(format), args, sizeof(args));
	return len ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int trace_errors(struct xdp_md *ctx)
{
	static const char unended[] = { 'a', 'b' };
	static const char unknown[] = "%f";
	static const char many[] = "%d %d %d %d";
	u64 args[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13 };

	answers[0] = bpf_trace_printk(unended, sizeof(unended));
	answers[1] = bpf_trace_printk(unknown, sizeof(unknown));
	answers[2] = bpf_trace_printk(many, sizeof(many), 1, 2, 3);
	answers[3] = bpf_trace_vprintk(many, sizeof(many), args, 24);
	answers[4] = bpf_trace_vprintk(many, sizeof(many), args, 33);
	answers[5] = bpf_trace_vprintk(many, sizeof(many), args, 104);
	return ctx->ingress_ifindex ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

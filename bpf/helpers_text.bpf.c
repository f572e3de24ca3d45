// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Helpers that read and write text.
#include "helpers.h"

#define TEXT (INPUT - 32)

SEC("xdp") int numbers(struct xdp_md *ctx)
{
	s64 value = 7;
	u64 natural = 7;
	u32 len = read_input(ctx) - 32;

	if (len == 0 || len > TEXT)
		return XDP_DROP;
	answers[0] = bpf_strtol((char *)input.text, len, input.words[0], &value);
	answers[1] = value;
	answers[2] = bpf_strtoul((char *)input.text, len, input.words[0], &natural);
	answers[3] = natural;
	return XDP_PASS;
}

static const char constant[] = "constant";
static const char empty[] = "";

SEC("xdp") int compare(struct xdp_md *ctx)
{
	u32 len = read_input(ctx) - 32;

	if (len == 0 || len > TEXT)
		return XDP_DROP;
	answers[0] = bpf_strncmp((char *)input.text, len, constant);
	answers[1] = bpf_strncmp((char *)input.text, len, empty);
	return XDP_PASS;
}

SEC("xdp") int checksum(struct xdp_md *ctx)
{
	u32 from = input.words[0], to = input.words[1], seed = input.words[2];

	read_input(ctx);
	from = input.words[0], to = input.words[1], seed = input.words[2];
	if (from > TEXT / 2 || to > TEXT / 2)
		return XDP_DROP;
	answers[0] = bpf_csum_diff(input.text, from, input.text + TEXT / 2, to, seed);
	answers[1] = bpf_csum_diff((void *)0, 0, input.text, to, seed);
	answers[2] = bpf_csum_diff(input.text, from, (void *)0, 0, seed);
	return XDP_PASS;
}

SEC("xdp") int probe(struct xdp_md *ctx)
{
	u32 len = read_input(ctx);

	__builtin_memset(bytes, '#', sizeof(bytes));
	answers[0] = bpf_probe_read_kernel(bytes, 64, &input);
	answers[1] = bpf_probe_read_kernel_str(bytes + 64, 64, input.text);
	answers[2] = bpf_probe_read_kernel_str(bytes + 128, 4, input.text);
	answers[3] = bpf_probe_read_kernel_str(bytes + 192, 0, input.text);
	answers[4] = bpf_probe_read_user(bytes + 256, 16, (void *)16);
	answers[5] = bpf_probe_read_user_str(bytes + 320, 16, (void *)16);
	answers[6] = bpf_probe_read_user(bytes + 384, 0, (void *)16);
	answers[7] = bpf_probe_read_kernel(bytes + 448, 16, (void *)0xffff800000000000);
	answers[8] = bpf_probe_read_kernel_str(bytes + 512, 16, (void *)0xffff800000000000);
	return len ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

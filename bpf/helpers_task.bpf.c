// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Helpers that tell the time and who runs the program.
#include "helpers.h"

SEC("xdp") int clocks(struct xdp_md *ctx)
{
	answers[0] = bpf_ktime_get_ns();
	answers[1] = bpf_ktime_get_boot_ns();
	answers[2] = bpf_ktime_get_coarse_ns();
	answers[3] = bpf_ktime_get_tai_ns();
	answers[4] = bpf_jiffies64();
	answers[5] = bpf_get_prandom_u32();
	return ctx->ingress_ifindex ? XDP_PASS : XDP_DROP;
}

SEC("xdp") int who(struct xdp_md *ctx)
{
	read_input(ctx);
	__builtin_memset(bytes, '#', sizeof(bytes));
	answers[0] = bpf_get_current_pid_tgid();
	answers[1] = bpf_get_current_uid_gid();
	answers[2] = bpf_get_current_comm(bytes, 16);
	answers[3] = bpf_get_current_comm(bytes + 32, 4);
	answers[4] = bpf_get_current_comm(bytes + 64, 24);
	answers[5] = bpf_get_smp_processor_id();
	answers[6] = bpf_get_numa_node_id();
	answers[7] = bpf_get_current_cgroup_id();
	answers[8] = bpf_get_current_ancestor_cgroup_id(0);
	answers[9] = bpf_get_current_ancestor_cgroup_id(-1);
	answers[10] = bpf_get_current_ancestor_cgroup_id(1000);
	answers[11] = bpf_get_ns_current_pid_tgid(input.words[0], input.words[1], bytes + 128, 8);
	answers[12] = bpf_get_ns_current_pid_tgid(input.words[0], input.words[1], bytes + 160, 12);
	answers[13] = bpf_get_ns_current_pid_tgid(input.words[0], 1, bytes + 192, 8);
	answers[14] = bpf_send_signal(0);
	answers[15] = bpf_send_signal(65);
	answers[16] = bpf_send_signal_thread(0);
	answers[17] = bpf_send_signal_thread(-1);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

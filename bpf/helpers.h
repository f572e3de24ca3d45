// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Helpers for programs that are run both here and by Linux, which has to answer
// the same. What a program finds out it leaves in `answers`, which tests compare.
#ifndef HELPERS_H
#define HELPERS_H

#include "hitless.h"

#define ANSWERS 64

u64 answers[ANSWERS];
u8 bytes[1024]; // what helpers wrote

// Input: the packet.
#define INPUT 512

struct input {
	u64 words[4];
	u8 text[INPUT - 32];
};

struct input input;

static long (*const bpf_probe_read)(void *to, u32 size, const void *from) = (void *)4;
static long (*const bpf_trace_printk)(const char *format, u32 size, ...) = (void *)6;
static u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;
static u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static u64 (*const bpf_get_current_uid_gid)(void) = (void *)15;
static long (*const bpf_get_current_comm)(void *to, u32 size) = (void *)16;
static s64 (*const bpf_csum_diff)(void *from, u32 from_size, void *to, u32 to_size, u32 seed) = (void *)28;
static long (*const bpf_get_numa_node_id)(void) = (void *)42;
static u64 (*const bpf_get_current_cgroup_id)(void) = (void *)80;
static long (*const bpf_strtol)(const char *text, u64 size, u64 flags, s64 *to) = (void *)105;
static long (*const bpf_strtoul)(const char *text, u64 size, u64 flags, u64 *to) = (void *)106;
static long (*const bpf_send_signal)(u32 signal) = (void *)109;
static long (*const bpf_probe_read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*const bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*const bpf_probe_read_user_str)(void *to, u32 size, const void *from) = (void *)114;
static long (*const bpf_probe_read_kernel_str)(void *to, u32 size, const void *from) = (void *)115;
static long (*const bpf_send_signal_thread)(u32 signal) = (void *)117;
static u64 (*const bpf_jiffies64)(void) = (void *)118;
static long (*const bpf_get_ns_current_pid_tgid)(u64 device, u64 inode, void *to, u32 size) = (void *)120;
static u64 (*const bpf_get_current_ancestor_cgroup_id)(int level) = (void *)123;
static u64 (*const bpf_ktime_get_boot_ns)(void) = (void *)125;
static u64 (*const bpf_ktime_get_coarse_ns)(void) = (void *)160;
static long (*const bpf_snprintf)(char *to, u32 size, const char *format, u64 *args, u32 len) = (void *)165;
static long (*const bpf_trace_vprintk)(const char *format, u32 size, const void *args, u32 len) = (void *)177;
static long (*const bpf_strncmp)(const char *text, u32 size, const char *constant) = (void *)182;
static u64 (*const bpf_ktime_get_tai_ns)(void) = (void *)208;

// Copies the packet to `input`; returns how much there is.
static __always_inline u32 read_input(struct xdp_md *ctx)
{
	u8 *data = (u8 *)(long)ctx->data, *end = (u8 *)(long)ctx->data_end;
	u32 len = 0;

	for (u32 i = 0; i < INPUT && data + i + 1 <= end; i++) {
		((u8 *)&input)[i] = data[i];
		len = i + 1;
	}
	return len;
}

#endif

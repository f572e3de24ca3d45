// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A policy over file descriptors: a process may write only to files that it was
// seen to open. The policy stands or falls with its map: if an upgrade lost an
// entry, a write to an open file would fail; if it brought one back, a write to a
// closed one would succeed.
//
// The including file defines `struct file` (which file of which process) and
// `struct usage` (`writes`).
#ifndef FD_POLICY_H
#define FD_POLICY_H

#include "hitless.h"

static u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;

enum { EACCES = 13 };

// Of x86-64, in the order of the kernel's.
struct pt_regs {
	u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di;
	u64 orig_ax, ip, cs, flags, sp, ss;
};

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 4096);
	__type(key, struct file);
	__type(value, struct usage);
} open_files SEC(".maps");

u64 refused_writes = 0;

SEC("kretprobe/__x64_sys_openat") int after_openat(struct pt_regs *ctx)
{
	s64 fd = ctx->ax;
	struct file file = {.pid = bpf_get_current_pid_tgid(), .fd = fd};
	struct usage usage = {};

	if (fd >= 0)
		bpf_map_update_elem(&open_files, &file, &usage, BPF_ANY);
	return 0;
}

// A system call is a function of the registers that it was made with.
SEC("fmod_ret/__x64_sys_write") int before_write(u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	struct file file = {.pid = bpf_get_current_pid_tgid(), .fd = regs->di};
	struct usage *usage = bpf_map_lookup_elem(&open_files, &file);

	if (!usage) {
		__sync_fetch_and_add(&refused_writes, 1);
		return -EACCES;
	}
	__sync_fetch_and_add(&usage->writes, 1);
	return 0;
}

SEC("fmod_ret/__x64_sys_close") int before_close(u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	struct file file = {.pid = bpf_get_current_pid_tgid(), .fd = regs->di};

	bpf_map_delete_elem(&open_files, &file);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#endif

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

// What the host, which stands for the kernel, tells of a system call.
struct syscall {
	u32 pid;
	u32 fd;
	s64 ret;
} __attribute__((preserve_access_index));

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 4096);
	__type(key, struct file);
	__type(value, struct usage);
} open_files SEC(".maps");

u64 refused_writes = 0;

SEC("hook/kretprobe/__x64_sys_openat") int after_openat(struct syscall *ctx)
{
	struct file file = {.pid = ctx->pid, .fd = ctx->ret};
	struct usage usage = {};

	if (ctx->ret >= 0)
		bpf_map_update_elem(&open_files, &file, &usage, BPF_ANY);
	return 0;
}

// Returns 1 to refuse the write.
SEC("hook/fmod_ret/__x64_sys_write") int before_write(struct syscall *ctx)
{
	struct file file = {.pid = ctx->pid, .fd = ctx->fd};
	struct usage *usage = bpf_map_lookup_elem(&open_files, &file);

	if (!usage) {
		__sync_fetch_and_add(&refused_writes, 1);
		return 1;
	}
	__sync_fetch_and_add(&usage->writes, 1);
	return 0;
}

SEC("hook/fmod_ret/__x64_sys_close") int before_close(struct syscall *ctx)
{
	struct file file = {.pid = ctx->pid, .fd = ctx->fd};

	bpf_map_delete_elem(&open_files, &file);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#endif

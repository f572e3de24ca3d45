// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Moves the files of fd_policy_v1 to the map of fd_policy_v2 while the policy is in
// force, as the RFC "Introduce BPF map tracing" does it: tracers repeat every change,
// and an iterator copies what was there before. Both maps are given by whoever loads
// this.
#include "iter.h"

struct old_file {
	u32 pid;
	u32 fd;
};

struct old_usage {
	u32 writes;
};

struct new_file {
	u32 fd;
	u32 pid;
};

struct new_usage {
	u64 opened_at;
	u64 writes;
};

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 4096);
	__type(key, struct old_file);
	__type(value, struct old_usage);
} old_files SEC(".maps");

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 4096);
	__type(key, struct new_file);
	__type(value, struct new_usage);
} new_files SEC(".maps");

u64 copied = 0;
u64 failed = 0;

static __always_inline void copy(struct old_file *file, struct old_usage *usage)
{
	struct new_file to = {.fd = file->fd, .pid = file->pid};
	struct new_usage moved = {.writes = usage->writes};

	if (bpf_map_update_elem(&new_files, &to, &moved, BPF_ANY))
		__sync_fetch_and_add(&failed, 1);
}

// To be attached first: what the other one has brought over must not miss a delete.
MAP_TRACE(old_files, DELETE_ELEM) int on_delete(struct bpf_map_trace_ctx__delete_elem *ctx)
{
	struct old_file *file = ctx->key;
	struct new_file gone;

	if (!file)
		return 0;
	gone.fd = file->fd;
	gone.pid = file->pid;
	bpf_map_delete_elem(&new_files, &gone);
	return 0;
}

MAP_TRACE(old_files, UPDATE_ELEM) int on_update(struct bpf_map_trace_ctx__update_elem *ctx)
{
	struct old_file *file = ctx->key;
	struct old_usage *usage = ctx->value;

	if (file && usage)
		copy(file, usage);
	return 0;
}

SEC("iter/bpf_map_elem") int bulk_copy(struct bpf_iter__bpf_map_elem *ctx)
{
	struct old_file *file = ctx->key;
	struct old_usage *usage = ctx->value;

	if (!file || !usage) {
		BPF_SEQ_PRINTF(ctx->meta->seq, "copied %llu\n", copied);
		return 0;
	}
	copy(file, usage);
	copied++;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

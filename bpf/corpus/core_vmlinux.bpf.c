// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Types that every kernel of the last years has, in parts.
#include "corpus.h"

LICENSE("GPL");

RESULTS(32);

typedef int pid_t;

struct mm_struct {
	struct {
		u64 total_vm;
	};
} __preserve_access_index;

struct task_struct {
	pid_t pid;
	pid_t tgid;
	char comm[16];
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct mm_struct *mm;
	u64 start_time;
	unsigned in_execve : 1;
	unsigned sched_reset_on_fork : 1;
	unsigned no_such_field;
} __preserve_access_index;

struct task_struct___old {
	long state;
} __preserve_access_index;

struct task_struct___new {
	u32 __state;
} __preserve_access_index;

struct net_device {
	int ifindex;
	char name[16];
} __preserve_access_index;

struct sk_buff {
	u32 len;
	u16 protocol;
	u8 pkt_type : 3;
	struct net_device *dev;
	unsigned char *head;
} __preserve_access_index;

enum bpf_map_type { BPF_MAP_TYPE_HASH = 101, BPF_MAP_TYPE_NO_SUCH = 102 };
enum no_such_enum { NO_SUCH_VALUE };

struct no_such_struct {
	u32 a;
};

SEC("raw_tp") int task(void *ctx __unused)
{
	struct task_struct *task = bpf_get_current_task_btf();

	results[0] = task->pid;
	results[1] = task->group_leader->tgid;
	results[2] = BPF_CORE_READ(task, start_time);
	results[3] = (u64)BPF_CORE_READ(task, mm);
	if (bpf_core_field_exists(struct task_struct___old, state))
		results[4] = ((struct task_struct___old *)task)->state;
	else
		results[4] = ((struct task_struct___new *)task)->__state;
	results[5] = BPF_CORE_READ_BITFIELD(task, in_execve);
	results[6] = BPF_CORE_READ_BITFIELD(task, sched_reset_on_fork);
	results[7] = bpf_core_field_exists(struct task_struct, no_such_field);
	results[8] = bpf_core_field_size(struct task_struct, comm);
	results[9] = task->comm[2];
	results[10] = bpf_core_field_offset(struct mm_struct, total_vm);
	return 0;
}

SEC("raw_tp") int packet(void *ctx)
{
	struct sk_buff *skb = *(struct sk_buff **)ctx;

	results[0] = skb->len;
	results[1] = skb->protocol;
	results[2] = BPF_CORE_READ_BITFIELD(skb, pkt_type);
	results[3] = skb->dev->ifindex;
	results[4] = (u64)skb->head;
	return 0;
}

SEC("raw_tp") int types(void *ctx __unused)
{
	results[0] = bpf_core_type_id_kernel(struct task_struct);
	results[1] = bpf_core_type_size(struct task_struct);
	results[2] = bpf_core_type_exists(struct no_such_struct);
	results[3] = bpf_core_type_exists(struct sk_buff);
	results[4] = bpf_core_type_matches(struct net_device);
	results[5] = bpf_core_enum_value(enum bpf_map_type, BPF_MAP_TYPE_HASH);
	results[6] = bpf_core_enum_value_exists(enum bpf_map_type, BPF_MAP_TYPE_NO_SUCH);
	results[7] = bpf_core_enum_value_exists(enum no_such_enum, NO_SUCH_VALUE);
	results[8] = bpf_core_type_id_kernel(pid_t);
	return 0;
}

// Without asking first.
SEC("raw_tp") int poisoned(void *ctx __unused)
{
	struct task_struct *task = bpf_get_current_task_btf();

	results[0] = task->no_such_field;
	return 0;
}

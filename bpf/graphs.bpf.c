// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Objects that programs allocate, in lists and trees. What begins with bad_ a verifier must refuse.
#include "net.h"
#include "objects.h"

struct __sk_buff;

enum { TC_ACT_OK = 0 };

// What can be in a list and in a tree at once is counted.
struct flow {
	u64 packets;
	u64 port;
	struct bpf_list_node recent;
	struct bpf_rb_node by_port;
	struct bpf_refcount users;
};

// What can be in a list only.
struct event {
	struct bpf_list_node node;
	u64 time;
};

struct stash {
	struct event KPTR *event;
	struct flow KPTR *flow;
};

struct {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct stash);
} stashed SEC(".maps");

struct queue {
	struct bpf_spin_lock lock;
	u32 length;
	struct bpf_list_head events CONTAINS(event, node);
};

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, struct queue);
} queues SEC(".maps");

PRIVATE(A) struct bpf_spin_lock lock;
PRIVATE(A) struct bpf_list_head recent CONTAINS(flow, recent);
PRIVATE(A) struct bpf_rb_root by_port CONTAINS(flow, by_port);

PRIVATE(B) struct bpf_spin_lock other_lock;
PRIVATE(B) struct bpf_list_head events CONTAINS(event, node);

u64 last;

static _Bool less(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	return container_of(a, struct flow, by_port)->port < container_of(b, struct flow, by_port)->port;
}

static _Bool less_that_unlocks(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	(void)a, (void)b;
	bpf_spin_unlock(&lock);
	return 0;
}

static _Bool less_that_removes(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	struct bpf_rb_node *node = bpf_rbtree_remove(&by_port, a);

	(void)b;
	if (node)
		last++;
	return 0;
}

SEC("tc") int new_and_drop(struct __sk_buff *skb __attribute__((unused)))
{
	struct flow *flow = obj_new(struct flow);

	if (!flow)
		return TC_ACT_OK;
	flow->packets = 1;
	__sync_fetch_and_add(&flow->packets, 1);
	last = flow->packets;
	obj_drop(flow);
	return TC_ACT_OK;
}

SEC("tc") int bad_not_dropped(struct __sk_buff *skb __attribute__((unused)))
{
	struct flow *flow = obj_new(struct flow);

	if (flow)
		flow->packets = 1;
	return TC_ACT_OK;
}

SEC("tc") int bad_maybe_null(struct __sk_buff *skb __attribute__((unused)))
{
	struct flow *flow = obj_new(struct flow);

	flow->packets = 1;
	if (flow)
		obj_drop(flow);
	return TC_ACT_OK;
}

SEC("tc") int bad_after_drop(struct __sk_buff *skb __attribute__((unused)))
{
	struct flow *flow = obj_new(struct flow);

	if (!flow)
		return TC_ACT_OK;
	obj_drop(flow);
	return flow->packets;
}

SEC("tc") int bad_dropped_twice(struct __sk_buff *skb __attribute__((unused)))
{
	struct flow *flow = obj_new(struct flow);

	if (!flow)
		return TC_ACT_OK;
	obj_drop(flow);
	obj_drop(flow);
	return TC_ACT_OK;
}

SEC("tc") int bad_beyond(struct __sk_buff *skb __attribute__((unused)))
{
	struct event *event = obj_new(struct event);

	if (!event)
		return TC_ACT_OK;
	(&event->time)[1] = 1;
	obj_drop(event);
	return TC_ACT_OK;
}

SEC("tc") int bad_touches_node(struct __sk_buff *skb __attribute__((unused)))
{
	struct event *event = obj_new(struct event);

	if (!event)
		return TC_ACT_OK;
	event->node.opaque[1] = 1;
	obj_drop(event);
	return TC_ACT_OK;
}

SEC("tc") int bad_drops_a_part(struct __sk_buff *skb __attribute__((unused)))
{
	struct event *event = obj_new(struct event);

	if (event)
		obj_drop(&event->time);
	return TC_ACT_OK;
}

SEC("tc") int push_and_pop(struct __sk_buff *skb __attribute__((unused)))
{
	struct event *event = obj_new(struct event);
	struct bpf_list_node *node;

	if (!event)
		return TC_ACT_OK;
	event->time = bpf_ktime_get_ns();
	bpf_spin_lock(&other_lock);
	bpf_list_push_front_impl(&events, &event->node, 0, 0);
	// The lock still keeps it.
	last = event->time;
	node = bpf_list_pop_front(&events);
	bpf_spin_unlock(&other_lock);
	if (node)
		obj_drop(container_of(node, struct event, node));
	return TC_ACT_OK;
}

SEC("tc") int bad_after_unlock(struct __sk_buff *skb __attribute__((unused)))
{
	struct event *event = obj_new(struct event);

	if (!event)
		return TC_ACT_OK;
	bpf_spin_lock(&other_lock);
	bpf_list_push_front_impl(&events, &event->node, 0, 0);
	bpf_spin_unlock(&other_lock);
	return event->time;
}

SEC("tc") int bad_without_lock(struct __sk_buff *skb __attribute__((unused)))
{
	struct event *event = obj_new(struct event);

	if (event)
		bpf_list_push_front_impl(&events, &event->node, 0, 0);
	return TC_ACT_OK;
}

SEC("tc") int bad_other_lock(struct __sk_buff *skb __attribute__((unused)))
{
	struct event *event = obj_new(struct event);

	if (!event)
		return TC_ACT_OK;
	bpf_spin_lock(&lock);
	bpf_list_push_front_impl(&events, &event->node, 0, 0);
	bpf_spin_unlock(&lock);
	return TC_ACT_OK;
}

SEC("tc") int bad_other_list(struct __sk_buff *skb __attribute__((unused)))
{
	struct event *event = obj_new(struct event);

	if (!event)
		return TC_ACT_OK;
	bpf_spin_lock(&lock);
	bpf_list_push_front_impl(&recent, &event->node, 0, 0);
	bpf_spin_unlock(&lock);
	return TC_ACT_OK;
}

SEC("tc") int bad_pushed_twice(struct __sk_buff *skb __attribute__((unused)))
{
	struct event *event = obj_new(struct event);

	if (!event)
		return TC_ACT_OK;
	bpf_spin_lock(&other_lock);
	bpf_list_push_front_impl(&events, &event->node, 0, 0);
	bpf_list_push_front_impl(&events, &event->node, 0, 0);
	bpf_spin_unlock(&other_lock);
	return TC_ACT_OK;
}

SEC("tc") int bad_new_under_lock(struct __sk_buff *skb __attribute__((unused)))
{
	struct event *event;

	bpf_spin_lock(&other_lock);
	event = obj_new(struct event);
	bpf_spin_unlock(&other_lock);
	if (event)
		obj_drop(event);
	return TC_ACT_OK;
}

SEC("tc") int bad_popped_and_lost(struct __sk_buff *skb __attribute__((unused)))
{
	bpf_spin_lock(&other_lock);
	if (bpf_list_pop_front(&events))
		last++;
	bpf_spin_unlock(&other_lock);
	return TC_ACT_OK;
}

// The lock of one queue is none of another's.
SEC("tc") int queue_of_a_map(struct __sk_buff *skb __attribute__((unused)))
{
	u32 key = 1;
	struct queue *queue = bpf_map_lookup_elem(&queues, &key);
	struct event *event;

	if (!queue)
		return TC_ACT_OK;
	event = obj_new(struct event);
	if (!event)
		return TC_ACT_OK;
	bpf_spin_lock(&queue->lock);
	queue->length++;
	bpf_list_push_front_impl(&queue->events, &event->node, 0, 0);
	bpf_spin_unlock(&queue->lock);
	return TC_ACT_OK;
}

SEC("tc") int bad_queue_of_another_value(struct __sk_buff *skb __attribute__((unused)))
{
	u32 key = 1;
	struct queue *queue = bpf_map_lookup_elem(&queues, &key);
	struct queue *another = bpf_map_lookup_elem(&queues, &key);
	struct event *event;

	if (!queue || !another)
		return TC_ACT_OK;
	event = obj_new(struct event);
	if (!event)
		return TC_ACT_OK;
	bpf_spin_lock(&queue->lock);
	bpf_list_push_front_impl(&another->events, &event->node, 0, 0);
	bpf_spin_unlock(&queue->lock);
	return TC_ACT_OK;
}

SEC("tc") int bad_list_written(struct __sk_buff *skb __attribute__((unused)))
{
	u32 key = 1;
	struct queue *queue = bpf_map_lookup_elem(&queues, &key);

	if (queue)
		queue->events.opaque[0] = 1;
	return TC_ACT_OK;
}

SEC("tc") int tree(struct __sk_buff *skb __attribute__((unused)))
{
	struct flow *flow = obj_new(struct flow);
	struct bpf_rb_node *node;

	if (!flow)
		return TC_ACT_OK;
	flow->port = 80;
	bpf_spin_lock(&lock);
	bpf_rbtree_add_impl(&by_port, &flow->by_port, less, 0, 0);
	node = bpf_rbtree_first(&by_port);
	if (!node) {
		bpf_spin_unlock(&lock);
		return TC_ACT_OK;
	}
	last = container_of(node, struct flow, by_port)->port;
	node = bpf_rbtree_remove(&by_port, node);
	// What was removed is aliased by what is still kept.
	flow->packets++;
	bpf_spin_unlock(&lock);
	if (node)
		obj_drop(container_of(node, struct flow, by_port));
	return TC_ACT_OK;
}

SEC("tc") int bad_first_after_unlock(struct __sk_buff *skb __attribute__((unused)))
{
	struct bpf_rb_node *node;

	bpf_spin_lock(&lock);
	node = bpf_rbtree_first(&by_port);
	bpf_spin_unlock(&lock);
	if (node)
		last = container_of(node, struct flow, by_port)->port;
	return TC_ACT_OK;
}

SEC("tc") int bad_first_dropped(struct __sk_buff *skb __attribute__((unused)))
{
	struct bpf_rb_node *node;

	bpf_spin_lock(&lock);
	node = bpf_rbtree_first(&by_port);
	if (node)
		obj_drop(container_of(node, struct flow, by_port));
	bpf_spin_unlock(&lock);
	return TC_ACT_OK;
}

SEC("tc") int bad_less_unlocks(struct __sk_buff *skb __attribute__((unused)))
{
	struct flow *flow = obj_new(struct flow);

	if (!flow)
		return TC_ACT_OK;
	bpf_spin_lock(&lock);
	bpf_rbtree_add_impl(&by_port, &flow->by_port, less_that_unlocks, 0, 0);
	bpf_spin_unlock(&lock);
	return TC_ACT_OK;
}

SEC("tc") int bad_less_removes(struct __sk_buff *skb __attribute__((unused)))
{
	struct flow *flow = obj_new(struct flow);

	if (!flow)
		return TC_ACT_OK;
	bpf_spin_lock(&lock);
	bpf_rbtree_add_impl(&by_port, &flow->by_port, less_that_removes, 0, 0);
	bpf_spin_unlock(&lock);
	return TC_ACT_OK;
}

SEC("tc") int counted(struct __sk_buff *skb __attribute__((unused)))
{
	struct flow *flow = obj_new(struct flow), *again;

	if (!flow)
		return TC_ACT_OK;
	// There is one reference, so there can be another.
	again = bpf_refcount_acquire_impl(flow, 0);
	again->port = 443;
	bpf_spin_lock(&lock);
	bpf_rbtree_add_impl(&by_port, &flow->by_port, less, 0, 0);
	bpf_list_push_front_impl(&recent, &again->recent, 0, 0);
	bpf_spin_unlock(&lock);
	return TC_ACT_OK;
}

SEC("tc") int bad_not_counted(struct __sk_buff *skb __attribute__((unused)))
{
	struct event *event = obj_new(struct event), *again;

	if (!event)
		return TC_ACT_OK;
	again = bpf_refcount_acquire_impl(event, 0);
	obj_drop(event);
	if (again)
		obj_drop(again);
	return TC_ACT_OK;
}

SEC("tc") int bad_acquired_maybe_null(struct __sk_buff *skb __attribute__((unused)))
{
	struct bpf_rb_node *node;
	struct flow *flow;

	bpf_spin_lock(&lock);
	node = bpf_rbtree_first(&by_port);
	if (!node) {
		bpf_spin_unlock(&lock);
		return TC_ACT_OK;
	}
	flow = bpf_refcount_acquire_impl(container_of(node, struct flow, by_port), 0);
	bpf_spin_unlock(&lock);
	last = flow->port;
	obj_drop(flow);
	return TC_ACT_OK;
}

SEC("tc") int stash(struct __sk_buff *skb __attribute__((unused)))
{
	u32 key = 0;
	struct stash *stash = bpf_map_lookup_elem(&stashed, &key);
	struct event *event;

	if (!stash)
		return TC_ACT_OK;
	event = obj_new(struct event);
	if (!event)
		return TC_ACT_OK;
	event = bpf_kptr_xchg(&stash->event, event);
	if (event)
		obj_drop(event);
	return TC_ACT_OK;
}

SEC("tc") int bad_stash_of_another_type(struct __sk_buff *skb __attribute__((unused)))
{
	u32 key = 0;
	struct stash *stash = bpf_map_lookup_elem(&stashed, &key);
	struct event *event;
	struct flow *old;

	if (!stash)
		return TC_ACT_OK;
	event = obj_new(struct event);
	if (!event)
		return TC_ACT_OK;
	old = bpf_kptr_xchg(&stash->flow, event);
	if (old)
		obj_drop(old);
	return TC_ACT_OK;
}

SEC("tc") int look_at_stash(struct __sk_buff *skb __attribute__((unused)))
{
	u32 key = 0;
	struct stash *stash = bpf_map_lookup_elem(&stashed, &key);
	struct flow *flow;

	if (!stash)
		return TC_ACT_OK;
	bpf_rcu_read_lock();
	flow = stash->flow;
	if (flow) {
		last = flow->port;
		flow = bpf_refcount_acquire_impl(flow, 0);
		if (flow)
			obj_drop(flow);
	}
	bpf_rcu_read_unlock();
	return TC_ACT_OK;
}

SEC("tc") int bad_kept_by_no_lock(struct __sk_buff *skb __attribute__((unused)))
{
	u32 key = 0;
	struct stash *stash = bpf_map_lookup_elem(&stashed, &key);
	struct flow *flow;

	if (!stash)
		return TC_ACT_OK;
	flow = stash->flow;
	if (!flow)
		return TC_ACT_OK;
	bpf_spin_lock(&lock);
	bpf_spin_unlock(&lock);
	// Linux takes what a list could keep for kept by the lock.
	last = flow->port;
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Objects that programs allocate: what becomes of them in maps, lists and trees.
#include "skb.h"
#include "objects.h"

// Can be in a list and in a tree at once, so it is counted.
struct flow {
	u64 packets;
	u64 port;
	struct bpf_list_node recent;
	struct bpf_rb_node by_port;
	struct bpf_refcount users;
};

// Can be in a list only.
struct event {
	struct bpf_list_node node;
	u64 time;
};

struct stash {
	u64 count;
	struct event KPTR *event;
	struct flow KPTR *flow;
};

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct stash);
} stashes SEC(".maps");

struct {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, struct stash);
} places SEC(".maps");

// Of eight bytes all of which are a pointer.
struct only {
	struct event KPTR *event;
};

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct only);
} small SEC(".maps");

struct {
	__uint(type, 6);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, struct only);
} slots SEC(".maps");

struct {
	__uint(type, 9);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, struct only);
} least_recent SEC(".maps");

struct queue {
	struct bpf_spin_lock lock;
	u32 length;
	struct bpf_list_head events CONTAINS(event, node);
	struct bpf_rb_root flows CONTAINS(flow, by_port);
};

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct queue);
} queues SEC(".maps");

PRIVATE(A) struct bpf_spin_lock lock;
PRIVATE(A) struct bpf_list_head recent CONTAINS(flow, recent);
PRIVATE(A) struct bpf_rb_root by_port CONTAINS(flow, by_port);

static _Bool less(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	return container_of(a, struct flow, by_port)->port < container_of(b, struct flow, by_port)->port;
}

static __always_inline struct event *new_event(u64 time)
{
	struct event *event = obj_new(struct event);

	if (event)
		event->time = time;
	return event;
}

static __always_inline u64 drop_event(struct event *event)
{
	u64 time = -1;

	if (event) {
		time = event->time;
		obj_drop(event);
	}
	return time;
}

// cb[0]: a number. New objects are zeros, and are written and read as any memory.
SEC("tc") int allocate(struct __sk_buff *skb)
{
	struct flow *flow = obj_new(struct flow), *again;

	if (!flow)
		return 1;
	flow->port = skb->cb[0];
	flow->packets = 1;
	__sync_fetch_and_add(&flow->packets, skb->cb[0]);
	again = bpf_refcount_acquire_impl(flow, 0);
	again->port++;
	answers[0] = flow->packets;
	obj_drop(flow);
	answers[1] = again->port;
	obj_drop(again);
	return 0;
}

// cb: which map, key, time. Leaves an object in a map; answers with the one before.
SEC("tc") int leave(struct __sk_buff *skb)
{
	struct event *event = new_event(skb->cb[2]);
	u32 key = skb->cb[1];
	struct only *only = 0;
	struct stash *stash = 0;

	answers[0] = -2;
	if (!event)
		return 1;
	if (skb->cb[0] == 0)
		stash = bpf_map_lookup_elem(&stashes, &key);
	else if (skb->cb[0] == 1)
		stash = bpf_map_lookup_elem(&places, &key);
	else if (skb->cb[0] == 2)
		only = bpf_map_lookup_elem(&small, &key);
	else if (skb->cb[0] == 3)
		only = bpf_map_lookup_elem(&slots, &key);
	else
		only = bpf_map_lookup_elem(&least_recent, &key);
	if (stash)
		event = bpf_kptr_xchg(&stash->event, event);
	else if (only)
		event = bpf_kptr_xchg(&only->event, event);
	answers[0] = drop_event(event);
	return 0;
}

// cb: which map, key. What is left in a map is looked at, without taking it.
SEC("tc") int look(struct __sk_buff *skb)
{
	u32 key = skb->cb[1];
	struct stash *stash = 0;
	struct only *only = 0;
	struct event *event = 0;

	answers[0] = -2;
	bpf_rcu_read_lock();
	if (skb->cb[0] == 0)
		stash = bpf_map_lookup_elem(&stashes, &key);
	else if (skb->cb[0] == 1)
		stash = bpf_map_lookup_elem(&places, &key);
	else if (skb->cb[0] == 2)
		only = bpf_map_lookup_elem(&small, &key);
	else if (skb->cb[0] == 3)
		only = bpf_map_lookup_elem(&slots, &key);
	else
		only = bpf_map_lookup_elem(&least_recent, &key);
	if (stash) {
		answers[0] = -1;
		event = stash->event;
	} else if (only) {
		answers[0] = -1;
		event = only->event;
	}
	if (event)
		answers[0] = event->time;
	bpf_rcu_read_unlock();
	return 0;
}

// cb: key. Programs change elements that refer to objects.
SEC("tc") int change(struct __sk_buff *skb)
{
	struct stash stash = { .count = 7 };
	u32 key = skb->cb[0];

	answers[0] = bpf_map_update_elem(&stashes, &key, &stash, 0);
	answers[1] = bpf_map_update_elem(&places, &key, &stash, 0);
	answers[2] = bpf_map_delete_elem(&small, &key);
	return 0;
}

// cb: how many, then whether to the front. In which order they come out again.
SEC("tc") int list(struct __sk_buff *skb)
{
	struct bpf_list_node *node;
	struct flow *flow;

	__builtin_memset(answers, 0, sizeof(answers));
	for (u32 i = 0; i < 8; i++) {
		if (i >= skb->cb[0])
			break;
		flow = obj_new(struct flow);
		if (!flow)
			return 1;
		flow->port = i + 1;
		bpf_spin_lock(&lock);
		if (skb->cb[1] & 1 << i)
			bpf_list_push_front_impl(&recent, &flow->recent, 0, 0);
		else
			bpf_list_push_back_impl(&recent, &flow->recent, 0, 0);
		bpf_spin_unlock(&lock);
	}
	bpf_spin_lock(&lock);
	node = bpf_list_front(&recent);
	if (node)
		answers[20] = container_of(node, struct flow, recent)->port;
	node = bpf_list_back(&recent);
	if (node)
		answers[21] = container_of(node, struct flow, recent)->port;
	bpf_spin_unlock(&lock);
	for (u32 i = 0; i < 9; i++) {
		bpf_spin_lock(&lock);
		if (skb->cb[2] & 1 << i)
			node = bpf_list_pop_front(&recent);
		else
			node = bpf_list_pop_back(&recent);
		bpf_spin_unlock(&lock);
		if (!node)
			break;
		flow = container_of(node, struct flow, recent);
		answers[i] = flow->port;
		obj_drop(flow);
	}
	return 0;
}

// What is in a list or tree already is put into no other one.
SEC("tc") int twice(struct __sk_buff *skb __attribute__((unused)))
{
	struct flow *flow = obj_new(struct flow), *again, *third;
	struct bpf_list_node *node;
	struct bpf_rb_node *found;

	if (!flow)
		return 1;
	flow->port = 5;
	again = bpf_refcount_acquire_impl(flow, 0);
	third = bpf_refcount_acquire_impl(again, 0);
	bpf_spin_lock(&lock);
	answers[0] = bpf_list_push_front_impl(&recent, &flow->recent, 0, 0);
	answers[1] = bpf_list_push_back_impl(&recent, &again->recent, 0, 0);
	answers[2] = bpf_rbtree_add_impl(&by_port, &third->by_port, less, 0, 0);
	bpf_spin_unlock(&lock);
	bpf_spin_lock(&lock);
	node = bpf_list_pop_front(&recent);
	bpf_spin_unlock(&lock);
	answers[3] = !node;
	if (!node)
		return 0;
	flow = container_of(node, struct flow, recent);
	answers[4] = flow->port;
	bpf_spin_lock(&lock);
	found = bpf_rbtree_remove(&by_port, &flow->by_port);
	bpf_spin_unlock(&lock);
	answers[5] = !found;
	if (found)
		obj_drop(container_of(found, struct flow, by_port));
	bpf_spin_lock(&lock);
	found = bpf_rbtree_remove(&by_port, &flow->by_port);
	bpf_spin_unlock(&lock);
	answers[6] = !found;
	if (found)
		obj_drop(container_of(found, struct flow, by_port));
	obj_drop(flow);
	return 0;
}

// cb[0]: a port, put into the tree.
SEC("tc") int grow(struct __sk_buff *skb)
{
	struct flow *flow = obj_new(struct flow);

	if (!flow)
		return 1;
	flow->port = skb->cb[0];
	bpf_spin_lock(&lock);
	answers[0] = bpf_rbtree_add_impl(&by_port, &flow->by_port, less, 0, 0);
	bpf_spin_unlock(&lock);
	return 0;
}

// What is first in the tree, and what is at the top and below it.
SEC("tc") int shape(struct __sk_buff *skb __attribute__((unused)))
{
	struct bpf_rb_node *node, *left, *right;

	__builtin_memset(answers, 0, sizeof(answers));
	bpf_spin_lock(&lock);
	node = bpf_rbtree_first(&by_port);
	if (node)
		answers[0] = container_of(node, struct flow, by_port)->port;
	node = bpf_rbtree_root(&by_port);
	if (node) {
		answers[1] = container_of(node, struct flow, by_port)->port;
		left = bpf_rbtree_left(&by_port, node);
		right = bpf_rbtree_right(&by_port, node);
		if (left) {
			answers[2] = container_of(left, struct flow, by_port)->port;
			left = bpf_rbtree_right(&by_port, left);
			if (left)
				answers[4] = container_of(left, struct flow, by_port)->port;
		}
		if (right) {
			answers[3] = container_of(right, struct flow, by_port)->port;
			right = bpf_rbtree_left(&by_port, right);
			if (right)
				answers[5] = container_of(right, struct flow, by_port)->port;
		}
	}
	bpf_spin_unlock(&lock);
	return 0;
}

// cb[0]: whether the first one of the tree, or the one at its top, is taken out.
SEC("tc") int shrink(struct __sk_buff *skb)
{
	struct bpf_rb_node *node;
	struct flow *flow;
	u32 first = skb->cb[0];

	answers[0] = -1;
	bpf_spin_lock(&lock);
	if (first)
		node = bpf_rbtree_first(&by_port);
	else
		node = bpf_rbtree_root(&by_port);
	if (!node) {
		bpf_spin_unlock(&lock);
		return 0;
	}
	node = bpf_rbtree_remove(&by_port, node);
	bpf_spin_unlock(&lock);
	if (!node)
		return 0;
	flow = container_of(node, struct flow, by_port);
	answers[0] = flow->port;
	obj_drop(flow);
	return 0;
}

// cb: key, and a number. Puts an event and a flow into the queue of a map.
SEC("tc") int enqueue(struct __sk_buff *skb)
{
	u32 key = skb->cb[0];
	struct queue *queue;
	struct event *event;
	struct flow *flow;

	answers[0] = -1;
	queue = bpf_map_lookup_elem(&queues, &key);
	if (!queue)
		return 0;
	event = new_event(skb->cb[1]);
	if (!event)
		return 1;
	flow = obj_new(struct flow);
	if (!flow) {
		obj_drop(event);
		return 1;
	}
	flow->port = skb->cb[1];
	bpf_spin_lock(&queue->lock);
	answers[0] = ++queue->length;
	bpf_list_push_back_impl(&queue->events, &event->node, 0, 0);
	bpf_rbtree_add_impl(&queue->flows, &flow->by_port, less, 0, 0);
	bpf_spin_unlock(&queue->lock);
	return 0;
}

// cb: key. Takes an event and a flow out of it.
SEC("tc") int dequeue(struct __sk_buff *skb)
{
	u32 key = skb->cb[0];
	struct bpf_list_node *node;
	struct bpf_rb_node *first;
	struct queue *queue;

	answers[0] = answers[1] = -1;
	queue = bpf_map_lookup_elem(&queues, &key);
	if (!queue)
		return 0;
	bpf_spin_lock(&queue->lock);
	node = bpf_list_pop_front(&queue->events);
	bpf_spin_unlock(&queue->lock);
	if (node)
		answers[0] = drop_event(container_of(node, struct event, node));
	bpf_spin_lock(&queue->lock);
	first = bpf_rbtree_first(&queue->flows);
	if (!first) {
		bpf_spin_unlock(&queue->lock);
		return 0;
	}
	first = bpf_rbtree_remove(&queue->flows, first);
	bpf_spin_unlock(&queue->lock);
	if (first) {
		struct flow *flow = container_of(first, struct flow, by_port);

		answers[1] = flow->port;
		obj_drop(flow);
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

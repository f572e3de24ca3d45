// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Objects that programs allocate, and lists and trees of them.
#ifndef OBJECTS_H
#define OBJECTS_H

#include "hitless.h"

#define KSYM extern __attribute__((section(".ksyms")))
#define KPTR __attribute__((btf_type_tag("kptr")))
#define CONTAINS(type, node) __attribute__((btf_decl_tag("contains:" #type ":" #node)))
#define PRIVATE(name) SEC(".data." #name) __attribute__((visibility("hidden"), aligned(8)))
#define container_of(ptr, type, member) ((type *)((void *)(ptr) - __builtin_offsetof(type, member)))

enum { BPF_TYPE_ID_LOCAL = 0 };

struct bpf_list_head {
	u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_list_node {
	u64 opaque[3];
} __attribute__((aligned(8)));

struct bpf_rb_root {
	u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_rb_node {
	u64 opaque[4];
} __attribute__((aligned(8)));

struct bpf_refcount {
	u32 opaque[1];
} __attribute__((aligned(4)));

KSYM void *bpf_obj_new_impl(u64 type, void *meta);
KSYM void bpf_obj_drop_impl(void *object, void *meta);
KSYM void *bpf_refcount_acquire_impl(void *object, void *meta);
KSYM int bpf_list_push_front_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta, u64 off);
KSYM int bpf_list_push_back_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta, u64 off);
KSYM struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head);
KSYM struct bpf_list_node *bpf_list_pop_back(struct bpf_list_head *head);
KSYM struct bpf_list_node *bpf_list_front(struct bpf_list_head *head);
KSYM struct bpf_list_node *bpf_list_back(struct bpf_list_head *head);
KSYM int bpf_rbtree_add_impl(struct bpf_rb_root *root, struct bpf_rb_node *node,
			     _Bool (*less)(struct bpf_rb_node *a, const struct bpf_rb_node *b), void *meta, u64 off);
KSYM struct bpf_rb_node *bpf_rbtree_remove(struct bpf_rb_root *root, struct bpf_rb_node *node);
KSYM struct bpf_rb_node *bpf_rbtree_first(struct bpf_rb_root *root);
KSYM struct bpf_rb_node *bpf_rbtree_root(struct bpf_rb_root *root);
KSYM struct bpf_rb_node *bpf_rbtree_left(struct bpf_rb_root *root, struct bpf_rb_node *node);
KSYM struct bpf_rb_node *bpf_rbtree_right(struct bpf_rb_root *root, struct bpf_rb_node *node);
KSYM void bpf_rcu_read_lock(void);
KSYM void bpf_rcu_read_unlock(void);

static void *(*const bpf_kptr_xchg)(void *field, void *object) = (void *)194;

#define obj_new(type) ((type *)bpf_obj_new_impl(__builtin_btf_type_id(*(type *)0, BPF_TYPE_ID_LOCAL), 0))
#define obj_drop(object) bpf_obj_drop_impl(object, 0)

#endif

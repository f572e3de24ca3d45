// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What iterator programs are given, and what they print with. Members are found
// by their names (CO-RE), here and in Linux.
#ifndef ITER_H
#define ITER_H

#include "hitless.h"

#define __core __attribute__((preserve_access_index))

struct seq_file;
struct btf;

struct bpf_iter_meta {
	struct seq_file *seq; // what the program prints into
	u64 session_id;
	u64 seq_num; // how many elements were shown before
} __core;

enum bpf_map_type { BPF_MAP_TYPE_UNSPEC };

struct bpf_map {
	enum bpf_map_type map_type;
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u32 id;
	char name[16];
} __core;

struct bpf_prog;

struct bpf_prog_aux {
	u32 id;
	char name[16];
	const char *attach_func_name;
	struct bpf_prog *dst_prog;
	struct btf *btf;
} __core;

enum bpf_prog_type { BPF_PROG_TYPE_UNSPEC };

struct bpf_prog {
	enum bpf_prog_type type;
	u32 len;
	struct bpf_prog_aux *aux;
} __core;

enum bpf_link_type { BPF_LINK_TYPE_UNSPEC };

struct bpf_link {
	u32 id;
	enum bpf_link_type type;
	struct bpf_prog *prog;
} __core;

// At the end the program runs once more, with NULL for the last member.

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
} __core;

struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
} __core;

struct bpf_iter__bpf_prog {
	struct bpf_iter_meta *meta;
	struct bpf_prog *prog;
} __core;

struct bpf_iter__bpf_link {
	struct bpf_iter_meta *meta;
	struct bpf_link *link;
} __core;

static long (*const bpf_seq_printf)(struct seq_file *seq, const char *format, u32 size, const void *args,
				    u32 len) = (void *)126;
static long (*const bpf_seq_write)(struct seq_file *seq, const void *data, u32 len) = (void *)127;

// As libbpf's macro of this name.
#define BPF_SEQ_PRINTF(seq, text, args...)                                            \
	({                                                                            \
		static const char format[] = text;                                    \
		u64 list[] = { args };                                                \
		bpf_seq_printf(seq, format, sizeof(format), list, sizeof(list));      \
	})

#endif

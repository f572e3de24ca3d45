// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Ids, existence, size and match of types.
#include "core.h"

union changed {
	u32 number;
};
struct changed_kind {
	u32 number;
};
struct absent {
	u32 number;
};
typedef struct widget widget_t;
typedef int number_t;
typedef int (*function_t)(struct widget *widget, u32 argument);
typedef u32 table_t[4];
typedef struct absent absent_t;
struct same {
	int a;
	struct widget *b;
	u8 c[4];
	enum mode d;
};
struct similar {
	u32 a; // u64 there
	struct widget *b;
};
struct similar___fewer {
	struct widget *b;
};

SEC("raw_tp") int ids(void *ctx __unused)
{
	results[0] = bpf_core_type_id_local(struct widget);
	results[1] = bpf_core_type_id_kernel(struct widget);
	results[2] = bpf_core_type_id_local(number_t);
	results[3] = bpf_core_type_id_kernel(number_t);
	results[4] = bpf_core_type_id_kernel(enum mode);
	results[5] = bpf_core_type_id_kernel(union variant);
	results[6] = bpf_core_type_id_kernel(function_t);
	results[7] = bpf_core_type_id_kernel(int);
	results[8] = bpf_core_type_id_local(struct absent);
	return 0;
}

SEC("raw_tp") int exist(void *ctx __unused)
{
	results[0] = bpf_core_type_exists(struct widget);
	results[1] = bpf_core_type_exists(union changed);
	results[2] = bpf_core_type_exists(struct absent);
	results[3] = bpf_core_type_exists(widget_t);
	results[4] = bpf_core_type_exists(absent_t);
	results[5] = bpf_core_type_exists(function_t);
	results[6] = bpf_core_type_exists(table_t);
	results[7] = bpf_core_type_exists(enum mode);
	results[8] = bpf_core_type_exists(struct similar___fewer);
	return 0;
}

SEC("raw_tp") int sizes(void *ctx __unused)
{
	results[0] = bpf_core_type_size(struct widget);
	results[1] = bpf_core_type_size(union variant);
	results[2] = bpf_core_type_size(struct absent);
	results[3] = bpf_core_type_size(widget_t);
	results[4] = bpf_core_type_size(table_t);
	results[5] = bpf_core_type_size(enum mask);
	return 0;
}

SEC("raw_tp") int match(void *ctx __unused)
{
	results[0] = bpf_core_type_matches(struct same);
	results[1] = bpf_core_type_matches(struct similar);
	results[2] = bpf_core_type_matches(struct similar___fewer);
	results[3] = bpf_core_type_matches(struct absent);
	results[4] = bpf_core_type_matches(enum mode);
	results[5] = bpf_core_type_matches(enum level);
	results[6] = bpf_core_type_matches(union changed);
	results[7] = bpf_core_type_matches(struct changed_kind);
	results[8] = bpf_core_type_matches(number_t);
	results[9] = bpf_core_type_matches(function_t);
	results[10] = bpf_core_type_matches(widget_t);
	results[11] = bpf_core_type_matches(struct point);
	return 0;
}

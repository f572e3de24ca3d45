// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the objects of the corpus need beyond ../hitless.h. Macro names are those
// that users of libbpf's headers know.
//
// A line "// build: OPTIONS" in a source adds compiler options for it; the parts
// NAME.1.bpf.c, NAME.2.bpf.c, ... of an object are compiled each and linked by
// `bpftool gen object`; NAME.btf.c becomes NAME.btf, bare type information.
#ifndef CORPUS_H
#define CORPUS_H

#include "../hitless.h"

typedef signed char s8;
typedef short s16;
typedef int s32;
typedef unsigned long size_t;
typedef _Bool bool;

#define NULL ((void *)0)
#define true 1
#define false 0

#define LICENSE(text) char _license[] SEC("license") = text

#define __weak __attribute__((weak))
#define __hidden __attribute__((visibility("hidden")))
#define __naked __attribute__((naked))
#define __unused __attribute__((unused))
#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))
#define __decl_tag(text) __attribute__((btf_decl_tag(text)))
#define __type_tag(text) __attribute__((btf_type_tag(text)))

#define barrier_var(var) asm volatile("" : "+r"(var))

// Maps --------------------------------------------------------------------------

#define __concat2(a, b) a##b
#define __concat(a, b) __concat2(a, b)
#define __ulong(name, val) enum { __concat(__ulong_value, __COUNTER__) = (val) } name

enum {
	MAP_PROG_ARRAY = 3,
	MAP_PERF_EVENT_ARRAY = 4,
	MAP_PERCPU_HASH = 5,
	MAP_PERCPU_ARRAY = 6,
	MAP_STACK_TRACE = 7,
	MAP_CGROUP_ARRAY = 8,
	MAP_LRU_HASH = 9,
	MAP_LRU_PERCPU_HASH = 10,
	MAP_LPM_TRIE = 11,
	MAP_ARRAY_OF_MAPS = 12,
	MAP_HASH_OF_MAPS = 13,
	MAP_DEVMAP = 14,
	MAP_SOCKMAP = 15,
	MAP_CPUMAP = 16,
	MAP_XSKMAP = 17,
	MAP_SOCKHASH = 18,
	MAP_SK_STORAGE = 24,
	MAP_DEVMAP_HASH = 25,
	MAP_QUEUE = 22,
	MAP_STACK = 23,
	MAP_RINGBUF = 27,
	MAP_TASK_STORAGE = 29,
	MAP_BLOOM_FILTER = 30,
};

enum { PIN_NONE = 0, PIN_BY_NAME = 1 };

enum {
	F_NO_PREALLOC = 1 << 0,
	F_NO_COMMON_LRU = 1 << 1,
	F_NUMA_NODE = 1 << 2,
	F_RDONLY = 1 << 3,
	F_RDONLY_PROG = 1 << 7,
	F_MMAPABLE = 1 << 10,
	F_INNER_MAP = 1 << 12,
};

// Helpers, by number ------------------------------------------------------------

static long (*const bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*const bpf_tail_call)(void *ctx, void *map, u32 index) = (void *)12;
static u64 (*const bpf_get_current_task)(void) = (void *)35;
static void *(*const bpf_get_current_task_btf)(void) = (void *)158;
static long (*const bpf_for_each_map_elem)(void *map, void *callback, void *ctx, u64 flags) = (void *)164;
static long (*const bpf_loop)(u32 count, void *callback, void *ctx, u64 flags) = (void *)181;
static void *(*const bpf_per_cpu_ptr)(const void *ptr, u32 cpu) = (void *)153;

// CO-RE -------------------------------------------------------------------------

#define __preserve_access_index __attribute__((preserve_access_index))

enum {
	FIELD_BYTE_OFFSET = 0,
	FIELD_BYTE_SIZE = 1,
	FIELD_EXISTS = 2,
	FIELD_SIGNED = 3,
	FIELD_LSHIFT_U64 = 4,
	FIELD_RSHIFT_U64 = 5,
};

#define __null_of(type) ((__typeof__(type) *)0)
#define __field(type, field) (__null_of(type)->field)

#define bpf_core_field_exists(type, field) __builtin_preserve_field_info(__field(type, field), FIELD_EXISTS)
#define bpf_core_field_size(type, field) __builtin_preserve_field_info(__field(type, field), FIELD_BYTE_SIZE)
#define bpf_core_field_offset(type, field) __builtin_preserve_field_info(__field(type, field), FIELD_BYTE_OFFSET)
#define core_field_signed(type, field) __builtin_preserve_field_info(__field(type, field), FIELD_SIGNED)
#define core_field_lshift(type, field) __builtin_preserve_field_info(__field(type, field), FIELD_LSHIFT_U64)
#define core_field_rshift(type, field) __builtin_preserve_field_info(__field(type, field), FIELD_RSHIFT_U64)

#define bpf_core_type_id_local(type) __builtin_btf_type_id(*__null_of(type), 0)
#define bpf_core_type_id_kernel(type) __builtin_btf_type_id(*__null_of(type), 1)
#define bpf_core_type_exists(type) __builtin_preserve_type_info(*__null_of(type), 0)
#define bpf_core_type_size(type) __builtin_preserve_type_info(*__null_of(type), 1)
#define bpf_core_type_matches(type) __builtin_preserve_type_info(*__null_of(type), 2)
#define bpf_core_enum_value_exists(type, value) __builtin_preserve_enum_value(*(__typeof__(type) *)value, 0)
#define bpf_core_enum_value(type, value) __builtin_preserve_enum_value(*(__typeof__(type) *)value, 1)

#define bpf_core_read(to, size, from) \
	bpf_probe_read_kernel(to, size, (const void *)__builtin_preserve_access_index(from))

// The value of a field, by a helper.
#define BPF_CORE_READ(from, field)                                      \
	({                                                              \
		__typeof__((from)->field) __value;                      \
		bpf_core_read(&__value, sizeof(__value), &(from)->field); \
		__value;                                                \
	})

// The value of a bitfield at a pointer that may be dereferenced.
#define BPF_CORE_READ_BITFIELD(from, field)                                                           \
	({                                                                                            \
		const void *__at = (const void *)(from) +                                             \
				   __builtin_preserve_field_info((from)->field, FIELD_BYTE_OFFSET);   \
		u64 __value = 0;                                                                      \
		barrier_var(__at);                                                                    \
		switch (__builtin_preserve_field_info((from)->field, FIELD_BYTE_SIZE)) {              \
		case 1: __value = *(const u8 *)__at; break;                                           \
		case 2: __value = *(const u16 *)__at; break;                                          \
		case 4: __value = *(const u32 *)__at; break;                                          \
		case 8: __value = *(const u64 *)__at; break;                                          \
		}                                                                                     \
		__value <<= __builtin_preserve_field_info((from)->field, FIELD_LSHIFT_U64);           \
		if (__builtin_preserve_field_info((from)->field, FIELD_SIGNED))                       \
			__value = (u64)((s64)__value >>                                               \
					__builtin_preserve_field_info((from)->field, FIELD_RSHIFT_U64)); \
		else                                                                                  \
			__value >>= __builtin_preserve_field_info((from)->field, FIELD_RSHIFT_U64);   \
		__value;                                                                              \
	})

// Contexts ----------------------------------------------------------------------

struct __sk_buff {
	u32 len;
	u32 pkt_type;
	u32 mark;
};

// Where programs of the corpus leave what they have found, so that it is computed.
#define RESULTS(count) volatile u64 results[count]

#endif

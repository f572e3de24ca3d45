// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What a BPF program of this project needs from its environment, and no more:
// types, map and section macros, helper numbers, program contexts. Nothing
// here comes from kernel or libc headers, so clang alone rebuilds the objects.
//
// It may also be included behind others: what vmlinux.h (of Linux), the header that
// `hitless gen header` prints, or libbpf's bpf_helpers.h have, is left to them.
#ifndef HITLESS_H
#define HITLESS_H

#if !defined(__VMLINUX_H__) && !defined(__HITLESS_TYPES_H__)
#define HITLESS_H_TYPES
#endif

#ifdef HITLESS_H_TYPES
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long s64;
#endif

_Static_assert(sizeof(u16) == 2 && sizeof(u32) == 4 && sizeof(u64) == 8,
	       "fixed-width types");

// Sections and functions ------------------------------------------------------

#ifndef __BPF_HELPERS__
#define SEC(name) __attribute__((section(name), used))
#define __noinline __attribute__((noinline))
#define __always_inline inline __attribute__((always_inline))
#endif

// The field carried the name `old` in an earlier version of this struct.
// Recorded in BTF; the map migration pairs fields by it.
#define WAS(old) __attribute__((btf_decl_tag("was:" #old)))

// Maps: a variable in ".maps" whose type spells out the map's attributes ------

#ifndef __BPF_HELPERS__
#define __uint(name, val) int(*name)[val]
#define __type(name, val) __typeof__(val) *name
#define __array(name, val) __typeof__(val) *name[]
#endif

enum { MAP_HASH = 1, MAP_ARRAY = 2 };

#ifndef __VMLINUX_H__
enum { BPF_ANY = 0, BPF_NOEXIST = 1, BPF_EXIST = 2, BPF_F_LOCK = 4 };
#endif

enum { ENOENT = 2, E2BIG = 7, EBUSY = 16, EEXIST = 17, EINVAL = 22 };

#ifdef HITLESS_H_TYPES
// A lock inside a map value; only bpf_spin_lock/unlock may touch it.
struct bpf_spin_lock {
	u32 val;
};
#endif

// Helpers, by number ----------------------------------------------------------

#ifndef __BPF_HELPERS__
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value,
					 u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static long (*const bpf_spin_lock)(struct bpf_spin_lock *lock) = (void *)93;
static long (*const bpf_spin_unlock)(struct bpf_spin_lock *lock) = (void *)94;
#endif

// XDP -------------------------------------------------------------------------

#ifdef HITLESS_H_TYPES
struct xdp_md {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
	u32 egress_ifindex;
};

enum xdp_action { XDP_ABORTED = 0, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT };
#endif

// Map tracing -----------------------------------------------------------------
//
// A program in section "map_trace/<map>/UPDATE_ELEM" runs after each update of the
// map, by the helper, by a store through a pointer into a value, or by the host;
// one in "map_trace/<map>/DELETE_ELEM" after each delete. `key` points to the map's key_size bytes, `value`
// to its value_size bytes; both are read-only.

#define MAP_TRACE(map, kind) SEC("map_trace/" #map "/" #kind)

#ifndef __HITLESS_TYPES_H__
struct bpf_map_trace_ctx__update_elem {
	void *key;
	void *value;
	u64 flags;
	u64 slot; // whose value it is, in a per-CPU map; else where the change was made
};

struct bpf_map_trace_ctx__delete_elem {
	void *key;
};

// EVICT_ELEM, for LRU maps: the map has taken this element out by itself, to make
// room for another. The element is gone when the program runs, as after a delete;
// the element that it made room for is not there yet. No DELETE_ELEM is reported.
struct bpf_map_trace_ctx__evict_elem {
	void *key;
};

// Numbers that Linux's headers lack. Those of our own begin at 0x80000000.
enum bpf_map_trace_type {
	BPF_MAP_TRACE_UPDATE_ELEM = 0,
	BPF_MAP_TRACE_DELETE_ELEM = 1,
	BPF_MAP_TRACE_EVICT_ELEM = 0x80000000,
};

enum { BPF_TRACE_MAP = 0x80000000 };	     // enum bpf_attach_type
enum { BPF_LINK_TYPE_MAP_TRACE = 0x80000000 }; // enum bpf_link_type

struct bpf_map_trace_link_info {
	u32 map_fd;
	enum bpf_map_trace_type trace_type;
};
#endif

#endif

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Declarations of maps that make no sense, one each, chosen by a macro. Rebuild here with
//
//	for x in $(sed -n 's/^#if defined \([A-Z_]*\)$/\1/p' refused_maps.bpf.c); do
//		clang-19 -O2 -g -target bpf -mcpu=v3 -ffile-prefix-map=$PWD=. -D$x -c refused_maps.bpf.c \
//			-o refused_maps_$x.bpf.o
//		llvm-strip-19 -g refused_maps_$x.bpf.o
//	done
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) __typeof__(val) *name
#define __array(name, val) __typeof__(val) *name[]

struct inner {
	__uint(type, 2);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} inner SEC(".maps");

#define OUTER                  \
	__uint(type, 12);      \
	__uint(key_size, 4);   \
	__uint(max_entries, 2)

#if defined UNKNOWN
struct {
	__uint(type, 1);
	__uint(colour, 3);
} map SEC(".maps");
#endif
#if defined NO_TYPE
struct {
	__uint(max_entries, 1);
} map SEC(".maps");
#endif
#if defined SIZES
struct {
	__uint(type, 1);
	__uint(key_size, 8);
	__type(key, int);
} map SEC(".maps");
#endif
#if defined NUMBER
struct {
	int type;
} map SEC(".maps");
#endif
#if defined NOT_A_STRUCT
struct inner map[2] SEC(".maps");
#endif
#if defined PIN
struct {
	__uint(type, 1);
	__uint(pinning, 2);
} map SEC(".maps");
#endif
#if defined INNER_PIN
struct {
	OUTER;
	__array(values, struct {
		__uint(type, 1);
		__uint(pinning, 1);
	});
} map SEC(".maps");
#endif
#if defined NESTED
struct {
	OUTER;
	__array(values, struct {
		OUTER;
		__array(values, struct inner);
	});
} map SEC(".maps");
#endif
#if defined VALUES_TYPE
struct {
	__uint(type, 1);
	__array(values, struct inner);
} map SEC(".maps");
#endif
#if defined VALUES_FIRST
struct {
	__array(values, struct inner);
} map SEC(".maps");
#endif
#if defined VALUES_MIDDLE
struct {
	__uint(type, 12);
	struct inner *values[0];
	__uint(max_entries, 2);
} map SEC(".maps");
#endif
#if defined VALUES_SIZE
struct {
	OUTER;
	__type(value, long);
	__array(values, struct inner);
} map SEC(".maps");
#endif
#if defined VALUES_LENGTH
struct {
	OUTER;
	struct inner *values[2];
} map SEC(".maps");
#endif
#if defined VALUES_FUNCTIONS
struct {
	OUTER;
	__array(values, int(void *));
} map SEC(".maps");
#endif
#if defined VALUES_MAPS
struct {
	__uint(type, 3);
	__array(values, struct inner);
} map SEC(".maps");
#endif
#if defined POINTER
struct {
	__uint(type, 2);
	int *value;
} map SEC(".maps") = {.value = (void *)&inner};
#endif
#if defined BEFORE_VALUES
struct {
	OUTER;
	__array(values, struct inner);
} map SEC(".maps") = {.max_entries = (void *)&inner};
#endif
#if defined NO_MAP
int elsewhere;
struct {
	OUTER;
	__array(values, struct inner);
} map SEC(".maps") = {.values = {[1] = (void *)&elsewhere}};
#endif
#if defined MISSING
extern int missing;
struct {
	OUTER;
	__array(values, struct inner);
} map SEC(".maps") = {.values = {[1] = (void *)&missing}};
#endif
#if defined TOO_MANY
struct {
	OUTER;
	__array(values, struct inner);
} map SEC(".maps") = {.values = {[2] = &inner}};
#endif
#if defined HASH_KEY
struct {
	__uint(type, 13);
	__uint(key_size, 8);
	__uint(max_entries, 2);
	__array(values, struct inner);
} map SEC(".maps") = {.values = {[1] = &inner}};
#endif
#if defined STATIC_PROGRAM
static SEC("xdp") int unseen(void *ctx)
{
	return 1;
}
struct {
	__uint(type, 3);
	__uint(key_size, 4);
	__uint(max_entries, 2);
	__array(values, int(void *));
} map SEC(".maps") = {.values = {[1] = unseen}};
#endif
#if defined EXTERN
extern struct inner map SEC(".maps");
static void *(*const lookup)(void *map, const void *key) = (void *)1;
SEC("xdp") int program(void *ctx)
{
	return lookup(&map, ctx) != 0;
}
#endif
#if defined LOCKS
struct bpf_spin_lock {
	unsigned val;
};
struct value {
	long count;
	struct {
		struct bpf_spin_lock lock;
	} several[3];
};
struct {
	__uint(type, 2);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, struct value);
} map SEC(".maps");
#endif
#if defined LEGACY_TAIL
struct {
	int type, key_size, value_size, max_entries, map_flags, colour;
} map SEC("maps") = {1, 4, 4, 1, 0, 5};
#endif
#if defined LEGACY_SHORT
struct {
	int type, key_size, value_size;
} map SEC("maps") = {1, 4, 4};
#endif
#if defined LEGACY_PIN
struct bpf_elf_map {
	unsigned type, size_key, size_value, max_elem, flags, id, pinning, inner_id, inner_idx;
} map SEC("maps") = {.type = 1, .pinning = 3};
#endif
#if defined LEGACY_INNER
struct bpf_elf_map {
	unsigned type, size_key, size_value, max_elem, flags, id, pinning, inner_id, inner_idx;
} map SEC("maps") = {.type = 12, .inner_id = 4};
#endif
#if defined LEGACY_INDEX
struct {
	unsigned type, key_size, value_size, max_entries, map_flags, inner_map_idx;
} map SEC("maps") = {.type = 12, .inner_map_idx = 4};
#endif
#if defined LEGACY_NESTED
struct {
	unsigned type, key_size, value_size, max_entries, map_flags, inner_map_idx;
} map SEC("maps") = {.type = 12, .inner_map_idx = 0};
#endif

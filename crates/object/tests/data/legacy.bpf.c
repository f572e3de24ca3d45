// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Maps as they were declared before BTF, one way each, chosen by a macro. Rebuild here with
//
//	for x in LIBBPF SAMPLES ELF GOBPF; do
//		clang-19 -O2 -target bpf -mcpu=v3 -D$x -c legacy.bpf.c -o legacy_$x.bpf.o
//		clang-19 -O2 -g -target bpf -mcpu=v3 -ffile-prefix-map=$PWD=. -D$x -c legacy.bpf.c -o legacy_${x}_BTF.bpf.o
//		llvm-strip-19 -g legacy_${x}_BTF.bpf.o
//	done
#define SEC(name) __attribute__((section(name), used))

static void *(*const lookup)(void *map, const void *key) = (void *)1;

#ifdef LIBBPF
struct bpf_map_def {
	unsigned type, key_size, value_size, max_entries, map_flags;
};

struct bpf_map_def first SEC("maps") = {.type = 1, .key_size = 4, .value_size = 8, .max_entries = 10, .map_flags = 1};
struct bpf_map_def second SEC("maps") = {2, 4, 16, 20};

struct value {
	long a, b;
};
#define BPF_ANNOTATE_KV_PAIR(name, type_key, type_val)                      \
	struct ____btf_map_##name {                                         \
		type_key key;                                               \
		type_val value;                                             \
	};                                                                  \
	struct ____btf_map_##name __attribute__((section(".maps." #name), used)) ____btf_map_##name = {}
BPF_ANNOTATE_KV_PAIR(second, int, struct value);
// Does not fit: ignored.
BPF_ANNOTATE_KV_PAIR(first, int, int);
#define WHAT &second
#endif

#ifdef SAMPLES
struct bpf_map_def {
	unsigned type, key_size, value_size, max_entries, map_flags, inner_map_idx, numa_node;
};

struct bpf_map_def inner SEC("maps") = {.type = 1, .key_size = 4, .value_size = 8, .max_entries = 10, .map_flags = 4};
struct bpf_map_def other SEC("maps") = {.type = 2, .key_size = 4, .value_size = 8, .max_entries = 10};
struct bpf_map_def outer SEC("maps") = {
	.type = 12, .key_size = 4, .value_size = 4, .max_entries = 3, .inner_map_idx = 1,
};
#define WHAT &outer
#endif

#ifdef ELF
struct bpf_elf_map {
	unsigned type, size_key, size_value, max_elem, flags, id, pinning, inner_id, inner_idx;
};

struct bpf_elf_map inner SEC("maps") = {
	.type = 2, .size_key = 4, .size_value = 8, .max_elem = 10, .id = 42, .inner_idx = 1, .pinning = 2,
};
struct bpf_elf_map other SEC("maps") = {
	.type = 2, .size_key = 4, .size_value = 8, .max_elem = 10, .id = 42, .inner_idx = 0, .pinning = 1,
};
struct bpf_elf_map outer SEC("maps") = {
	.type = 12, .size_key = 4, .size_value = 4, .max_elem = 2, .inner_id = 42,
};
struct bpf_elf_map jumps SEC("maps") = {.type = 3, .size_key = 4, .size_value = 4, .max_elem = 8, .id = 0xcc};

SEC("0xcc/3") int tail(void *ctx)
{
	return 3;
}
#define WHAT &jumps
#endif

#ifdef GOBPF
struct bpf_map_def {
	unsigned type, key_size, value_size, max_entries, map_flags, pinning;
	char namespace[256];
};

struct bpf_map_def SEC("maps/events") whatever = {
	.type = 4, .key_size = 4, .value_size = 4, .max_entries = 1024, .pinning = 2, .namespace = "probe",
};
struct bpf_map_def SEC("maps/counts") counts = {.type = 1, .key_size = 4, .value_size = 8, .max_entries = 7};
#define WHAT &whatever
#endif

SEC("xdp") int program(void *ctx)
{
	unsigned key = 0;

	return lookup(WHAT, &key) != 0;
}

char _license[] SEC("license") = "GPL";

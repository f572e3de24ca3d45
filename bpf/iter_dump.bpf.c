// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Iterators, which Linux has to run with the same output.
#include "iter.h"

enum { HASH = 1, ARRAY = 2, PERCPU_HASH = 5, PERCPU_ARRAY = 6, LRU_HASH = 9, LRU_PERCPU_HASH = 10, LPM_TRIE = 11 };

#define MAP(name, kind, key_type, value_type, entries)                                \
	struct {                                                                      \
		__uint(type, kind);                                                   \
		__uint(max_entries, entries);                                         \
		__type(key, key_type);                                                \
		__type(value, value_type);                                            \
	} name SEC(".maps")

MAP(numbers, HASH, u32, u64, 64);
MAP(array, ARRAY, u32, u64, 3);
MAP(per_cpu, PERCPU_HASH, u32, u64, 8);
MAP(per_cpu_array, PERCPU_ARRAY, u32, u32, 3);
MAP(lru, LRU_HASH, u32, u64, 64);
MAP(lru_per_cpu, LRU_PERCPU_HASH, u32, u64, 64);
MAP(narrow, HASH, u32, u32, 8);
MAP(narrow_key, HASH, u16, u64, 8);

struct locked {
	struct bpf_spin_lock lock;
	u32 number;
};

MAP(guarded, HASH, u32, struct locked, 8);

struct {
	__uint(type, LPM_TRIE);
	__uint(max_entries, 8);
	__uint(map_flags, 1);
	__type(key, u64);
	__type(value, u64);
} trie SEC(".maps");

struct {
	__uint(type, ARRAY);
	__uint(max_entries, 3);
	__uint(map_flags, 1 << 7);
	__type(key, u32);
	__type(value, u64);
} constant SEC(".maps");

u8 large_text[16384];

SEC("iter/bpf_map_elem") int dump_numbers(struct bpf_iter__bpf_map_elem *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	u64 number = ctx->meta->seq_num;
	u64 *value = ctx->value;
	u32 *key = ctx->key;

	if (!key || !value)
		BPF_SEQ_PRINTF(seq, "end after %llu\n", ctx->map ? number + 1 : 0);
	else
		BPF_SEQ_PRINTF(seq, "%llu: %u = %llu\n", number, *key, *value);
	return 0;
}

static const char word[] = "word";

// Not a constant, so that no table of constants needs an address.
static __always_inline u64 address(const char *text)
{
	u64 address = (u64)text;

	asm volatile("" : "+r"(address));
	return address;
}

// All sorts of formats, and what the helper answers.
SEC("iter/bpf_map_elem") int formats(struct bpf_iter__bpf_map_elem *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	u64 *value = ctx->value;
	u32 *key = ctx->key;
	long results[6];

	if (!key || !value)
		return 0;
	results[0] = BPF_SEQ_PRINTF(seq, "[%5d|%-5d|%05d|%+d]", *key, *key, *key, *key);
	results[1] = BPF_SEQ_PRINTF(seq, "[%x|%X|%llx|%c|%%]", *value, *value, *value, 'a' + *key);
	results[2] = BPF_SEQ_PRINTF(seq, "[%s|%-8s|%8s]", address(word), address(word + 1), address(word + 2));
	results[3] = bpf_seq_printf(seq, "no zero", 7, value, 0);
	results[4] = bpf_seq_printf(seq, "%d", 3, value, 0);
	results[5] = bpf_seq_printf(seq, "%d", 3, value, 7);
	for (int i = 0; i < 6; i++)
		BPF_SEQ_PRINTF(seq, " %ld", results[i]);
	bpf_seq_write(seq, "\n", 1);
	return 0;
}

// Its own map, as far as both places have the same of it.
SEC("iter/bpf_map_elem") int describe(struct bpf_iter__bpf_map_elem *ctx)
{
	struct bpf_map *map = ctx->map;

	if (map && !ctx->key)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%s: type %u, %u -> %u, at most %u\n", (u64)map->name, map->map_type,
			       map->key_size, map->value_size, map->max_entries);
	return 0;
}

// Wants to be shown every second element twice, and key 1 for ever.
u64 asked[64];

SEC("iter/bpf_map_elem") int again(struct bpf_iter__bpf_map_elem *ctx)
{
	u32 *key = ctx->key;

	if (!key)
		return 0;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%llu: %u\n", ctx->meta->seq_num, *key);
	if (*key == 1)
		return 1;
	return *key % 2 == 0 && asked[*key % 64]++ == 0;
}

// Two of these do not fit.
SEC("iter/bpf_map_elem") int large(struct bpf_iter__bpf_map_elem *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	long result = bpf_seq_write(seq, large_text, sizeof(large_text));

	BPF_SEQ_PRINTF(seq, "%ld %llu %d\n", result, ctx->meta->seq_num, ctx->key != 0);
	return 0;
}

// Nor does this one.
SEC("iter/bpf_map_elem") int too_large(struct bpf_iter__bpf_map_elem *ctx)
{
	struct seq_file *seq = ctx->meta->seq;

	bpf_seq_write(seq, large_text, sizeof(large_text));
	bpf_seq_write(seq, large_text, sizeof(large_text));
	return 0;
}

SEC("iter/bpf_map_elem") int increase(struct bpf_iter__bpf_map_elem *ctx)
{
	u64 *value = ctx->value;

	if (value)
		*value += 1;
	return 0;
}

// Changes the map that it walks.
SEC("iter/bpf_map_elem") int delete_odd(struct bpf_iter__bpf_map_elem *ctx)
{
	u32 *key = ctx->key, copy;

	if (!key || *key % 2 == 0)
		return 0;
	copy = *key;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%u: %ld\n", copy, bpf_map_delete_elem(&numbers, &copy));
	return 0;
}

// The values of four CPUs, each a word of eight bytes.
SEC("iter/bpf_map_elem") int sum(struct bpf_iter__bpf_map_elem *ctx)
{
	u64 *values = ctx->value;
	u32 *key = ctx->key;

	if (key && values)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%u: %llu %llu %llu %llu\n", *key, values[0], values[1], values[2],
			       values[3]);
	return 0;
}

SEC("iter.s/bpf_map_elem") int sleepy(struct bpf_iter__bpf_map_elem *ctx __attribute__((unused)))
{
	return 0;
}

// Objects: those of the reader's kernel, so that only lines of this object's are
// the same in both places.
SEC("iter/bpf_map") int maps(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;

	if (!map)
		BPF_SEQ_PRINTF(ctx->meta->seq, "end\n");
	else
		BPF_SEQ_PRINTF(ctx->meta->seq, "%u %s: type %u, %u -> %u, at most %u\n", map->id, (u64)map->name,
			       map->map_type, map->key_size, map->value_size, map->max_entries);
	return 0;
}

SEC("iter/bpf_prog") int programs(struct bpf_iter__bpf_prog *ctx)
{
	struct bpf_prog *prog = ctx->prog;
	struct bpf_prog_aux *aux;

	if (!prog) {
		BPF_SEQ_PRINTF(ctx->meta->seq, "end\n");
		return 0;
	}
	aux = prog->aux;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%u %s: type %u, [%s] [%s]\n", aux->id, (u64)aux->name, prog->type,
		       (u64)aux->attach_func_name, (u64)aux->dst_prog->aux->name);
	return 0;
}

SEC("iter/bpf_link") int links(struct bpf_iter__bpf_link *ctx)
{
	struct bpf_link *link = ctx->link;

	if (!link)
		BPF_SEQ_PRINTF(ctx->meta->seq, "end\n");
	else
		BPF_SEQ_PRINTF(ctx->meta->seq, "%u: type %u, program %u %s\n", link->id, link->type,
			       link->prog->aux->id, (u64)link->prog->aux->name);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

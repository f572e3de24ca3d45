// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Helpers that work on maps of other sorts, ring buffers and dynptrs, and that
// call functions of the program back.
#include "helpers.h"

struct bpf_dynptr {
	u64 opaque[2];
} __attribute__((aligned(8)));

static long (*const bpf_perf_event_output)(void *ctx, void *map, u64 flags, void *data, u64 size) = (void *)25;
static long (*const bpf_map_push_elem)(void *map, const void *value, u64 flags) = (void *)87;
static long (*const bpf_map_pop_elem)(void *map, void *value) = (void *)88;
static long (*const bpf_map_peek_elem)(void *map, void *value) = (void *)89;
static long (*const bpf_ringbuf_output)(void *map, void *data, u64 size, u64 flags) = (void *)130;
static void *(*const bpf_ringbuf_reserve)(void *map, u64 size, u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;
static void (*const bpf_ringbuf_discard)(void *data, u64 flags) = (void *)133;
static u64 (*const bpf_ringbuf_query)(void *map, u64 flags) = (void *)134;
static long (*const bpf_for_each_map_elem)(void *map, void *func, void *ctx, u64 flags) = (void *)164;
static long (*const bpf_loop)(u32 count, void *func, void *ctx, u64 flags) = (void *)181;
static void *(*const bpf_map_lookup_percpu_elem)(void *map, const void *key, u32 cpu) = (void *)195;
static long (*const bpf_dynptr_from_mem)(void *data, u64 size, u64 flags, struct bpf_dynptr *to) = (void *)197;
static long (*const bpf_ringbuf_reserve_dynptr)(void *map, u32 size, u64 flags,
						struct bpf_dynptr *to) = (void *)198;
static void (*const bpf_ringbuf_submit_dynptr)(struct bpf_dynptr *ptr, u64 flags) = (void *)199;
static void (*const bpf_ringbuf_discard_dynptr)(struct bpf_dynptr *ptr, u64 flags) = (void *)200;
static long (*const bpf_dynptr_read)(void *to, u32 len, const struct bpf_dynptr *from, u32 offset,
				     u64 flags) = (void *)201;
static long (*const bpf_dynptr_write)(const struct bpf_dynptr *to, u32 offset, void *from, u32 len,
				      u64 flags) = (void *)202;
static void *(*const bpf_dynptr_data)(const struct bpf_dynptr *ptr, u32 offset, u32 len) = (void *)203;

struct {
	__uint(type, 27);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, 22);
	__uint(max_entries, 3);
	__type(value, u64);
} queue SEC(".maps");

struct {
	__uint(type, 23);
	__uint(max_entries, 3);
	__type(value, u64);
} stack SEC(".maps");

struct {
	__uint(type, 30);
	__uint(max_entries, 100);
	__type(value, u64);
} bloom SEC(".maps");

struct {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 5);
	__type(key, u32);
	__type(value, u64);
} array SEC(".maps");

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 8);
	__type(key, u64);
	__type(value, u64);
} hash SEC(".maps");

struct {
	__uint(type, 6);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
} percpu SEC(".maps");

struct {
	__uint(type, 4);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u32);
} events SEC(".maps");

#define TEXT (INPUT - 32)

// Records, by the packet: what, and a size, four times.
SEC("xdp") int records(struct xdp_md *ctx)
{
	u32 *turns = (u32 *)&input;

	read_input(ctx);
	for (u32 i = 0; i < 4; i++) {
		u32 what = turns[2 * i], size = turns[2 * i + 1];
		u64 *record;

		switch (what & 3) {
		case 0:
			if (size > TEXT)
				size = TEXT;
			answers[8 * i] = bpf_ringbuf_output(&ring, input.text, size, what >> 2);
			break;
		case 1:
			record = bpf_ringbuf_reserve(&ring, 16, what >> 4);
			if (!record)
				break;
			record[0] = i;
			record[1] = size;
			answers[8 * i] = 1;
			if (size & 1)
				bpf_ringbuf_discard(record, what >> 2 & 3);
			else
				bpf_ringbuf_submit(record, what >> 2 & 3);
			break;
		case 2:
			record = bpf_ringbuf_reserve(&ring, 2000, 0);
			if (!record)
				break;
			answers[8 * i] = 2;
			bpf_ringbuf_discard(record, 0);
			break;
		}
		for (u32 j = 0; j < 5; j++)
			answers[8 * i + 1 + j] = bpf_ringbuf_query(&ring, j);
	}
	return XDP_PASS;
}

SEC("xdp") int record_dynptrs(struct xdp_md *ctx)
{
	struct bpf_dynptr ptr;
	u32 size, flags, at;
	u64 *data;

	read_input(ctx);
	size = input.words[0], flags = input.words[1], at = input.words[2];
	answers[0] = bpf_ringbuf_reserve_dynptr(&ring, size, flags, &ptr);
	answers[1] = bpf_dynptr_write(&ptr, at, input.text, 20, 0);
	answers[2] = bpf_dynptr_read(bytes, 20, &ptr, at, 0);
	data = bpf_dynptr_data(&ptr, at & ~7, 8);
	answers[3] = !!data;
	if (data)
		*data = 42;
	if (input.words[3])
		bpf_ringbuf_discard_dynptr(&ptr, 0);
	else
		bpf_ringbuf_submit_dynptr(&ptr, 0);
	answers[4] = bpf_ringbuf_query(&ring, 0);
	return XDP_PASS;
}

u8 memory[256];

SEC("xdp") int dynptrs(struct xdp_md *ctx)
{
	u32 offset, len, flags;
	struct bpf_dynptr ptr;
	u64 *data;

	read_input(ctx);
	offset = input.words[0], len = input.words[1], flags = input.words[2];
	__builtin_memset(bytes, '#', sizeof(bytes));
	for (u32 i = 0; i < sizeof(memory); i++)
		memory[i] = i;
	answers[0] = bpf_dynptr_from_mem(memory, 200, input.words[3], &ptr);
	answers[1] = bpf_dynptr_read(bytes, len & 255, &ptr, offset, flags);
	answers[2] = bpf_dynptr_write(&ptr, offset, input.text, len & 255, flags);
	data = bpf_dynptr_data(&ptr, offset, 16);
	answers[3] = !!data;
	if (data)
		data[1] = ~0ull;
	// Where source and destination overlap.
	answers[4] = bpf_dynptr_write(&ptr, offset, memory + 8, 64, 0);
	answers[5] = bpf_dynptr_read(memory + 16, 64, &ptr, offset, 0);
	return XDP_PASS;
}

SEC("xdp") int values(struct xdp_md *ctx)
{
	u64 value = 0;

	read_input(ctx);
	for (u32 i = 0; i < 5; i++) {
		value = input.words[0] + i;
		answers[6 * i] = bpf_map_push_elem(&queue, &value, input.words[1]);
		answers[6 * i + 1] = bpf_map_push_elem(&stack, &value, input.words[1]);
		answers[6 * i + 2] = bpf_map_peek_elem(&queue, &value);
		answers[6 * i + 3] = value;
		answers[6 * i + 4] = bpf_map_peek_elem(&stack, &value);
		answers[6 * i + 5] = value;
	}
	for (u32 i = 0; i < 4; i++) {
		answers[30 + 4 * i] = bpf_map_pop_elem(&queue, &value);
		answers[31 + 4 * i] = value;
		answers[32 + 4 * i] = bpf_map_pop_elem(&stack, &value);
		answers[33 + 4 * i] = value;
	}
	answers[46] = bpf_map_push_elem(&bloom, &input.words[0], 0);
	answers[47] = bpf_map_peek_elem(&bloom, &input.words[0]);
	answers[48] = bpf_map_push_elem(&bloom, &input.words[0], 1);
	return XDP_PASS;
}

struct visit {
	u64 count;
	u64 sum;
	u64 keys;
	u64 limit;
};

// What functions count. On the stack, the verifier would count along.
struct visit visit;

static long visit_u32(void *map, u32 *key, u64 *value, u64 *marker)
{
	visit.count += *marker == 3;
	visit.keys += *key;
	visit.sum += *value;
	*value += 1;
	return map && visit.count >= visit.limit;
}

static long visit_u64(void *map, u64 *key, u64 *value, u64 *marker)
{
	u64 copy = *key;

	visit.count += *marker == 3;
	visit.keys += *key;
	visit.sum += *value;
	if (*key & 1)
		bpf_map_delete_elem(map, &copy);
	return visit.count >= visit.limit;
}

SEC("xdp") int for_each(struct xdp_md *ctx)
{
	u64 marker = 3, value, key;
	u32 index;

	read_input(ctx);
	visit = (struct visit){};
	for (u32 i = 0; i < 5; i++) {
		index = i;
		value = 10 * i;
		bpf_map_update_elem(&array, &index, &value, 0);
		key = 7 * i;
		bpf_map_update_elem(&hash, &key, &value, 0);
	}
	visit.limit = input.words[0];
	answers[0] = bpf_for_each_map_elem(&array, visit_u32, &marker, input.words[1]);
	answers[1] = visit.count, answers[2] = visit.sum, answers[3] = visit.keys;
	index = 2;
	u64 *found = bpf_map_lookup_elem(&array, &index);
	if (found)
		answers[4] = *found;
	visit = (struct visit){ .limit = 100 };
	answers[5] = bpf_for_each_map_elem(&hash, visit_u64, &marker, 0);
	answers[6] = visit.count, answers[7] = visit.sum, answers[8] = visit.keys;
	visit = (struct visit){ .limit = 100 };
	answers[9] = bpf_for_each_map_elem(&hash, visit_u64, &marker, 0);
	answers[10] = visit.count, answers[11] = visit.sum, answers[12] = visit.keys;
	// Those of other processors are from other runs.
	index = 0;
	value = 0;
	bpf_map_update_elem(&percpu, &index, &value, 0);
	index = 1;
	value = 5;
	bpf_map_update_elem(&percpu, &index, &value, 0);
	visit = (struct visit){ .limit = 100 };
	answers[13] = bpf_for_each_map_elem(&percpu, visit_u32, &marker, 0);
	answers[14] = visit.count, answers[15] = visit.sum, answers[16] = visit.keys;
	found = bpf_map_lookup_percpu_elem(&percpu, &index, bpf_get_smp_processor_id());
	if (found)
		answers[17] = *found;
	answers[18] = !bpf_map_lookup_percpu_elem(&percpu, &index, 1 << 20);
	index = 2;
	answers[19] = !bpf_map_lookup_percpu_elem(&percpu, &index, 0);
	index = 1;
	value = 0;
	bpf_map_update_elem(&percpu, &index, &value, 0);
	return XDP_PASS;
}

static long turn(u32 index, u64 *marker)
{
	visit.count += *marker == 3;
	visit.sum += index;
	return visit.count >= visit.limit;
}

SEC("xdp") int loops(struct xdp_md *ctx)
{
	u64 marker = 3;

	read_input(ctx);
	visit = (struct visit){ .limit = input.words[1] };
	answers[0] = bpf_loop(input.words[0], turn, &marker, input.words[2]);
	answers[1] = visit.count, answers[2] = visit.sum;
	return XDP_PASS;
}

SEC("xdp") int event_errors(struct xdp_md *ctx)
{
	read_input(ctx);
	answers[0] = bpf_perf_event_output(ctx, &events, 0xffffffff, input.text, 8);
	answers[1] = bpf_perf_event_output(ctx, &events, 4, input.text, 8);
	answers[2] = bpf_perf_event_output(ctx, &events, 1ull << 52, input.text, 8);
	answers[3] = bpf_perf_event_output(ctx, &events, (u64)(ctx->data_end - ctx->data + 1) << 32, input.text, 8);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

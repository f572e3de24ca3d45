// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Timers: what their helpers answer, and functions that are called later.
#include "helpers.h"

struct bpf_timer {
	u64 opaque[2];
} __attribute__((aligned(8)));

static long (*const bpf_timer_init)(struct bpf_timer *timer, void *map, u64 flags) = (void *)169;
static long (*const bpf_timer_set_callback)(struct bpf_timer *timer, void *func) = (void *)170;
static long (*const bpf_timer_start)(struct bpf_timer *timer, u64 delay, u64 flags) = (void *)171;
static long (*const bpf_timer_cancel)(struct bpf_timer *timer) = (void *)172;

struct value {
	u64 count;
	struct bpf_timer timer;
	u64 behind;
};

struct {
	__uint(type, MAP_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, struct value);
} array SEC(".maps");

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, 4);
	__type(key, u64);
	__type(value, struct value);
} hash SEC(".maps");

u64 fired;   // calls of the functions
u64 last_key; // of the last one
s64 in_call; // what cancelling a timer in its own function answers
u64 again;   // how often it is to be started in its function

static int fire(void *map, u32 *key, struct value *value)
{
	value->count++;
	last_key = *key;
	in_call = bpf_timer_cancel(&value->timer);
	if (again) {
		again--;
		bpf_timer_start(&value->timer, 1000, 0);
	}
	__sync_fetch_and_add(&fired, 1);
	return map ? 0 : 0;
}

static int fire_wide(void *map, u64 *key, struct value *value)
{
	value->count++;
	last_key = *key;
	__sync_fetch_and_add(&fired, 1);
	return map ? 0 : 0;
}

SEC("xdp") int errors(struct xdp_md *ctx)
{
	struct value *value, fresh = {};
	u32 key;

	read_input(ctx);
	key = input.words[0];
	bpf_map_update_elem(&array, &key, &fresh, 0);
	value = bpf_map_lookup_elem(&array, &key);
	if (!value)
		return XDP_DROP;
	answers[0] = bpf_timer_start(&value->timer, 0, 0);
	answers[1] = bpf_timer_set_callback(&value->timer, fire);
	answers[2] = bpf_timer_cancel(&value->timer);
	answers[3] = bpf_timer_init(&value->timer, &array, 16);
	answers[4] = bpf_timer_init(&value->timer, &array, 2);
	answers[5] = bpf_timer_init(&value->timer, &array, input.words[1]);
	answers[6] = bpf_timer_init(&value->timer, &array, 1);
	answers[7] = bpf_timer_start(&value->timer, 0, 0);
	answers[8] = bpf_timer_set_callback(&value->timer, fire);
	answers[9] = bpf_timer_start(&value->timer, 0, 4);
	answers[10] = bpf_timer_cancel(&value->timer);
	answers[11] = bpf_timer_start(&value->timer, 0, 0);
	answers[12] = bpf_timer_set_callback(&value->timer, fire);
	answers[13] = bpf_timer_start(&value->timer, 1ull << 50, 0);
	answers[14] = bpf_timer_start(&value->timer, 1ull << 50, 2);
	answers[15] = bpf_timer_cancel(&value->timer);
	answers[16] = bpf_timer_cancel(&value->timer);
	// What overwrites the value ends its timer.
	bpf_map_update_elem(&array, &key, &fresh, 0);
	answers[17] = bpf_timer_start(&value->timer, 0, 0);
	answers[18] = bpf_timer_init(&value->timer, &array, 1);
	answers[19] = bpf_timer_set_callback(&value->timer, fire);
	answers[20] = bpf_timer_start(&value->timer, 1ull << 50, 0);
	bpf_map_update_elem(&array, &key, &fresh, 0);
	answers[21] = bpf_timer_cancel(&value->timer);
	answers[22] = value->count;
	return XDP_PASS;
}

SEC("xdp") int go(struct xdp_md *ctx)
{
	struct value *value;
	u32 key;

	read_input(ctx);
	key = input.words[0];
	again = input.words[3];
	value = bpf_map_lookup_elem(&array, &key);
	if (!value)
		return XDP_DROP;
	answers[0] = bpf_timer_init(&value->timer, &array, input.text[0]);
	answers[1] = bpf_timer_set_callback(&value->timer, fire);
	answers[2] = bpf_timer_start(&value->timer, input.words[1], input.words[2]);
	return XDP_PASS;
}

// Starts one in a hash, and deletes the element, or puts another one in its place.
SEC("xdp") int gone(struct xdp_md *ctx)
{
	struct value *value, fresh = {};
	u64 key;

	read_input(ctx);
	key = input.words[0];
	bpf_map_update_elem(&hash, &key, &fresh, 0);
	value = bpf_map_lookup_elem(&hash, &key);
	if (!value)
		return XDP_DROP;
	answers[0] = bpf_timer_init(&value->timer, &hash, 1);
	answers[1] = bpf_timer_set_callback(&value->timer, fire_wide);
	answers[2] = bpf_timer_start(&value->timer, input.words[1], 0);
	if (input.words[2] == 1)
		bpf_map_delete_elem(&hash, &key);
	if (input.words[2] == 2)
		bpf_map_update_elem(&hash, &key, &fresh, 0);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

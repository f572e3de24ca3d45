// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The types of target.btf.c, as an earlier kernel had them.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

RESULTS(32);

enum mode { MODE_OFF, MODE_ON, MODE_GONE, MODE_AUTO };
enum level { LEVEL_LOW = -2, LEVEL_HIGH = 2 };
enum mask { MASK_NONE = 0, MASK_TOP = 0x8000000000000000ULL, MASK_LOW = 3 };
enum depth { DEPTH_MIN = -0x6000000000000000LL, DEPTH_MAX = 0x6000000000000000LL };

struct point {
	int x, y;
} __preserve_access_index;

union variant {
	u64 number;
	u8 bytes[12];
} __preserve_access_index;

struct inner {
	u32 weight;
	struct point points[4];
} __preserve_access_index;

struct owner;

struct widget {
	struct inner *inner;
	u32 hidden_a;
	u32 flag_a : 3;
	s32 flag_b : 5;
	u64 flag_c : 20;
	u32 flag_d : 1;
	struct inner embedded;
	u64 id;
	s32 small;
	char name[16];
	struct owner *owner;
	enum mode mode;
	union variant variant;
	u32 gone;
	struct widget *next;
	u8 tail[];
} __preserve_access_index;


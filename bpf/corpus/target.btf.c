// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The types of a kernel that does not exist: what the CO-RE objects of the corpus
// are relocated against. Differs from core.h in every way that must not matter,
// and in some that do.
#include "corpus.h"

typedef unsigned int uint;

enum mode { MODE_NEW, MODE_OFF, MODE_ON, MODE_AUTO = 40 };
enum level { LEVEL_LOW = -9, LEVEL_HIGH = 9 };
enum mask { MASK_NONE = 0, MASK_TOP = 0x4000000000000000ULL, MASK_LOW = 7 };
enum depth { DEPTH_MIN = -0x7000000000000000LL, DEPTH_MAX = 0x7000000000000000LL };

struct point {
	u64 pad;
	long long y, x; // wider, and the other way round
};

union variant {
	u32 number;
	u8 bytes[8];
};

struct inner {
	u8 pad[24];
	struct point points[8];
	u32 weight;
};

struct widget {
	u64 cookie;
	struct {
		union {
			u32 hidden_a;
			u64 hidden_b;
		};
		const struct inner *inner; // const here
	};
	u8 flag_pad : 2;
	u32 flag_a : 4; // 3 bits there
	s32 flag_b : 7;
	u64 flag_c : 33;
	bool flag_d; // a bitfield there
	struct inner embedded;
	char name[32]; // 16 there
	u32 id; // u64 there
	s16 small; // s32 there
	void *owner; // another pointer there
	enum mode mode;
	union variant variant;
	struct widget *next;
	int (*callback)(struct widget *widget, u32 argument);
	u8 tail[];
};

// Only its essential name is that of `struct gadget___old` and `___new`.
struct gadget {
	u32 first;
	u64 renamed;
};

// A struct that changed its kind.
union changed {
	u32 number;
};

typedef struct widget widget_t;
typedef int number_t;
typedef int (*function_t)(struct widget *widget, u32 argument);
typedef u32 table_t[4];

struct same {
	int a;
	struct widget *b;
	u8 c[4];
	enum mode d;
};

struct similar {
	u64 a;
	struct widget *b;
};

struct opaque;

// Looked up as externs.
int number_of_cpus __attribute__((section(".data")));
struct widget the_widget __attribute__((section(".data")));
struct opaque *the_opaque __attribute__((section(".data")));

__noinline int kernel_function(struct widget *widget, u32 argument)
{
	barrier_var(argument);
	return widget ? argument : 0;
}

__noinline void kernel_release(struct widget *widget)
{
	barrier_var(widget);
}

// struct_ops, as the kernel describes them.
struct widget_ops {
	u64 pad;
	int (*init)(struct widget *widget);
	void (*release)(struct widget *widget);
	u32 flags;
	char name[16];
	int (*step)(struct widget *widget, u32 argument);
};

enum bpf_struct_ops_state { STATE_INIT, STATE_INUSE };

typedef struct {
	int counter;
} refcount_t;

struct bpf_struct_ops_common {
	refcount_t refcnt;
	enum bpf_struct_ops_state state;
};

struct bpf_struct_ops_widget_ops {
	struct bpf_struct_ops_common common;
	struct widget_ops data __attribute__((aligned(64)));
};

// What keeps the types.
struct all {
	enum level level;
	enum mask mask;
	enum depth depth;
	struct gadget gadget;
	union changed changed;
	widget_t *widget;
	number_t number;
	function_t function;
	table_t table;
	struct same same;
	struct similar similar;
	struct bpf_struct_ops_widget_ops ops;
	uint plain;
} all;

// Two structs of one name: an access that both could mean.
__noinline u64 one(void)
{
	static struct ambiguous {
		u32 pad, field, agreed;
	} volatile value;

	return value.field;
}

__noinline u64 other(void)
{
	static struct ambiguous {
		u32 field, pad, agreed;
	} volatile value;

	return value.field;
}

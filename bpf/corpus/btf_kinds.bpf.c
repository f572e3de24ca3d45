// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Types of every kind that BTF has.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

struct declared_only;
union declared_only_union;

enum colour { RED, GREEN = 5, BLUE };
enum direction { BACK = -1, FORTH = 1 };
enum big { BIG_ONE = 1, BIG_TOP = 0x8000000000000000ULL };
enum big_signed { BIG_LOW = -0x7fffffffffffffffLL, BIG_HIGH = 0x7fffffffffffffffLL };
enum tiny { TINY } __attribute__((packed));

struct node {
	struct node *next, **previous;
	struct {
		int x;
		union {
			u64 whole;
			u32 half[2];
		};
	};
	const volatile char *restrict text;
};

struct __attribute__((packed)) tight {
	u8 a;
	u32 b;
	u16 c;
};

struct bits {
	u32 a : 1, b : 3;
	s32 c : 5;
	u32 : 0;
	u64 d : 40;
	enum colour e : 3;
	bool f : 1;
};

struct flexible {
	u32 count;
	struct node nodes[];
};

typedef int (*compare_fn)(const void *, const void *, ...);
typedef struct node *list_t;
typedef void nothing_t(void);
typedef u8 mac_t[6];

union value {
	float single;
	double twice;
	__int128 wide;
	char text[16];
	u32 matrix[2][3][4];
};

struct tagged {
	u64 old_name __decl_tag("was:name");
	struct node __type_tag("user") *user;
	struct node __type_tag("rcu") __type_tag("percpu") *both;
} __decl_tag("whole");

struct everything {
	struct declared_only *a;
	union declared_only_union *b;
	enum colour c;
	enum direction d;
	enum big e;
	enum big_signed f;
	enum tiny g;
	struct node h;
	struct tight i;
	struct bits j;
	struct flexible *k;
	compare_fn l;
	list_t m;
	nothing_t *n;
	mac_t o;
	union value p;
	struct tagged q;
	bool r;
	const char *const *volatile s;
	enum { UNNAMED_A, UNNAMED_B } t;
	struct {
	} empty;
	void (*u)(struct everything *, int (*)[4]);
	signed char v;
	unsigned long w;
};

struct everything everything;
static volatile int hidden __decl_tag("static");

__noinline int global_function(struct everything *all, int argument __decl_tag("argument")) __decl_tag("function")
{
	return all ? argument + hidden : 0;
}

static __noinline int static_function(int argument)
{
	barrier_var(argument);
	return argument + 1;
}

SEC("socket") int use(struct __sk_buff *skb)
{
	return global_function(&everything, skb->len) + static_function(skb->len);
}

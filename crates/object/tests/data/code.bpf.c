// SPDX-License-Identifier: MIT OR Apache-2.0
//
// One matter of code each, chosen by a macro: ORDER, CORE, KCONFIG, KSYMS, LONE; LINK_A and LINK_B are linked; what
// UNDECLARED and KCONFIG_STRUCT ask for does not exist. Rebuild here with
//
//	for x in ORDER CORE KCONFIG KSYMS LONE LINK_A LINK_B UNDECLARED KCONFIG_STRUCT; do
//		clang-19 -O2 -g -target bpf -mcpu=v3 -ffile-prefix-map=$PWD=. -D$x -c code.bpf.c -o code_$x.bpf.o
//		llvm-strip-19 -g code_$x.bpf.o
//	done
//	bpftool gen object code_LINKED.bpf.o code_LINK_A.bpf.o code_LINK_B.bpf.o
//	clang-19 -O2 -target bpf -mcpu=v3 -DKSYMS -c code.bpf.c -o code_NO_BTF.bpf.o
#define SEC(name) __attribute__((section(name), used))
#define __noinline __attribute__((noinline))
#define __weak __attribute__((weak))
#define __hidden __attribute__((visibility("hidden")))
#define __ksym __attribute__((section(".ksyms")))
#define __kconfig __attribute__((section(".kconfig")))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) __typeof__(val) *name

typedef unsigned u32;
typedef unsigned long long u64;

static void *(*const lookup)(void *map, const void *key) = (void *)1;
static long (*const loop)(u32 n, void *callback, void *ctx, u64 flags) = (void *)181;

#ifdef ORDER
static u64 total;

static __noinline int leaf(int x)
{
	total += x;
	return x;
}

static __noinline int middle(int x)
{
	total += 2;
	return leaf(x) + 1;
}

static __noinline int second_callback(u32 index, void *ctx)
{
	total += leaf(index);
	return 0;
}

static __noinline int callback(u32 index, void *ctx)
{
	total += 7;
	loop(2, second_callback, 0, 0);
	return 0;
}

__noinline int global(int x)
{
	total += 3;
	return middle(x) + 2;
}

__weak __noinline int weak(int x)
{
	total += 4;
	return global(x) + leaf(x);
}

__hidden __noinline int hidden(int x)
{
	total += 5;
	return weak(x + 1);
}

SEC("xdp") int all(void *ctx)
{
	loop(3, callback, 0, 0);
	return leaf(total) + hidden(1);
}

SEC("?tc") __noinline int optional(void *ctx)
{
	return hidden(total) + middle(2);
}

SEC("tc") int calls_a_program(void *ctx)
{
	return optional(ctx);
}

u32 _version SEC("version") = 0x050607;
#endif

#ifdef CORE
struct task {
	int pid, tgid;
	struct {
		u64 start;
	} times;
} __attribute__((preserve_access_index));

static __noinline int tgid_of(struct task *task)
{
	return task->tgid;
}

SEC("xdp") int first(struct task *task)
{
	return task->pid + tgid_of(task);
}

SEC("xdp") int second(struct task *task)
{
	return tgid_of(task) + task->times.start;
}
#endif

#ifdef KCONFIG
enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };

extern int LINUX_KERNEL_VERSION __kconfig;
extern u64 CONFIG_NUMBER __kconfig __weak;
extern unsigned short CONFIG_SHORT __kconfig __weak;
extern _Bool CONFIG_BOOL __kconfig;
extern char CONFIG_CHAR __kconfig __weak;
extern enum libbpf_tristate CONFIG_TRISTATE __kconfig __weak;
extern char CONFIG_TEXT[20] __kconfig __weak;
extern char CONFIG_ANOTHER_TEXT[20] __kconfig __weak;

static u64 total;

SEC("xdp") int program(void *ctx)
{
	total += LINUX_KERNEL_VERSION + CONFIG_NUMBER + CONFIG_SHORT + CONFIG_BOOL + CONFIG_CHAR + CONFIG_TRISTATE;
	return CONFIG_TEXT[total & 15] + CONFIG_ANOTHER_TEXT[0];
}
#endif

#ifdef KSYMS
struct task_struct;

extern const void init_task __ksym;
extern const int runqueues __ksym __weak;
extern struct task_struct *bpf_task_acquire(struct task_struct *task) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym __weak;

static __noinline void release(struct task_struct *task)
{
	if (bpf_task_release)
		bpf_task_release(task);
}

SEC("tp_btf/sched_switch") u64 program(void *ctx)
{
	u64 sum = (u64)&init_task + (u64)&runqueues;

	release(bpf_task_acquire(ctx));
	return sum;
}
#endif

#ifdef LONE
int lone(void *ctx)
{
	return 1;
}
#endif

#ifdef LINK_A
struct {
	__uint(type, 1);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64);
} shared SEC(".maps");

static u64 mine = 5;
extern u64 config_of_b;
extern int CONFIG_HZ __kconfig;

static __noinline int helper(int x)
{
	u64 *value = lookup(&shared, &(u32){x});

	if (value)
		*value += 1;
	mine += x;
	return x + 1;
}

__weak __noinline int replaced(int x)
{
	mine += 100;
	return x;
}

int of_b(int x);

__noinline int of_a(int x)
{
	return helper(x) + 7;
}

SEC("xdp") int first(void *ctx)
{
	return helper(1) + of_b(2) + replaced(3) + config_of_b + CONFIG_HZ;
}
#endif

#ifdef LINK_B
extern struct {
	__uint(type, 1);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64);
} shared __attribute__((section(".maps")));

u64 config_of_b = 3;
static u64 mine = 9;
extern int CONFIG_HZ __kconfig;
extern char CONFIG_TEXT[9] __kconfig __weak;

int of_a(int x);

static __noinline int helper(int x)
{
	u64 *value = lookup(&shared, &(u32){x});

	if (value)
		*value += 3;
	mine += x * 2;
	return x - 1;
}

__noinline int replaced(int x)
{
	config_of_b += 100;
	return helper(x);
}

__noinline int of_b(int x)
{
	return helper(x) + of_a(x);
}

SEC("xdp") int second(void *ctx)
{
	return helper(1) + of_b(2) + CONFIG_HZ + CONFIG_TEXT[1];
}
#endif

#ifdef UNDECLARED
int somewhere_else(int x);

SEC("xdp") int program(void *ctx)
{
	return somewhere_else(1);
}
#endif

#ifdef KCONFIG_STRUCT
struct pair {
	int a, b;
};

extern struct pair CONFIG_PAIR __kconfig;

SEC("xdp") int program(void *ctx)
{
	return CONFIG_PAIR.b;
}
#endif

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What libbpf makes of an object file, as JSON on standard output.
//
//	oracle FILE [--btf FILE] [--kconfig FILE] [--kallsyms FILE] [--open] [--any-target]
//
// libbpf opens and loads the object, but no kernel takes part: this program has
// a syscall() of its own, which libbpf then calls instead of libc's, and which
// answers every bpf(2) command as a kernel would that has every feature. It keeps
// what it was asked to make. What libbpf asks for only to find out about features
// is answered too, and not shown: shown are the objects that end up behind the
// descriptors of the object's maps and programs, and what these refer to.
//
// What libbpf reads from the machine is replaced by the options: --btf is the BTF
// of the kernel (raw, default the machine's), --kconfig its configuration and
// --kallsyms its symbols (both default to nothing); the kernel's version is 6.1.0.
// --open leaves the object unloaded. --any-target loads programs that attach to
// functions, hooks or programs by their types as if they had none, so that it does
// not matter whether these exist.
//
// The exit status is 0 whenever there is an answer, even if it is "refused".
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#define BPF_FS_MAGIC 0xcafe4a11
#define PIN_ROOT "/tmp"
#define NONE (-1)

// Program type for sections whose name libbpf does not know: it refuses to load
// programs without one. No kernel has it.
#define UNKNOWN ((enum bpf_prog_type)1000)

// What was made ---------------------------------------------------------------

enum kind { MAP, PROG, BTF, OTHER };

struct update {
	void *key;
	void *value;  // if the element is no descriptor
	int referred; // record that the element's descriptor stands for, or NONE
	struct function *functions;
	int function_count;
};

// A member of a struct_ops value that is a function: the program's descriptor was in
// its place.
struct function {
	const char *member;
	int referred;
};

struct record {
	enum kind kind;
	ino_t inode; // of the descriptor's file: says which record a descriptor is
	union bpf_attr attr;

	int inner; // record of the template of inner maps
	int frozen;
	struct update *updates;
	int update_count;

	struct bpf_insn *insns;
	int *referred; // by slot: record that a wide immediate refers to, or NONE
	char *license;
	struct bpf_func_info *funcs;
	struct bpf_line_info *lines;

	void *bytes; // BTF
};

static struct record *records;
static int record_count;

static void *copy(__u64 address, size_t size)
{
	void *to = calloc(1, size + 1);

	if (!to)
		abort();
	if (address && size)
		memcpy(to, (void *)(unsigned long)address, size);
	return to;
}

static int find(int fd)
{
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return NONE;
	for (int i = 0; i < record_count; i++)
		if (records[i].inode == st.st_ino)
			return i;
	return NONE;
}

// A descriptor that can be closed, duplicated and mapped.
static int make(enum kind kind, const union bpf_attr *attr, struct record **made)
{
	int fd = memfd_create("oracle", MFD_CLOEXEC);
	struct record *record;
	struct stat st;

	if (fd < 0 || ftruncate(fd, 1 << 30) || fstat(fd, &st))
		return -1;
	// Kept open, so that no other file gets its number.
	if (fcntl(fd, F_DUPFD_CLOEXEC, 512) < 0)
		return -1;
	records = realloc(records, (record_count + 1) * sizeof(*records));
	if (!records)
		abort();
	record = &records[record_count++];
	*record = (struct record){.kind = kind, .inode = st.st_ino, .attr = *attr, .inner = NONE};
	if (made)
		*made = record;
	return fd;
}

static bool holds_descriptors(__u32 map_type)
{
	return map_type == BPF_MAP_TYPE_PROG_ARRAY || map_type == BPF_MAP_TYPE_ARRAY_OF_MAPS ||
	       map_type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

// bpf(2) ----------------------------------------------------------------------

static int map_create(const union bpf_attr *attr)
{
	int inner = attr->inner_map_fd ? find(attr->inner_map_fd) : NONE;
	struct record *map;
	int fd = make(MAP, attr, &map);

	if (fd >= 0)
		map->inner = inner;
	return fd;
}

static const struct btf *kernel_btf(void);

// Takes the descriptors out of a value of a struct_ops map, whose layout is the kernel's:
// a struct with the functions' struct as its member `data`.
static void take_functions(struct update *update, __u32 value_type)
{
	const struct btf *btf = kernel_btf();
	const struct btf_type *outer = btf__type_by_id(btf, value_type);
	__u32 start = 0, inner_id = 0;
	const struct btf_type *inner;

	for (int i = 0; outer && i < btf_vlen(outer); i++) {
		const struct btf_member *member = &btf_members(outer)[i];

		if (!strcmp(btf__name_by_offset(btf, member->name_off), "data")) {
			start = member->offset / 8;
			inner_id = member->type;
		}
	}
	inner = btf__type_by_id(btf, inner_id);
	for (int i = 0; inner && i < btf_vlen(inner); i++) {
		const struct btf_member *member = &btf_members(inner)[i];
		const struct btf_type *type = btf__type_by_id(btf, btf__resolve_type(btf, member->type));
		unsigned long *place = (void *)((char *)update->value + start + member->offset / 8);

		if (!btf_is_ptr(type) || find(*place) == NONE)
			continue;
		update->functions = realloc(update->functions,
					    (update->function_count + 1) * sizeof(*update->functions));
		if (!update->functions)
			abort();
		update->functions[update->function_count++] = (struct function){
			.member = btf__name_by_offset(btf, member->name_off), .referred = find(*place)};
		*place = 0;
	}
}

static int map_update(const union bpf_attr *attr)
{
	int index = find(attr->map_fd);
	struct record *map;
	struct update *update;

	if (index == NONE || records[index].kind != MAP) {
		errno = EBADF;
		return -1;
	}
	map = &records[index];
	map->updates = realloc(map->updates, (map->update_count + 1) * sizeof(*map->updates));
	if (!map->updates)
		abort();
	update = &map->updates[map->update_count++];
	*update = (struct update){.key = copy(attr->key, map->attr.key_size), .referred = NONE};
	if (holds_descriptors(map->attr.map_type))
		update->referred = find(*(int *)(unsigned long)attr->value);
	else
		update->value = copy(attr->value, map->attr.value_size);
	if (map->attr.map_type == BPF_MAP_TYPE_STRUCT_OPS)
		take_functions(update, map->attr.btf_vmlinux_value_type_id);
	return 0;
}

static int map_freeze(const union bpf_attr *attr)
{
	int index = find(attr->map_fd);

	if (index == NONE) {
		errno = EBADF;
		return -1;
	}
	records[index].frozen = 1;
	return 0;
}

static int prog_load(const union bpf_attr *attr)
{
	struct record *prog;
	int fd;

	if ((attr->func_info_cnt && attr->func_info_rec_size != sizeof(*prog->funcs)) ||
	    (attr->line_info_cnt && attr->line_info_rec_size != sizeof(*prog->lines))) {
		errno = E2BIG;
		return -1;
	}
	fd = make(PROG, attr, &prog);
	if (fd < 0)
		return fd;
	prog->insns = copy(attr->insns, attr->insn_cnt * sizeof(*prog->insns));
	prog->referred = copy(0, attr->insn_cnt * sizeof(*prog->referred));
	prog->license = strdup((const char *)(unsigned long)attr->license);
	prog->funcs = copy(attr->func_info, attr->func_info_cnt * sizeof(*prog->funcs));
	prog->lines = copy(attr->line_info, attr->line_info_cnt * sizeof(*prog->lines));
	for (__u32 i = 0; i < attr->insn_cnt; i++) {
		struct bpf_insn *insn = &prog->insns[i];

		prog->referred[i] = NONE;
		if (insn->code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (insn->src_reg == BPF_PSEUDO_MAP_FD || insn->src_reg == BPF_PSEUDO_MAP_VALUE) {
			prog->referred[i] = find(insn->imm);
			if (prog->referred[i] != NONE)
				insn->imm = 0;
		}
		if (++i < attr->insn_cnt)
			prog->referred[i] = NONE;
	}
	return fd;
}

static int btf_load(const union bpf_attr *attr)
{
	struct record *btf;
	int fd = make(BTF, attr, &btf);

	if (fd >= 0)
		btf->bytes = copy(attr->btf, attr->btf_size);
	return fd;
}

static int bpf(int cmd, const void *from, unsigned int size)
{
	union bpf_attr attr = {};

	memcpy(&attr, from, size < sizeof(attr) ? size : sizeof(attr));
	switch (cmd) {
	case BPF_MAP_CREATE:
		return map_create(&attr);
	case BPF_MAP_UPDATE_ELEM:
		return map_update(&attr);
	case BPF_MAP_FREEZE:
		return map_freeze(&attr);
	case BPF_PROG_LOAD:
		return prog_load(&attr);
	case BPF_BTF_LOAD:
		return btf_load(&attr);
	case BPF_LINK_CREATE:
		// libbpf asks for a link to nothing to see whether the
		// descriptor is what is found wrong.
		if ((int)attr.link_create.target_fd == -1 || !attr.link_create.attach_type) {
			errno = EBADF;
			return -1;
		}
		return make(OTHER, &attr, NULL);
	case BPF_RAW_TRACEPOINT_OPEN:
		return make(OTHER, &attr, NULL);
	case BPF_OBJ_PIN:
	case BPF_PROG_BIND_MAP:
	case BPF_OBJ_GET_INFO_BY_FD:
		return 0;
	case BPF_OBJ_GET: // nothing is pinned
	case BPF_BTF_GET_NEXT_ID: // no module is there
	case BPF_MAP_LOOKUP_ELEM:
		errno = ENOENT;
		return -1;
	default:
		errno = EINVAL;
		return -1;
	}
}

long syscall(long number, ...)
{
	static long (*real)(long, ...);
	long args[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		args[i] = va_arg(list, long);
	va_end(list);
	if (number == __NR_bpf)
		return bpf(args[0], (const void *)args[1], args[2]);
	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return real(number, args[0], args[1], args[2], args[3], args[4], args[5]);
}

// The machine, as libbpf sees it ----------------------------------------------

static const char *vmlinux, *kallsyms = "/dev/null";

static const char *redirect(const char *path)
{
	if (vmlinux && !strcmp(path, "/sys/kernel/btf/vmlinux"))
		return vmlinux;
	if (!strcmp(path, "/proc/kallsyms"))
		return kallsyms;
	return path;
}

static const struct btf *kernel_btf(void)
{
	static struct btf *btf;

	if (!btf)
		btf = btf__load_vmlinux_btf();
	return btf;
}

FILE *fopen(const char *path, const char *mode)
{
	FILE *(*real)(const char *, const char *) =
		(FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "fopen");

	return real(redirect(path), mode);
}

FILE *fopen64(const char *path, const char *mode)
{
	return fopen(path, mode);
}

static int open_redirected(const char *path, int flags, mode_t mode)
{
	int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");

	return real(redirect(path), flags, mode);
}

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list list;

	va_start(list, flags);
	if (flags & O_CREAT)
		mode = va_arg(list, mode_t);
	va_end(list);
	return open_redirected(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list list;

	va_start(list, flags);
	if (flags & O_CREAT)
		mode = va_arg(list, mode_t);
	va_end(list);
	return open_redirected(path, flags | O_LARGEFILE, mode);
}

int faccessat(int dir, const char *path, int mode, int flags)
{
	int (*real)(int, const char *, int, int) =
		(int (*)(int, const char *, int, int))dlsym(RTLD_NEXT, "faccessat");

	return real(dir, redirect(path), mode, flags);
}

// The machine's own configuration is never read.
void *gzopen(const char *path, const char *mode)
{
	void *(*real)(const char *, const char *) =
		(void *(*)(const char *, const char *))dlsym(RTLD_NEXT, "gzopen");

	(void)path;
	return real("/dev/null", mode);
}

void *gzopen64(const char *path, const char *mode)
{
	return gzopen(path, mode);
}

// Wherever maps are pinned, that is a BPF file system.
int statfs(const char *path, struct statfs *st)
{
	(void)path;
	*st = (struct statfs){.f_type = BPF_FS_MAGIC};
	return 0;
}

int statfs64(const char *path, struct statfs64 *st)
{
	(void)path;
	*st = (struct statfs64){.f_type = BPF_FS_MAGIC};
	return 0;
}

int uname(struct utsname *name)
{
	*name = (struct utsname){.sysname = "Linux", .release = "6.1.0", .version = "#1 SMP"};
	return 0;
}

// JSON ------------------------------------------------------------------------

static void string(const char *text)
{
	putchar('"');
	for (; text && *text; text++) {
		unsigned char c = *text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void name(const char *key)
{
	string(key);
	printf(": ");
}

static void field(const char *key, unsigned long long value)
{
	printf(", ");
	name(key);
	printf("%llu", value);
}

static void text_field(const char *key, const char *value)
{
	printf(", ");
	name(key);
	if (value)
		string(value);
	else
		printf("null");
}

static void hex(const void *bytes, size_t size)
{
	putchar('"');
	for (size_t i = 0; i < size; i++)
		printf("%02x", ((const unsigned char *)bytes)[i]);
	putchar('"');
}

// The answer ------------------------------------------------------------------

static struct bpf_object *object;
static char *log_text;
static size_t log_size;
static FILE *log_file;

static int print(enum libbpf_print_level level, const char *format, va_list list)
{
	if (level == LIBBPF_DEBUG)
		return 0;
	return vfprintf(log_file, format, list);
}

// A map of a section of global data is known by its section, without the object's
// name that libbpf puts before it.
static const char *map_name(const struct bpf_map *map)
{
	const char *whole = bpf_map__name(map);

	if (bpf_map__is_internal(map) && whole[0] != '.' && strrchr(whole, '.'))
		return strrchr(whole, '.');
	return whole;
}

// The name of what a record is: a map of the object, or one of its programs.
static const char *record_name(int index)
{
	struct bpf_program *prog;
	struct bpf_map *map;

	if (index == NONE)
		return NULL;
	bpf_object__for_each_map(map, object)
		if (find(bpf_map__fd(map)) == index)
			return map_name(map);
	bpf_object__for_each_program(prog, object)
		if (find(bpf_program__fd(prog)) == index)
			return bpf_program__name(prog);
	return NULL;
}

static void functions(const struct update *update)
{
	const char *separator = "";

	printf(", \"functions\": [");
	for (int i = 0; i < update->function_count; i++) {
		printf("%s{\"member\": ", separator);
		string(update->functions[i].member);
		text_field("program", record_name(update->functions[i].referred));
		printf("}");
		separator = ", ";
	}
	printf("]");
}

// What the kernel was asked to create.
static void created(int index)
{
	const struct record *map = &records[index];
	const union bpf_attr *attr = &map->attr;
	const char *separator = "";

	printf("{");
	name("name");
	string(attr->map_name);
	field("type", attr->map_type);
	field("key_size", attr->key_size);
	field("value_size", attr->value_size);
	field("max_entries", attr->max_entries);
	field("flags", attr->map_flags);
	field("numa_node", attr->numa_node);
	field("map_extra", attr->map_extra);
	field("btf_key_type_id", attr->btf_key_type_id);
	field("btf_value_type_id", attr->btf_value_type_id);
	field("btf_vmlinux_value_type_id", attr->btf_vmlinux_value_type_id);
	printf(", \"frozen\": %s, \"inner\": ", map->frozen ? "true" : "false");
	if (map->inner == NONE)
		printf("null");
	else
		created(map->inner);
	printf(", \"updates\": [");
	for (int i = 0; i < map->update_count; i++) {
		const struct update *update = &map->updates[i];

		printf("%s{\"key\": ", separator);
		hex(update->key, attr->key_size);
		if (update->value) {
			printf(", \"value\": ");
			hex(update->value, attr->value_size);
			functions(update);
		} else {
			text_field("element", record_name(update->referred));
		}
		printf("}");
		separator = ", ";
	}
	printf("]}");
}

// What loading changes in the description of a map: types that the kernel does not
// take for maps of its type, sizes that it does not take.
struct declared {
	__u32 max_entries, value_size, key_type, value_type;
};

static struct declared *declared;

static void remember_declarations(void)
{
	const struct bpf_map *map;
	int count = 0;

	bpf_object__for_each_map(map, object) {
		declared = realloc(declared, (count + 1) * sizeof(*declared));
		if (!declared)
			abort();
		declared[count++] = (struct declared){
			.max_entries = bpf_map__max_entries(map),
			.value_size = bpf_map__value_size(map),
			.key_type = bpf_map__btf_key_type_id(map),
			.value_type = bpf_map__btf_value_type_id(map),
		};
	}
}

static void map(const struct bpf_map *map, const struct declared *declared, bool loaded)
{
	const char *pin = bpf_map__pin_path(map);
	int index = loaded ? find(bpf_map__fd(map)) : NONE;

	printf("{");
	name("name");
	string(map_name(map));
	field("type", bpf_map__type(map));
	field("key_size", bpf_map__key_size(map));
	field("value_size", declared->value_size);
	field("max_entries", declared->max_entries);
	field("flags", bpf_map__map_flags(map));
	field("numa_node", bpf_map__numa_node(map));
	field("map_extra", bpf_map__map_extra(map));
	field("btf_key_type_id", declared->key_type);
	field("btf_value_type_id", declared->value_type);
	printf(", \"internal\": %s", bpf_map__is_internal(map) ? "true" : "false");
	text_field("pin", pin ? pin + strlen(PIN_ROOT "/") : NULL);
	printf(", \"created\": ");
	if (index == NONE)
		printf("null");
	else
		created(index);
	printf("}");
}

static void instructions(const struct record *prog)
{
	const char *separator = "";

	printf(", \"insns\": [");
	for (__u32 i = 0; i < prog->attr.insn_cnt; i++) {
		printf("%s", separator);
		hex(&prog->insns[i], sizeof(prog->insns[i]));
		separator = ", ";
	}
	printf("], \"maps\": [");
	separator = "";
	for (__u32 i = 0; i < prog->attr.insn_cnt; i++) {
		if (prog->referred[i] == NONE)
			continue;
		printf("%s{\"pc\": %u", separator, i);
		text_field("map", record_name(prog->referred[i]));
		printf("}");
		separator = ", ";
	}
	printf("]");
}

static void debug_info(const struct record *prog)
{
	const struct btf *btf = bpf_object__btf(object);
	const char *separator = "";

	printf(", \"funcs\": [");
	for (__u32 i = 0; i < prog->attr.func_info_cnt; i++) {
		const struct btf_type *type = btf__type_by_id(btf, prog->funcs[i].type_id);

		printf("%s{\"pc\": %u", separator, prog->funcs[i].insn_off);
		field("type", prog->funcs[i].type_id);
		text_field("name", type ? btf__name_by_offset(btf, type->name_off) : NULL);
		printf("}");
		separator = ", ";
	}
	printf("], \"lines\": [");
	separator = "";
	for (__u32 i = 0; i < prog->attr.line_info_cnt; i++) {
		const struct bpf_line_info *line = &prog->lines[i];

		printf("%s{\"pc\": %u", separator, line->insn_off);
		text_field("file", btf__name_by_offset(btf, line->file_name_off));
		text_field("text", btf__name_by_offset(btf, line->line_off));
		field("line", line->line_col >> 10);
		field("column", line->line_col & 0x3ff);
		printf("}");
		separator = ", ";
	}
	printf("]");
}

static void program(const struct bpf_program *prog, bool loaded)
{
	int index = loaded ? find(bpf_program__fd(prog)) : NONE;

	printf("{");
	name("name");
	string(bpf_program__name(prog));
	text_field("section", bpf_program__section_name(prog));
	field("type", bpf_program__type(prog) == UNKNOWN ? 0 : bpf_program__type(prog));
	field("expected_attach_type", bpf_program__expected_attach_type(prog));
	field("flags", bpf_program__flags(prog));
	printf(", \"autoload\": %s, \"loaded\": ", bpf_program__autoload(prog) ? "true" : "false");
	if (index == NONE) {
		printf("null");
	} else {
		const union bpf_attr *attr = &records[index].attr;

		printf("{");
		name("name");
		string(attr->prog_name);
		text_field("license", records[index].license);
		field("type", attr->prog_type == UNKNOWN ? 0 : attr->prog_type);
		field("expected_attach_type", attr->expected_attach_type);
		field("flags", attr->prog_flags);
		field("attach_btf_id", attr->attach_btf_id);
		instructions(&records[index]);
		debug_info(&records[index]);
		printf("}");
	}
	printf("}");
}

static void answer(const char *failed, int error)
{
	const struct btf *btf = object ? bpf_object__btf(object) : NULL;
	int loaded_btf = object && !failed ? find(bpf_object__btf_fd(object)) : NONE;
	const char *separator = "";
	struct bpf_program *prog;
	struct bpf_map *m;
	int count = 0;

	fflush(log_file);
	printf("{\"version\": \"%u.%u\"", libbpf_major_version(), libbpf_minor_version());
	text_field("failed", failed);
	text_field("error", error ? strerrorname_np(error) : NULL);
	text_field("log", log_text);
	printf(", \"maps\": [");
	if (object)
		bpf_object__for_each_map(m, object) {
			printf("%s\n\t", separator);
			map(m, &declared[count++], !failed);
			separator = ",";
		}
	printf("], \"programs\": [");
	separator = "";
	if (object)
		bpf_object__for_each_program(prog, object) {
			printf("%s\n\t", separator);
			program(prog, !failed);
			separator = ",";
		}
	printf("], \"btf\": ");
	if (loaded_btf != NONE) {
		hex(records[loaded_btf].bytes, records[loaded_btf].attr.btf_size);
	} else if (btf) {
		__u32 size = 0;
		const void *bytes = btf__raw_data(btf, &size);

		hex(bytes, bytes ? size : 0);
	} else {
		printf("null");
	}
	printf("}\n");
}

// -----------------------------------------------------------------------------

static char *contents(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	if (!file || getdelim(&text, &size, 0, file) < 0) {
		fprintf(stderr, "oracle: %s: %s\n", path, strerror(errno));
		exit(2);
	}
	fclose(file);
	return text;
}

static void usage(void)
{
	fprintf(stderr,
		"usage: oracle FILE [--btf FILE] [--kconfig FILE] [--kallsyms FILE] [--open] [--any-target]\n");
	exit(2);
}

static bool has_target(const struct bpf_program *prog)
{
	switch (bpf_program__type(prog)) {
	case BPF_PROG_TYPE_TRACING:
	case BPF_PROG_TYPE_LSM:
	case BPF_PROG_TYPE_EXT:
		return true;
	default:
		return false;
	}
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .pin_root_path = PIN_ROOT, .kconfig = "");
	const char *path = NULL;
	bool open_only = false, any_target = false;
	struct bpf_program *p;
	struct bpf_map *m;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--open"))
			open_only = true;
		else if (!strcmp(argv[i], "--any-target"))
			any_target = true;
		else if (!strcmp(argv[i], "--btf") && i + 1 < argc)
			opts.btf_custom_path = vmlinux = argv[++i];
		else if (!strcmp(argv[i], "--kconfig") && i + 1 < argc)
			opts.kconfig = contents(argv[++i]);
		else if (!strcmp(argv[i], "--kallsyms") && i + 1 < argc)
			kallsyms = argv[++i];
		else if (argv[i][0] != '-' && !path)
			path = argv[i];
		else
			usage();
	}
	if (!path)
		usage();

	log_file = open_memstream(&log_text, &log_size);
	libbpf_set_print(print);
	object = bpf_object__open_file(path, &opts);
	if (!object) {
		answer("open", errno);
		return 0;
	}
	remember_declarations();
	if (open_only) {
		answer(NULL, 0);
		return 0;
	}
	bpf_object__for_each_program(p, object)
		if (bpf_program__type(p) == BPF_PROG_TYPE_UNSPEC || (any_target && has_target(p)))
			(void)bpf_program__set_type(p, UNKNOWN);
	if (bpf_object__load(object)) {
		answer("load", errno);
		return 0;
	}
	// Only now libbpf says what is in these.
	bpf_object__for_each_map(m, object)
		if (bpf_map__type(m) == BPF_MAP_TYPE_STRUCT_OPS)
			(void)bpf_map__attach_struct_ops(m);
	answer(NULL, 0);
	return 0;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the running kernel makes of an object's programs, as JSON on standard
// output, one value a line.
//
//	oracle FILE
//
// libbpf loads the object, if the file is not "-"; nothing is attached. Then each line of standard input
// asks for one thing, with bytes in hexadecimal ("-" for none):
//
//	run PROGRAM DATA CONTEXT   BPF_PROG_TEST_RUN
//	lookup MAP KEY             the value of an element, or null
//	update MAP KEY VALUE       an errno, or 0
//	drain MAP                  the records of a ring buffer
//	iter PROGRAM MAP SIZE COUNT
//	                           attaches an iterator (to no map, if MAP is "-"), and
//	                           reads so often up to so many bytes: errno and bytes of
//	                           each; just the errno, if it is not attached
//	format TEXT TARGET SIZE ARGUMENT...
//	                           bpf_snprintf() of up to 12 arguments: numbers, or
//	                           "@" and an offset in TARGET for its address
//
// The first line of the answer is the errno with which the object was refused, or
// 0; after an errno there are no more.
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define LINE (1 << 20)
#define ROOM (1 << 16)

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_DEBUG ? 0 : vfprintf(stderr, format, args);
}

static size_t unhex(const char *text, unsigned char *bytes)
{
	size_t count = 0;
	unsigned int byte;

	for (; sscanf(text, "%2x", &byte) == 1 && count < ROOM; text += 2)
		bytes[count++] = byte;
	return count;
}

static void hex(const void *bytes, size_t count)
{
	const unsigned char *byte = bytes;

	putchar('"');
	while (count--)
		printf("%02x", *byte++);
	putchar('"');
}

static void run(struct bpf_object *object, const char *name, const char *data, const char *context)
{
	static unsigned char in[ROOM], out[ROOM], ctx_in[ROOM], ctx_out[ROOM];
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	int err;

	if (strcmp(data, "-")) {
		opts.data_in = in;
		opts.data_size_in = unhex(data, in);
		opts.data_out = out;
		opts.data_size_out = sizeof(out);
	}
	if (strcmp(context, "-")) {
		opts.ctx_in = ctx_in;
		opts.ctx_size_in = unhex(context, ctx_in);
		if (bpf_program__type(program) != BPF_PROG_TYPE_SYSCALL) {
			opts.ctx_out = ctx_out;
			opts.ctx_size_out = sizeof(ctx_out);
		}
	}
	err = bpf_prog_test_run_opts(bpf_program__fd(program), &opts);
	printf("{\"errno\":%d,\"result\":%u,\"data\":", -err, opts.retval);
	hex(out, err ? 0 : opts.data_size_out);
	printf(",\"context\":");
	if (bpf_program__type(program) == BPF_PROG_TYPE_SYSCALL)
		hex(ctx_in, opts.ctx_size_in);
	else
		hex(ctx_out, err ? 0 : opts.ctx_size_out);
	printf("}\n");
}

static struct bpf_map *map(struct bpf_object *object, const char *name)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
		if (!strcmp(bpf_map__name(map), name))
			return map;
	// The name of global data is the object's, too.
	bpf_object__for_each_map(map, object) {
		const char *dot = strchr(bpf_map__name(map), '.');

		if (dot && !strcmp(dot, name))
			return map;
	}
	fprintf(stderr, "no map %s\n", name);
	exit(1);
}

static int record(void *first, void *bytes, size_t size)
{
	if (!*(int *)first)
		putchar(',');
	*(int *)first = 0;
	hex(bytes, size);
	return 0;
}

static void drain(struct bpf_map *map)
{
	int first = 1;
	struct ring_buffer *ring = ring_buffer__new(bpf_map__fd(map), record, &first, NULL);

	putchar('[');
	if (!ring || ring_buffer__consume(ring) < 0)
		exit(1);
	puts("]");
	ring_buffer__free(ring);
}

// An array of one value, that programs may name.
static int value_map(const void *value, size_t size, bool frozen)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = frozen ? BPF_F_RDONLY_PROG : 0);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "bytes", 4, size, 1, &opts);
	int key = 0;

	if (fd < 0 || bpf_map_update_elem(fd, &key, value, 0) || (frozen && bpf_map_freeze(fd)))
		exit(1);
	return fd;
}

static struct bpf_insn *wide(struct bpf_insn *insn, int reg, int src, __u64 low, __u64 high)
{
	insn[0] = (struct bpf_insn){ .code = BPF_LD | BPF_DW, .dst_reg = reg, .src_reg = src, .imm = low };
	insn[1] = (struct bpf_insn){ .imm = high };
	return insn + 2;
}

static struct bpf_insn *value_address(struct bpf_insn *insn, int reg, int map, __u32 offset)
{
	return wide(insn, reg, BPF_PSEUDO_MAP_VALUE, map, offset);
}

static void format(const char *text, const char *target, __u32 room, int count, char **args)
{
	static unsigned char bytes[ROOM], out[ROOM];
	struct bpf_insn insns[64], *insn = insns;
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	int text_map, target_map, out_map, prog, key = 0;

	memset(bytes, 0, sizeof(bytes));
	text_map = value_map(bytes, unhex(text, bytes) + 1, true);
	target_map = value_map(bytes, unhex(target, bytes) + 1, false);
	memset(out, '#', sizeof(out));
	out_map = value_map(out, room + 8, false);
	for (int i = 0; i < count; i++) {
		unsigned long long number = strtoull(args[i] + (*args[i] == '@'), NULL, 0);

		insn = *args[i] == '@' ? value_address(insn, BPF_REG_1, target_map, number) :
					 wide(insn, BPF_REG_1, 0, number, number >> 32);
		*insn++ = (struct bpf_insn){ .code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_10,
					     .src_reg = BPF_REG_1, .off = -8 * (count - i) };
	}
	insn = value_address(insn, BPF_REG_1, out_map, 0);
	insn = wide(insn, BPF_REG_2, 0, room, 0);
	insn = value_address(insn, BPF_REG_3, text_map, 0);
	*insn++ = (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_4,
				     .src_reg = BPF_REG_10 };
	*insn++ = (struct bpf_insn){ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_4, .imm = -8 * count };
	if (!count)
		insn = wide(insn, BPF_REG_4, 0, 0, 0); // NULL
	insn = wide(insn, BPF_REG_5, 0, 8 * count, 0);
	*insn++ = (struct bpf_insn){ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_snprintf };
	*insn++ = (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT };
	prog = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "format", "GPL", insns, insn - insns, NULL);
	if (prog < 0) {
		printf("{\"errno\":%d,\"result\":0,\"data\":\"\"}\n", errno);
	} else {
		opts.data_in = "12345678901234";
		opts.data_size_in = 14;
		if (bpf_prog_test_run_opts(prog, &opts) || bpf_map_lookup_elem(out_map, &key, out))
			exit(1);
		printf("{\"errno\":0,\"result\":%u,\"data\":", opts.retval);
		hex(out, room + 8);
		printf("}\n");
		close(prog);
	}
	close(text_map);
	close(target_map);
	close(out_map);
}

static void iterate(struct bpf_object *object, const char *name, const char *over, size_t size, int count)
{
	static unsigned char bytes[ROOM];
	struct bpf_program *program = bpf_object__find_program_by_name(object, name);
	union bpf_iter_link_info info = { 0 };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_link *link;
	int fd;

	if (strcmp(over, "-"))
		info.map.map_fd = bpf_map__fd(map(object, over));
	link = bpf_program__attach_iter(program, &opts);
	if (!link) {
		printf("%d\n", errno);
		return;
	}
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0 || size > sizeof(bytes))
		exit(1);
	putchar('[');
	for (int i = 0; i < count; i++) {
		ssize_t len = read(fd, bytes, size);

		printf("%s[%d,", i ? "," : "", len < 0 ? errno : 0);
		hex(bytes, len < 0 ? 0 : len);
		putchar(']');
	}
	puts("]");
	close(fd);
	bpf_link__destroy(link);
}

static void answer(struct bpf_object *object, char *line)
{
	static unsigned char key[ROOM], value[ROOM];
	char *words[16] = { NULL };
	int count = 0;

	for (char *word = strtok(line, " \n"); word && count < 16; word = strtok(NULL, " \n"))
		words[count++] = word;
	if (count == 4 && !strcmp(words[0], "run")) {
		run(object, words[1], words[2], words[3]);
	} else if (count == 3 && !strcmp(words[0], "lookup")) {
		int fd = bpf_map__fd(map(object, words[1]));

		unhex(words[2], key);
		if (bpf_map_lookup_elem(fd, key, value))
			printf("null");
		else
			hex(value, bpf_map__value_size(map(object, words[1])));
		putchar('\n');
	} else if (count == 4 && !strcmp(words[0], "update")) {
		unhex(words[2], key);
		unhex(words[3], value);
		printf("%d\n", -bpf_map_update_elem(bpf_map__fd(map(object, words[1])), key, value, 0));
	} else if (count == 2 && !strcmp(words[0], "drain")) {
		drain(map(object, words[1]));
	} else if (count == 5 && !strcmp(words[0], "iter")) {
		iterate(object, words[1], words[2], strtoul(words[3], NULL, 0), atoi(words[4]));
	} else if (count >= 4 && !strcmp(words[0], "format")) {
		format(words[1], words[2], strtoul(words[3], NULL, 0), count - 4, words + 4);
	} else {
		fprintf(stderr, "not understood: %s\n", line);
		exit(1);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static char line[LINE];
	struct bpf_object *object = NULL;
	int err = 0;

	if (argc != 2)
		return 1;
	libbpf_set_print(print);
	if (strcmp(argv[1], "-")) {
		object = bpf_object__open_file(argv[1], NULL);
		err = object ? bpf_object__load(object) : -errno;
	}
	printf("%d\n", -err);
	fflush(stdout);
	while (!err && fgets(line, sizeof(line), stdin))
		answer(object, line);
	return 0;
}

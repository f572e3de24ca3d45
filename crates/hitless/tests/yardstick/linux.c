// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What Linux says of each program of an object, as a line of JSON on standard
// output for each:
//
//	linux FILE [NAME=TYPE:ATTACH:FLAGS ...]
//
// Each program is loaded by itself, by libbpf, which makes the object's maps
// for it and takes them away again; nothing is attached or run. As in
// veristat, maps without a size get one, and nothing is pinned. Programs whose
// sections libbpf does not know are what the arguments say that they are.
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define LOG_SIZE (16 << 20)
#define LOG_LINES 8
// The path that failed, and the cost.
#define LOG_LEVEL 5

static char *log_buf;
static char warning[1024]; // the first one

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN && !warning[0])
		vsnprintf(warning, sizeof(warning), format, args);
	return 0;
}

static void text(const char *name, const char *value)
{
	printf(", \"%s\": \"", name);
	for (; *value; value++) {
		unsigned char c = *value;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < ' ' || c >= 0x7f)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

// Where the last lines of a text begin.
static const char *last_lines(const char *from)
{
	const char *at = from + strlen(from);
	int lines = 0;

	while (at > from)
		if (*--at == '\n' && at[1] && ++lines == LOG_LINES)
			return at + 1;
	return from;
}

static void fix_maps(struct bpf_object *object)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object) {
		bpf_map__set_pin_path(map, NULL);
		switch ((int)bpf_map__type(map)) {
		case BPF_MAP_TYPE_SK_STORAGE:
		case BPF_MAP_TYPE_TASK_STORAGE:
		case BPF_MAP_TYPE_INODE_STORAGE:
		case BPF_MAP_TYPE_CGROUP_STORAGE:
		case BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE:
		case 32: // BPF_MAP_TYPE_CGRP_STORAGE, which older headers lack
			break;
		default:
			if (!bpf_map__max_entries(map))
				bpf_map__set_max_entries(map, 1);
		}
	}
}

static void fix_type(struct bpf_program *prog, char **types)
{
	const char *name = bpf_program__name(prog);
	size_t length = strlen(name);
	unsigned int type, attach_type, flags;

	for (; *types; types++) {
		if (strncmp(*types, name, length) || (*types)[length] != '=')
			continue;
		if (sscanf(*types + length + 1, "%u:%u:%u", &type, &attach_type, &flags) != 3)
			continue;
		if (bpf_program__type(prog) != BPF_PROG_TYPE_UNSPEC && bpf_program__type(prog) != BPF_PROG_TYPE_EXT)
			return;
		bpf_program__set_type(prog, type);
		bpf_program__set_expected_attach_type(prog, attach_type);
		bpf_program__set_flags(prog, flags);
		return;
	}
}

static void load(const char *path, const char *wanted, int index, char **types)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *prog, *chosen = NULL;
	const char *at;
	int error = 0, processed = -1, i = 0;

	log_buf[0] = 0;
	warning[0] = 0;
	if (!object)
		return;
	fix_maps(object);
	bpf_object__for_each_program(prog, object) {
		bool is_it = i++ == index;

		bpf_program__set_autoload(prog, is_it);
		if (is_it)
			chosen = prog;
	}
	if (chosen && !strcmp(bpf_program__name(chosen), wanted)) {
		fix_type(chosen, types);
		bpf_program__set_log_buf(chosen, log_buf, LOG_SIZE);
		bpf_program__set_log_level(chosen, LOG_LEVEL);
		error = bpf_object__load(object);
		at = strstr(last_lines(log_buf), "processed ");
		if (at)
			processed = atoi(at + strlen("processed "));
		printf("{\"error\": %d, \"processed\": %d", -error, processed);
		text("program", wanted);
		text("log", last_lines(log_buf));
		text("warning", warning);
		printf("}\n");
	}
	bpf_object__close(object);
}

int main(int argc, char **argv)
{
	struct bpf_object *object;
	struct bpf_program *prog;
	char **names = NULL;
	int count = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: linux FILE [NAME=TYPE:ATTACH:FLAGS ...]\n");
		return 2;
	}
	log_buf = malloc(LOG_SIZE);
	if (!log_buf)
		return 2;
	libbpf_set_print(print);
	object = bpf_object__open_file(argv[1], NULL);
	if (!object)
		return 0;
	bpf_object__for_each_program(prog, object) {
		names = realloc(names, (count + 1) * sizeof(*names));
		names[count++] = strdup(bpf_program__name(prog));
	}
	bpf_object__close(object);
	for (int i = 0; i < count; i++)
		load(argv[1], names[i], i, argv + 2);
	return 0;
}

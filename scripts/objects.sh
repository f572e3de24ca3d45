#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Rebuilds bpf/*.bpf.o from bpf/*.bpf.c.
#
#   scripts/objects.sh            build into a temporary directory and compare,
#                                 byte for byte, with the committed objects
#   scripts/objects.sh --update   overwrite the committed objects
#
# The objects do not depend on where the repository lies or where this runs.
# They do depend on the compiler: clang 19 and llvm-strip 19 of Debian.
set -eu

case "${1-}" in
'' | --update) ;;
*)
	echo "usage: $0 [--update]" >&2
	exit 2
	;;
esac

if ! command -v clang-19 >/dev/null || ! command -v llvm-strip-19 >/dev/null; then
	if [ "$(id -u)" != 0 ]; then
		echo "$0: clang-19 or llvm-strip-19 is missing (packages clang-19, llvm-19)" >&2
		exit 1
	fi
	echo "$0: installing clang-19 and llvm-19 with apt-get" >&2
	apt-get update >&2
	DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends clang-19 llvm-19 >&2
fi

# From the top of the repository, so that the names in the line information are
# relative to it, and clang finds the lines' text by them.
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

unset C_INCLUDE_PATH CPATH SOURCE_DATE_EPOCH CCC_OVERRIDE_OPTIONS
for src in bpf/*.bpf.c; do
	obj=$(basename "$src" .c).o
	clang-19 --no-default-config -std=gnu11 -O2 -g -target bpf -mcpu=v3 -mlittle-endian \
		-Wall -Wextra -Werror -nostdinc \
		-ffile-compilation-dir=. \
		-c "$src" -o "$out/$obj"
	llvm-strip-19 -g "$out/$obj" # DWARF goes, BTF stays
done

if [ "${1-}" = --update ]; then
	rm -f bpf/*.bpf.o
	cp "$out"/*.bpf.o bpf/
	chmod 644 bpf/*.bpf.o
	echo "updated:" bpf/*.bpf.o
	exit 0
fi

bad=0
for obj in "$out"/*.bpf.o; do
	name=bpf/${obj##*/}
	if ! [ -f "$name" ]; then
		echo "missing: $name" >&2
		bad=1
	elif ! cmp -s "$obj" "$name"; then
		echo "differs from what its source gives: $name" >&2
		bad=1
	fi
done
for name in bpf/*.bpf.o; do
	if [ -f "$name" ] && ! [ -f "${name%.o}.c" ]; then
		echo "has no source: $name" >&2
		bad=1
	fi
done
[ "$bad" = 1 ] || echo "all objects match their sources"
exit "$bad"

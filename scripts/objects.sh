#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Rebuilds the objects of bpf/ and bpf/corpus/ from their sources there.
#
#   scripts/objects.sh            build into a temporary directory and compare,
#                                 byte for byte, with the committed objects
#   scripts/objects.sh --update   overwrite the committed objects
#
#   NAME.bpf.c                 becomes NAME.bpf.o
#   NAME.1.bpf.c, NAME.2.…     each compiled, become NAME.bpf.o by `bpftool gen object`
#   NAME.btf.c                 becomes NAME.btf, bare type information
#
# A line "// build: OPTIONS" in a source adds options of the compiler.
#
# The objects do not depend on where the repository lies or where this runs.
# They do depend on the compiler, clang 19 and llvm 19 of Debian, and linked ones
# on bpftool: those are compared only if it is of the version that made them.
set -eu

linker='libbpf v1.1'

case "${1-}" in
'' | --update) ;;
*)
	echo "usage: $0 [--update]" >&2
	exit 2
	;;
esac

# From the top of the repository, so that the names in the line information are
# relative to it, and clang finds the lines' text by them.
cd "$(dirname "$0")/.."
scripts/tools.sh
bpftool=$(scripts/tools.sh --bpftool)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

unset C_INCLUDE_PATH CPATH SOURCE_DATE_EPOCH CCC_OVERRIDE_OPTIONS

# compile SOURCE OBJECT
compile() {
	options=$(sed -n 's|^// build: ||p' "$1")
	# shellcheck disable=SC2086 # several options
	clang-19 --no-default-config -std=gnu11 -O2 -g -target bpf -mcpu=v3 -mlittle-endian \
		-Wall -Wextra -Werror -nostdinc \
		-ffile-compilation-dir=. \
		$options \
		-c "$1" -o "$2"
	llvm-strip-19 -g "$2" # DWARF goes, BTF stays
}

mkdir -p "$out/bpf/corpus" "$out/parts"
for src in bpf/*.bpf.c bpf/corpus/*.bpf.c; do
	case $src in
	*.[0-9].bpf.c) compile "$src" "$out/parts/$(basename "$src" .c).o" ;;
	*) compile "$src" "$out/${src%.c}.o" ;;
	esac
done
for src in bpf/corpus/*.1.bpf.c; do
	name=$(basename "$src" .1.bpf.c)
	"$bpftool" gen object "$out/bpf/corpus/$name.bpf.o" "$out/parts/$name".[0-9].bpf.o
done
for src in bpf/corpus/*.btf.c; do
	obj=$out/parts/$(basename "$src" .c).o
	compile "$src" "$obj"
	llvm-objcopy-19 --dump-section ".BTF=$out/${src%.c}" "$obj"
done

# Whether an object was made of parts.
linked() {
	[ -f "${1%.bpf.o}.1.bpf.c" ]
}

if [ "${1-}" = --update ]; then
	rm -f bpf/*.bpf.o bpf/corpus/*.bpf.o bpf/corpus/*.btf
	for name in bpf bpf/corpus; do
		find "$out/$name" -maxdepth 1 -type f -exec install -m 644 -t "$name" {} +
	done
	echo "updated:" bpf/*.bpf.o bpf/corpus/*.bpf.o bpf/corpus/*.btf
	exit 0
fi

bad=0
for made in "$out"/bpf/*.bpf.o "$out"/bpf/corpus/*.bpf.o "$out"/bpf/corpus/*.btf; do
	name=${made#"$out/"}
	if ! [ -f "$name" ]; then
		echo "missing: $name" >&2
		bad=1
	elif ! cmp -s "$made" "$name"; then
		if linked "$name" && ! "$bpftool" version | grep -q "$linker\$"; then
			echo "not compared, as $bpftool is not of $linker: $name" >&2
		else
			echo "differs from what its source gives: $name" >&2
			bad=1
		fi
	fi
done
for name in bpf/*.bpf.o bpf/corpus/*.bpf.o bpf/corpus/*.btf; do
	if [ -f "$name" ] && ! [ -f "${name%.o}.c" ] && ! [ -f "$name.c" ] && ! linked "$name"; then
		echo "has no source: $name" >&2
		bad=1
	fi
done
[ "$bad" = 1 ] || echo "all objects match their sources"
exit "$bad"

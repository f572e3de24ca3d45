#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Installs what tests and objects need beyond Rust, with apt-get if this is root:
# clang-19 and llvm-19 compile the objects, bpftool links some of them, libbpf-dev
# is what the object loader is compared with, valgrind counts instructions.
#
#   scripts/tools.sh             installs what is missing, or says what to install
#   scripts/tools.sh --bpftool   prints a bpftool that works
set -eu

# Ubuntu's /usr/sbin/bpftool only looks for one made for the running kernel, and
# fails without; any other does as well here, where no kernel takes part.
find_bpftool() {
	for tool in bpftool /usr/sbin/bpftool /usr/lib/linux-tools/*/bpftool /usr/lib/linux-tools-*/bpftool; do
		if "$tool" version >/dev/null 2>&1; then
			echo "$tool"
			return 0
		fi
	done
	return 1
}

case "${1-}" in
'') ;;
--bpftool)
	find_bpftool || { echo "$0: no bpftool" >&2; exit 1; }
	exit 0
	;;
*)
	echo "usage: $0 [--bpftool]" >&2
	exit 2
	;;
esac

packages=
command -v clang-19 >/dev/null || packages="$packages clang-19"
command -v llvm-strip-19 >/dev/null && command -v llvm-objcopy-19 >/dev/null || packages="$packages llvm-19"
find_bpftool >/dev/null || packages="$packages bpftool"
[ -f /usr/include/bpf/libbpf.h ] || packages="$packages libbpf-dev"
command -v valgrind >/dev/null || packages="$packages valgrind"
[ -n "$packages" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "$0: missing; install with: sudo apt-get install$packages" >&2
	case $packages in
	*bpftool*) echo "$0: (on Ubuntu, bpftool is in linux-tools-common and linux-tools-generic)" >&2 ;;
	esac
	case $packages in
	" libbpf-dev" | " valgrind" | " libbpf-dev valgrind") ;;
	*) exit 1 ;;
	esac
	echo "$0: going on; what needs it is skipped" >&2
	exit 0
fi

if ! command -v apt-get >/dev/null; then
	echo "$0: missing, and there is no apt-get to install it with:$packages" >&2
	exit 1
fi

install() {
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >&2
}

echo "$0: installing$packages with apt-get" >&2
apt-get update >&2
for package in $packages; do
	case $package in
	bpftool)
		# On Ubuntu it is no package of its own, or one that depends on less than it needs.
		install bpftool || true
		find_bpftool >/dev/null || install linux-tools-common linux-tools-generic
		find_bpftool >/dev/null || { echo "$0: installed bpftool, but it does not run" >&2; exit 1; }
		;;
	*)
		install "$package" || {
			echo "$0: cannot install $package; Debian 12 and Ubuntu 24.04 have it, for others see https://apt.llvm.org" >&2
			exit 1
		}
		;;
	esac
done

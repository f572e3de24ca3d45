#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Installs what tests and objects need beyond Rust, with apt-get if this is root:
# clang-19 and llvm-19 compile the objects, bpftool links some of them, libbpf-dev
# is what the object loader is compared with.
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
[ -n "$packages" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "$0: missing; install with: sudo apt-get install$packages" >&2
	echo "$0: (on Ubuntu, bpftool is in linux-tools-common and linux-tools-generic)" >&2
	# Without libbpf-dev the tests that want it are skipped.
	[ "$packages" = " libbpf-dev" ] || exit 1
	exit 0
fi

echo "$0: installing$packages with apt-get" >&2
apt-get update >&2
export DEBIAN_FRONTEND=noninteractive
for package in $packages; do
	case $package in
	bpftool)
		apt-get install -y --no-install-recommends bpftool >&2 ||
			apt-get install -y --no-install-recommends linux-tools-common linux-tools-generic >&2
		find_bpftool >/dev/null || { echo "$0: installed bpftool, but it does not run" >&2; exit 1; }
		;;
	*) apt-get install -y --no-install-recommends "$package" >&2 ;;
	esac
done

#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Fuzzes the readers of untrusted bytes, guided by coverage, with libFuzzer on
# stable Rust.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]
#
# Each target runs for SECONDS (60 if not given). Without names, all targets run
# one after another. What has been learnt stays in target/fuzz/TARGET, and an
# input that fails in target/fuzz/TARGET-*.
set -eu
cd "$(dirname "$0")/.."

seconds=${1-60}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- object btf btf_ext btf_split layout core_local core_target insns map_file

if ! command -v c++ >/dev/null; then
	if [ "$(id -u)" != 0 ]; then
		echo "$0: a C++ compiler is missing; install with: sudo apt-get install g++" >&2
		exit 1
	fi
	echo "$0: installing g++ with apt-get" >&2
	apt-get update >&2
	DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends g++ >&2
fi

# What cargo-fuzz passes, without the sanitizer, which needs a nightly compiler.
# With the target named, the flags do not reach build scripts and macros; a
# directory of its own keeps other builds as they are.
host=$(rustc --print host-tuple)
coverage="-Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares \
-Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks"
RUSTFLAGS=$coverage cargo build --release -p hitless-fuzz --bin fuzz \
	--features libfuzzer --target "$host" --target-dir target/fuzz/build

for target in "$@"; do
	mkdir -p "target/fuzz/$target"
	echo "$0: $target for $seconds s" >&2
	FUZZ_TARGET=$target FUZZ_SEEDS=target/fuzz/seeds-$target \
		"target/fuzz/build/$host/release/fuzz" \
		-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
		-max_len=131072 -print_final_stats=1 -verbosity=0 \
		-artifact_prefix="target/fuzz/$target-" \
		"target/fuzz/$target" "target/fuzz/seeds-$target"
done

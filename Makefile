# SPDX-License-Identifier: MIT OR Apache-2.0

CARGO ?= cargo
HITLESS = $(or $(CARGO_TARGET_DIR),target)/release/hitless

.PHONY: help demo test tools objects model counts fuzz fuzz-verifier bench soak yardstick

help:
	@echo 'make demo     upgrade running programs under replayed traffic and check that nothing is lost (needs Rust only)'
	@echo 'make test     every test; installs clang-19, llvm-19, bpftool, libbpf-dev and valgrind first if they are missing and this is root'
	@echo 'make objects  rebuild the objects of bpf/ with clang-19 and compare with the committed ones'
	@echo 'make model    the concurrency model check alone'
	@echo 'make counts   count the instructions of calls with valgrind and compare with what is expected'
	@echo 'make fuzz     fuzz the readers of untrusted bytes, guided by coverage, FUZZ_SECONDS (60) for each target'
	@echo 'make bench    benchmarks'
	@echo 'make soak     the long tests'
	@echo 'make yardstick DIR=objects  compare the verdicts on the objects below a directory with those of Linux'
	@echo 'make fuzz-verifier  20 million generated programs against what the verifier claims, some against the kernel'

# Two programs: one that deletes its elements, with flows steered to threads; one that counts under a spin lock, with the
# packets of each flow spread over all threads.
demo:
	$(CARGO) build --release -p hitless-cli
	$(HITLESS) upgrade bpf/flows_v1.bpf.o bpf/flows_v2.bpf.o --hook xdp --pcap testdata/flows.pcap \
		--threads 2 --repeat 200 --copy-rate 1000 --min-mirrored 1 --min-packets 10000 --max-pause-percent 10
	$(HITLESS) upgrade bpf/flows_lock_v1.bpf.o bpf/flows_lock_v2.bpf.o --hook xdp --pcap testdata/flows.pcap \
		--steer none \
		--threads 2 --repeat 200 --copy-rate 1000 --min-mirrored 1 --min-packets 10000 --max-pause-percent 10

test: tools objects
	if command -v cargo-nextest >/dev/null; \
	then $(CARGO) nextest run --workspace; \
	else $(CARGO) test --workspace --lib --bins --examples --tests; \
	fi
	$(CARGO) test --workspace --doc
	$(MAKE) model
	$(MAKE) counts

tools:
	scripts/tools.sh

objects: tools
	scripts/objects.sh

# A directory of its own: the flag would otherwise have everything rebuilt each time.
model:
	RUSTFLAGS="--cfg hitless_model" $(CARGO) test -p hitless --test model --test model_maps --release --target-dir target/model

# What a call costs, whatever the machine does meanwhile.
counts:
	$(CARGO) test --release -p hitless-benches --test instructions -- --nocapture

fuzz:
	scripts/fuzz.sh $(or $(FUZZ_SECONDS),60)

bench:
	$(CARGO) bench -p hitless-benches

soak:
	$(CARGO) test --release -p hitless --tests -- --ignored
	MODEL_ITERATIONS=20000 $(MAKE) model

# What is accepted is run and compared with the claims; then the verdicts are compared with those of Linux.
fuzz-verifier:
	FUZZ_PROGRAMS=20000000 $(CARGO) test --release -p hitless-verifier --test soundness -- --ignored --nocapture
	FUZZ_PROGRAMS=200000 $(CARGO) test --release -p hitless-verifier --test kernel -- --nocapture

# Objects to compare: any, or those that scripts/yardstick.py fetches.
yardstick:
	@test -n "$(DIR)" || { echo 'make yardstick DIR=...: a directory of objects; scripts/yardstick.py fetches some'; exit 2; }
	HITLESS_OBJECTS=$(abspath $(DIR)) $(CARGO) test --release -p hitless --test yardstick -- more_objects --nocapture

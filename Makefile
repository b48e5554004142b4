# The commands for a newcomer; the rest are their steps.
#
#   make run     install what is missing, build pages and server, start it for this machine and its LAN
#   make test    install what is missing, run every test (also what .ci/run calls)
#   make bench   measure the server on this machine against its targets: half an hour on a machine that
#                does nothing else (BENCH="--only fanout" for one scenario)
#   make sim     play the simulation's committed seeds; SEEDS=10000 plays so many others, and keeps
#                the first that break a property more often than is known
#   make bench-network   what a browser sees over bad paths, against what is promised (ten minutes, nothing else running)
#   make test-impair   what `make test` leaves out of the network emulator: between two interfaces (as root), and to the
#                half millisecond (nothing else running)
#   make bench-parts   measure the parts of the packet path, each against its budget (a minute, after its build)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

CARGO := cargo
# Test targets of the root package that are neither a step of their own nor slow.
ROOT_TESTS := $(filter-out architecture e2e,$(basename $(notdir $(wildcard tests/*.rs))))
# How long `make fuzz` stays with each target.
FUZZ_SECONDS ?= 600
# `make run ARGS="--http 127.0.0.1:9000"` adds flags; an explicit flag wins over --dev.
ARGS ?=
# `make sim SEEDS=10000` plays so many seeds from FIRST on; without, the committed ones, as `make test` does.
SEEDS ?=
FIRST ?= 200
# `make sim-trace SEED=7` writes one run down; CLOSE="20 25" shows those seconds in tenths.
SEED ?= 0
CLOSE ?=
# `make bench BENCH="--only fanout,delay"` adds flags of `nearcast-loadtest bench`.
BENCH ?=

# One step's name and duration, so that a slow one is seen. Commands of a step are parted by `;`: the shell runs with
# -e, which `&&` would silence for all but the last.
define step
@start=$$(date +%s); printf '\n== %s\n' '$@'; { $(1); }; printf '== %s: %d s\n' '$@' $$(( $$(date +%s) - start ))
endef

.PHONY: help run test setup setup-run pages build fmt clippy architecture unit sim sim-trace doc deny e2e web bench bench-network test-impair audit nightly fuzz miri bench-parts clean

help:
	@sed -n 's/^#   //p' Makefile

run: setup-run pages
	$(CARGO) build --locked --release --bin nearcast
	exec target/release/nearcast serve --dev $(ARGS)

# In cost order; each step ends the run when it fails. One make a step keeps the order under `make -j`.
test:
	@start=$$(date +%s); \
	for step in setup pages fmt clippy architecture unit sim doc deny build e2e web; do $(MAKE) $$step; done; \
	printf '\nmake test: everything passed in %d s\n' $$(( $$(date +%s) - start ))

setup-run:
	$(call step,.ci/setup run)

setup:
	$(call step,.ci/setup test)

pages:
	$(call step,cd web; npm run --silent build)

build:
	$(call step,$(CARGO) build --locked --bin nearcast; $(CARGO) build --locked -p nearcast-loadtest)

fmt:
	$(call step,$(CARGO) fmt --all --check)

clippy:
	$(call step,$(CARGO) clippy --locked --workspace --all-targets --quiet -- -D warnings)

architecture:
	$(call step,$(CARGO) test --locked --quiet --test architecture)

unit:
	$(call step,$(CARGO) test --locked --quiet --workspace --exclude nearcast --exclude nearcast-sim --lib --tests; $(CARGO) test --locked --quiet -p nearcast --bins $(addprefix --test ,$(ROOT_TESTS)))

# In the dev profile, for which the machines are optimised a little: two hundred seeds take half a minute.
sim:
ifeq ($(SEEDS),)
	$(call step,$(CARGO) test --locked --quiet -p nearcast-sim)
else
	$(CARGO) run --locked --quiet -p nearcast-sim -- sweep $(FIRST) $(SEEDS)
endif

sim-trace:
	@$(CARGO) run --locked --quiet -p nearcast-sim -- trace $(SEED) $(CLOSE)

# Our readers read the private items too, so a link to one is no fault.
doc:
	$(call step,RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' $(CARGO) doc --locked --quiet --workspace --no-deps --document-private-items; $(CARGO) test --locked --quiet --workspace --doc)

deny:
	$(call step,$(CARGO) deny --locked --log-level error check bans licenses sources)

e2e: build
	$(call step,$(CARGO) test --locked --test e2e)

web: build
	$(call step,cd web; npm run --silent check; npm test --silent; npm run --silent e2e)

# Figures of a debug build say nothing, and those of a busy machine little: not part of `make test`.
bench: setup-run pages
	$(CARGO) build --locked --release --bin nearcast
	$(CARGO) build --locked --release -p nearcast-loadtest
	target/release/nearcast-loadtest bench $(BENCH)

bench-network: setup pages
	$(CARGO) build --locked --release --bin nearcast
	$(CARGO) build --locked --release -p nearcast-loadtest
	cd web; NEARCAST_BIN=$(CURDIR)/target/release/nearcast NEARCAST_LOADTEST_BIN=$(CURDIR)/target/release/nearcast-loadtest npm run --silent bench-network

# Root and /dev/net/tun for the one, a machine with nothing else to do for the other; each fails without: not part of
# `make test`.
test-impair:
	$(call step,$(CARGO) test --locked --release --no-fail-fast -p nearcast-loadtest --test impair_tun --test impair_timing -- --ignored --nocapture --test-threads 1)

# Needs the advisory database, which is fetched from outside the package registries: not part of `make test`.
audit:
	$(call step,$(CARGO) deny --locked check advisories)

# These need a nightly toolchain with cargo-fuzz and Miri, and fail where they are missing: not part of `make test`,
# which replays the kept corpora on stable.
nightly: fuzz miri

fuzz:
	@$(CARGO) +nightly fuzz --version >/dev/null 2>&1 || { echo 'make fuzz: missing; rustup toolchain install nightly; cargo install cargo-fuzz' >&2; exit 1; }
	$(call step,targets=$$($(CARGO) +nightly fuzz list --fuzz-dir tests/fuzz); for target in $$targets; do $(CARGO) +nightly fuzz run --fuzz-dir tests/fuzz $$target -- -max_total_time=$(FUZZ_SECONDS); done)

miri:
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || { echo 'make miri: missing; rustup component add --toolchain nightly miri' >&2; exit 1; }
	$(call step,$(CARGO) +nightly miri test -p nearcast-rtp -p nearcast-sfu)

# All of them run even if one is over its budget; each says what it allows in its header.
bench-parts:
	$(call step,$(CARGO) bench --locked --quiet --no-fail-fast -p nearcast-rtp -p nearcast-sfu -p nearcast-transport $(addprefix --bench ,rtcp ring forward seal handshake run) -- --quiet --warm-up-time 0.2 --measurement-time 0.6 --sample-size 20)

clean:
	$(CARGO) clean
	rm -rf web/dist web/node_modules tests/e2e/peers/node_modules

# `make demo` shows what rumi is; `make test` proves it. Both need root, and nothing else but
# git, make and cargo: what is missing is installed.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help
help: ## Show this list.
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

.PHONY: setup
setup: ## Install what is missing and start a Docker engine where none answers.
	@docker/setup

.PHONY: setup-bench
setup-bench:
	@docker/setup --bench

.PHONY: build
build: ## Build the broker, packctl and the guest.
	cargo build --locked --release -p rumi-broker -p packctl
	install -m 755 "$$(docker/guest/build)" "$(TARGET)/release/rumi-guest"

.PHONY: base
base: ## Build the image rumi-base:latest, unless it is there already.
	@docker/base/build

.PHONY: demo
demo: setup build base ## Show a pack that is granted, refused, granted more, and held to account.
	@tests/demo/run --bin "$(TARGET)/release"

.PHONY: check
check: ## Formatting, lints, and cargo-deny where it is installed.
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check; else echo 'check: cargo-deny is not installed, skipped' >&2; fi

.PHONY: test
test: ## Run every test, end to end ones against the real Docker engine included.
	@docker/setup --tests
	@docker/base/build
	@docker/base/build tools
	@docker/base/build node
	cargo build --locked --workspace --bins
	install -m 755 "$$(docker/guest/build)" "$(TARGET)/debug/rumi-guest"
	cargo test --locked --workspace --no-fail-fast
	cd docker/sdk/python && python3 -m unittest discover -s tests

.PHONY: fuzz
fuzz: ## Throw bytes at each parser that a pack can reach, for SECONDS=60 seconds each (TARGETS="host url": only these).
	@tests/fuzz/run $(or $(SECONDS),60) $(TARGETS)

.PHONY: bench
bench: setup-bench build base ## Measure against bare peers in the same run; writes bench.json.
	@docker/base/build node
	cargo run --locked --release -p rumi-tests --bin rumi-bench -- --bin "$(TARGET)/release" --out bench.json

.PHONY: bench-check
bench-check: ## Exit non-zero when bench.json misses a goal, and name it.
	cargo run --locked --release -p rumi-tests --bin rumi-bench -- --check bench.json

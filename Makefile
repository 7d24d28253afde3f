# CI runs the same targets: .ci/run calls `make check` and `make test`.

# Cargo's target folder.
TARGET_DIR ?= $(or $(CARGO_TARGET_DIR),target)
# State of `make run`: the store and the shipper's state directory.
DATA_DIR ?= data
# Address of the service of `make run`.
LISTEN ?= 127.0.0.1:8000
# Additional options for cargo; CI uses --locked.
CARGO_FLAGS ?=

# How long `make soak` runs each fault, and its seed; by default a different one each time.
SOAK_MINUTES ?= 2
SOAK_SEED ?= $(shell date +%s)
# How long `make fuzz` runs each target.
FUZZ_SECONDS ?= 60
# Millions of lines that `make bench` writes to the embedded store.
STORE_BENCH_MILLIONS ?= 1

# The engines of `make matrix`; empty for all.
MATRIX ?=
MATRIX_ENGINES := elasticsearch-7.10.2 elasticsearch-7.17.10 elasticsearch elasticsearch-8.19.0 elasticsearch-9.1.0 opensearch opensearch-3.4.0
COMMA := ,

# Development tasks: xtask/src/main.rs.
XTASK := cargo $(CARGO_FLAGS) xtask
WITH_ENGINES := $(XTASK) with-engine opensearch,elasticsearch --

.DEFAULT_GOAL := help
.PHONY: help run up down logs ps deps test integration soak matrix cluster fuzz prometheus3 e2e e2e-compose up-local down-local status load-test check generate bench fmt clean binaries

help: ## list all targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start the service on LISTEN and ship its logs to an embedded store under DATA_DIR (no engine needed)
	cargo build $(CARGO_FLAGS) --profile try -p backend -p shipper
	@mkdir -p $(DATA_DIR)
	@printf '%s\n' '' \
	  'The service listens on http://$(LISTEN); its log lines go to $(DATA_DIR)/logs.db. In another terminal, try:' '' \
	  "  curl -i -H 'X-Request-Id: demo-1' -H 'X-Project-Id: p-1' http://$(LISTEN)/api/projects/p-1/logs" \
	  '  curl -s http://$(LISTEN)/api/requests/demo-1' \
	  '  curl -s http://$(LISTEN)/metrics' '' \
	  'or open http://$(LISTEN)/requests/demo-1 in a browser.' '' \
	  'Ctrl-C stops the service and ships the remaining lines.' ''
	@exec env LISTEN=$(LISTEN) STORE=sqlite:$(DATA_DIR)/logs.db SHIPPER_STATE_DIR=$(DATA_DIR)/shipper \
	  $(TARGET_DIR)/try/shipper exec --to sqlite:$(DATA_DIR)/logs.db \
	  -- $(TARGET_DIR)/try/backend

up: ## start the whole stack in Docker and wait until it is healthy; .env.example lists its variables
	@infra/compose/up.sh

down: ## stop the stack and remove its containers; data stays in volumes
	@infra/compose/compose.sh down

logs: ## follow the logs of the stack's containers
	@infra/compose/compose.sh logs -f --tail 50

ps: ## list the stack's containers
	@infra/compose/compose.sh ps

deps: ## unpack what the tests need under .cache, or report what is missing
	cargo build $(CARGO_FLAGS) --package xtask
	@$(XTASK) deps

binaries:
	cargo build $(CARGO_FLAGS) --workspace --bins --examples

test: deps binaries ## run all tests, against a real OpenSearch and Elasticsearch (or ENGINE_URL, BARE_ENGINE_URL)
	$(WITH_ENGINES) cargo test $(CARGO_FLAGS) --workspace --no-fail-fast

integration: deps binaries ## run only the tests across programs, tests/observability
	$(WITH_ENGINES) cargo test $(CARGO_FLAGS) -p observability-tests

soak: deps binaries ## run real faults on real parts, SOAK_MINUTES (2) each, at random moments decided by SOAK_SEED
	$(XTASK) with-engine opensearch -- env SOAK_MINUTES=$(SOAK_MINUTES) SOAK_SEED=$(SOAK_SEED) \
	  cargo test $(CARGO_FLAGS) -p observability-tests --test observability -- faults:: --test-threads=1 --nocapture

matrix: binaries ## test each version of Elasticsearch and OpenSearch, and print a table (MATRIX=NAME-VERSION,… for some)
	$(XTASK) deps $(or $(subst $(COMMA), ,$(MATRIX)),$(MATRIX_ENGINES))
	MATRIX=$(MATRIX) cargo test $(CARGO_FLAGS) -p observability-tests --test matrix -- --nocapture

cluster: binaries ## test three OpenSearch nodes under load: one killed and restarted, then each restarted in turn
	$(XTASK) deps opensearch
	cargo test $(CARGO_FLAGS) -p observability-tests --test cluster -- --nocapture

fuzz: ## fuzz the readers with libFuzzer, FUZZ_SECONDS (60) each; needs cargo-fuzz and a nightly Rust
	@fuzz/run.sh $(FUZZ_SECONDS)

prometheus3: deps binaries ## run the monitoring tests against Prometheus 3, built from source with Go (minutes, the first time)
	@CARGO_FLAGS="$(CARGO_FLAGS)" infra/prometheus3.sh

e2e: ## test the running stack, Compose's or else the local one (STACK=compose or STACK=local selects one)
	@CARGO_FLAGS="$(CARGO_FLAGS)" infra/test-stack.sh $(STACK)

e2e-compose: ## run the compose file for real, with stand-ins for images that can't be pulled, and test it (minutes)
	@infra/compose/e2e.sh

up-local: ## start the stack without Docker: OpenSearch, service, shipper, Prometheus, Alertmanager
	cargo build $(CARGO_FLAGS) --release -p backend -p shipper
	@BIN_DIR=$(TARGET_DIR)/release $(XTASK) stack up

down-local: ## stop the stack without Docker; its state stays in .local
	@$(XTASK) stack down

status: ## show whether each part of the stack without Docker runs and is ready
	@$(XTASK) stack status

load-test: ## measure what the library costs a service: latency and CPU with and without it, by wrk (under two minutes)
	@CARGO_TARGET_DIR=$(TARGET_DIR) CARGO_FLAGS="$(CARGO_FLAGS)" specs/003-improve-observability-prometheus/load-tests/run_wrk.sh

check: ## check wording, formatting, lints, docs and generated files, with every warning an error
	infra/check-words.sh
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	cargo clippy $(CARGO_FLAGS) --workspace --test stack --test matrix --test cluster -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --workspace --no-deps
	cargo test $(CARGO_FLAGS) -p store --lib generated::

generate: ## write what is generated from the store's tables: ingest pipeline, index template, field list in docs/search.md
	GENERATE=1 cargo test $(CARGO_FLAGS) -p store --lib generated::

bench: ## measure CPU per request over bare Actix, lines per CPU-second to _bulk, and the embedded store (STORE_BENCH_MILLIONS)
	cargo bench $(CARGO_FLAGS) -p observability
	cargo bench $(CARGO_FLAGS) -p shipper
	cargo bench $(CARGO_FLAGS) -p store --bench sqlite -- $(STORE_BENCH_MILLIONS)

fmt: ## format all Rust code
	cargo fmt --all

clean: ## delete target and .cache; DATA_DIR stays
	cargo clean
	rm -rf .cache

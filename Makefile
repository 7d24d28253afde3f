# What a person runs is what CI runs: .ci/run calls `make check` and `make test`.

# Where cargo builds.
TARGET_DIR ?= $(or $(CARGO_TARGET_DIR),target)
# State of `make run`: the store and the shipper's spool.
DATA_DIR ?= data
# Where the service of `make run` listens.
LISTEN ?= 127.0.0.1:8000
# More options for cargo; CI says --locked.
CARGO_FLAGS ?=

# How long `make soak` tries each fault, and from which seed; another one each time by default.
SOAK_MINUTES ?= 2
SOAK_SEED ?= $(shell date +%s)
# How long `make fuzz` runs each target.
FUZZ_SECONDS ?= 60
# Lines that `make bench` writes to the embedded store, in millions.
STORE_BENCH_MILLIONS ?= 1

# The engines that `make matrix` tries; empty for all.
MATRIX ?=
MATRIX_ENGINES := elasticsearch-7.10.2 elasticsearch-7.17.10 elasticsearch elasticsearch-8.19.0 elasticsearch-9.1.0 opensearch opensearch-3.4.0
COMMA := ,

WITH_ENGINES := infra/local/with-engine.sh opensearch,elasticsearch --

.DEFAULT_GOAL := help
.PHONY: help run up down logs ps deps test integration soak matrix cluster fuzz prometheus3 e2e e2e-compose up-local down-local status load-test check bench fmt clean binaries

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start the service on LISTEN, its logs shipped to an embedded store under DATA_DIR (no engine needed)
	cargo build $(CARGO_FLAGS) --profile try -p backend -p shipper
	@mkdir -p $(DATA_DIR)
	@printf '%s\n' '' \
	  'The service listens on http://$(LISTEN), its log lines go to $(DATA_DIR)/logs.db. Try, in another terminal:' '' \
	  "  curl -i -H 'X-Request-Id: demo-1' -H 'X-Project-Id: p-1' http://$(LISTEN)/api/projects/p-1/logs" \
	  '  curl -s http://$(LISTEN)/api/requests/demo-1' \
	  '  curl -s http://$(LISTEN)/metrics' '' \
	  'and look at http://$(LISTEN)/requests/demo-1 in a browser.' '' \
	  'Ctrl-C stops the service and ships what is left.' ''
	@exec env LISTEN=$(LISTEN) STORE=sqlite:$(DATA_DIR)/logs.db SHIPPER_STATE_DIR=$(DATA_DIR)/shipper \
	  $(TARGET_DIR)/try/shipper exec --to sqlite:$(DATA_DIR)/logs.db \
	  -- $(TARGET_DIR)/try/backend

up: ## the whole stack in Docker, once it is healthy; .env.example lists what can be set
	@infra/compose/up.sh

down: ## stop the stack and remove its containers; its data stays in volumes
	@infra/compose/compose.sh down

logs: ## follow what the stack's containers say
	@infra/compose/compose.sh logs -f --tail 50

ps: ## the stack's containers
	@infra/compose/compose.sh ps

deps: ## unpack what the tests need under .cache, or say what is missing
	@infra/local/deps.sh
	@infra/compose/deps.sh
	@specs/003-improve-observability-prometheus/load-tests/wrk.sh >/dev/null

binaries:
	cargo build $(CARGO_FLAGS) --workspace --bins --examples

test: deps binaries ## all tests, against a real OpenSearch and Elasticsearch (or ENGINE_URL, BARE_ENGINE_URL)
	$(WITH_ENGINES) cargo test $(CARGO_FLAGS) --workspace --no-fail-fast

integration: deps binaries ## only the tests across programs, tests/observability
	$(WITH_ENGINES) cargo test $(CARGO_FLAGS) -p observability-tests

soak: deps binaries ## real faults on real parts, SOAK_MINUTES (2) of each, at random moments that SOAK_SEED decides
	infra/local/with-engine.sh opensearch -- env SOAK_MINUTES=$(SOAK_MINUTES) SOAK_SEED=$(SOAK_SEED) \
	  cargo test $(CARGO_FLAGS) -p observability-tests --test observability -- faults:: --test-threads=1 --nocapture

matrix: binaries ## what works with each version of Elasticsearch and OpenSearch, as a table (MATRIX=NAME-VERSION,… for some)
	infra/local/deps.sh $(or $(subst $(COMMA), ,$(MATRIX)),$(MATRIX_ENGINES))
	MATRIX=$(MATRIX) cargo test $(CARGO_FLAGS) -p observability-tests --test matrix -- --nocapture

cluster: binaries ## three OpenSearch nodes under load: one killed and brought back, then each restarted in turn
	infra/local/deps.sh opensearch
	cargo test $(CARGO_FLAGS) -p observability-tests --test cluster -- --nocapture

fuzz: ## the readers under libFuzzer, FUZZ_SECONDS (60) each; needs cargo-fuzz and a nightly Rust
	@fuzz/run.sh $(FUZZ_SECONDS)

prometheus3: deps binaries ## the monitoring's tests against Prometheus 3, built from source with Go (minutes, the first time)
	@CARGO_FLAGS="$(CARGO_FLAGS)" infra/local/prometheus3.sh

e2e: ## test the stack that is up, Compose's or else the local one (STACK=compose or local forces)
	@CARGO_FLAGS="$(CARGO_FLAGS)" infra/test-stack.sh $(STACK)

e2e-compose: ## run the compose file for real, with stand-ins for images that can't be pulled, and test it (minutes)
	@infra/compose/e2e.sh

up-local: ## start the stack without Docker: OpenSearch, service, shipper, Prometheus, Alertmanager
	cargo build $(CARGO_FLAGS) --release -p backend -p shipper
	@BIN_DIR=$(TARGET_DIR)/release infra/local/stack.sh up

down-local: ## stop the stack without Docker; its state stays in .local
	@infra/local/stack.sh down

status: ## say of each part of the stack without Docker whether it runs and is ready
	@infra/local/stack.sh status

load-test: ## what the library costs a service, with wrk: latency and CPU with and without it (under two minutes)
	@CARGO_TARGET_DIR=$(TARGET_DIR) CARGO_FLAGS="$(CARGO_FLAGS)" specs/003-improve-observability-prometheus/load-tests/run_wrk.sh

check: ## formatting, lints and docs, with every warning an error
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --workspace --no-deps

bench: ## CPU a request over bare Actix, lines a CPU-second from file to _bulk, and the embedded store (STORE_BENCH_MILLIONS=10: of 10 million lines)
	cargo bench $(CARGO_FLAGS) -p observability
	cargo bench $(CARGO_FLAGS) -p shipper
	cargo bench $(CARGO_FLAGS) -p store --bench sqlite -- $(STORE_BENCH_MILLIONS)

fmt: ## format all Rust code
	cargo fmt --all

clean: ## remove what was built and unpacked (target, .cache); DATA_DIR stays
	cargo clean
	rm -rf .cache

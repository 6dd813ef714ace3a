# Every command a person types. `make help` lists them; scripts/ holds what they do.
# PG_CONFIG=/path/to/pg_config chooses another PostgreSQL than the one on PATH.

SHELL := /bin/bash
PG_CONFIG ?= pg_config
export PG_CONFIG

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-stop demo-train test test-all test-clients check fmt install install-pgvector-shim bench bench-features bench-experiments bench-search dist clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-22s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## bring a bare Debian 12 with Rust to where everything below works
	@scripts/setup.sh

demo: setup ## search real text in a throwaway server, leave it running
	@demo/run.sh

demo-stop: ## stop the demo's server and remove it
	@demo/stop.sh

demo-train: setup ## train models from the feature store, with runs, versions and promotion, in a throwaway server
	@demo/train.sh

test: setup ## lints and every test suite, in servers of their own (SUITES="core pg" chooses)
	@scripts/test.sh

test-all: setup ## the suites on every PostgreSQL that can be had: 15, 16 and 18
	@scripts/test_all.sh

test-clients: setup ## client libraries alone, with LangChain, which `make test` leaves out for its size
	@SUITES="clients feast mlflow langchain" scripts/test.sh

check: setup ## formatting, lints and the tests that need no server
	@SUITES="lint core" scripts/test.sh

fmt: ## format the Rust code
	@cargo fmt --all

install: setup ## build for release and install into the server that PG_CONFIG names
	@scripts/install.sh

install-pgvector-shim: ## let CREATE EXTENSION vector mean leanstack in that server
	@scripts/install_shim.sh

bench: setup ## measure speed and size (BENCH_ARGS="--help" shows the options)
	@scripts/bench.sh

bench-features: setup ## measure the feature store against Feast, with PostgreSQL and with Redis (BENCH_ARGS="--quick")
	@scripts/bench.sh features

bench-experiments: setup ## measure experiments and runs against MLflow on the same PostgreSQL (BENCH_ARGS="--quick")
	@scripts/bench.sh experiments

bench-search: setup ## measure keyword and hybrid search: how good on judged collections, how fast beside GIN
	@scripts/bench.sh search

dist: setup ## a source archive and a binary package under target/dist
	@scripts/dist.sh

clean: demo-stop ## remove everything that was built
	@scripts/clean.sh

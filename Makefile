# The front door. `make help` lists the targets; CONTRIBUTING.md says more.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo build test soak bench bench-long dist dist-test fmt lint clean

MILLRACE_DEPS ?= $(HOME)/.cache/millrace/deps
export MILLRACE_DEPS
PYTHON := $(MILLRACE_DEPS)/venv/bin/python
JOBS ?= $(shell nproc)
CXX_FILES = git ls-files -z '*.h' '*.cc'

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo:  ## Simulator, log, lake, API and page in one process (DEMO_FLAGS="--rate 20000")
	@scripts/setup build
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS) --target millrace
	@build/release/bin/millrace demo $(DEMO_FLAGS)

build:  ## Build everything; the program is build/release/bin/millrace
	@scripts/setup build
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS)

test:  ## Build and run every test but the long ones, with a real Kafka and S3 on loopback
	@scripts/setup test
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS)
	@ctest --preset release -j 3 -LE 'soak|waits'  # Two cores, and what waits now and then.
	@ctest --preset release -j 5 -L waits -LE soak  # Mostly for brokers and stores.

soak:  ## The long tests: kills, zombies, millions of events
	@scripts/setup test
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS)
	@ctest --preset release -L soak

bench:  ## Cost, freshness, restarts, partitions, answers, growth, scans beside their peers; one table at the end (BENCH_FLAGS="--events 200000")
	@scripts/setup test
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS) --target millrace table_growth kafka_consumer_benchmark ingest_benchmark process_benchmark mqtt_load log_benchmark
	@echo "bench: Millrace beside Python (cost, answers), librdkafka (client), deltalake (opening), DuckDB (SQL, scans): see docs/benchmarks.md"
	@$(PYTHON) bench/run.py $(BENCH_FLAGS)
	@$(PYTHON) bench/run.py --parts freshness --rate 200000 --seconds 25 --output build/bench-fast.json
	@$(PYTHON) bench/formats.py
	@$(PYTHON) bench/restart.py
	@$(PYTHON) bench/partitions.py
	@$(PYTHON) bench/stages.py
	@$(PYTHON) bench/growth.py
	@$(PYTHON) bench/scan.py build/release/bin/millrace
	@$(PYTHON) bench/sql.py build/release/bin/millrace
	@$(PYTHON) bench/listeners.py build/release/bin/millrace
	@$(PYTHON) bench/answers.py build/release/bin/millrace
	@$(PYTHON) bench/gateway.py build/release/bin/millrace
	@$(PYTHON) bench/mqtt.py build/release/bin/millrace
	@$(PYTHON) bench/embedded_log.py build/release/bin/log_benchmark
	@$(PYTHON) bench/table.py

bench-long:  ## As bench, after 20 million events through one process
	@scripts/setup test
	@cmake --preset release >/dev/null
	@cmake --build --preset release -j $(JOBS) --target millrace
	@$(PYTHON) bench/run.py --parts cost --no-peer --events 20000000 --timeout 3600 --output build/bench-long.json
	@$(MAKE) bench

dist:  ## Packages in dist/: a .deb, a tar.zst for any folder, a Python wheel, debug symbols, SBOM, SHA256SUMS
	@scripts/setup dist
	@cmake --preset release >/dev/null
	@env -u CCACHE_BASEDIR cmake --build --preset release -j $(JOBS) --target millrace
	@python3 packaging/dist.py build/release dist

dist-test:  ## Install, run, kill, upgrade and purge what make dist made, in a fresh Debian; lint the chart (as root, with a network)
	@scripts/setup dist-test
	@$(PYTHON) tests/package/kubernetes_test.py build/release/bin/millrace $(MILLRACE_DEPS)/charts/bin
	@python3 tests/package/dist_test.py build/release dist

fmt:  ## Format the C++ files
	@$(CXX_FILES) | xargs -0r clang-format -i

lint:  ## Formatting, the dashboard's types, and the house rules of tests/tidy
	@scripts/setup test
	@$(CXX_FILES) | xargs -0r clang-format --dry-run -Werror
	@node src/dashboard/check.mjs
	@python3 tests/tidy/tidy.py

clean:  ## Delete what was built
	@rm -rf build dist

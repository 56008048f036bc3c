# Nightmill: `make help` lists the targets.

.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

# A Spark or Python that the shell is set up for must not stand in for the one of .venv.
unexport SPARK_HOME SPARK_CONF_DIR SPARK_REMOTE SPARK_DIST_CLASSPATH SPARK_SUBMIT_OPTS
unexport PYSPARK_PYTHON PYSPARK_DRIVER_PYTHON PYSPARK_DRIVER_PYTHON_OPTS PYSPARK_SUBMIT_ARGS
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP NIGHTMILL_CONF

BIN := .venv/bin
STAMP := .venv/.nightmill
UV := $(BIN)/uv
SUITABLE = import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
# Only asked for while there is no .venv; PYTHON=... overrides it.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c '$(SUITABLE)' 2>/dev/null && echo $$p && break; done)

# Where the published data sets lie, for `make backtest`.
RAW ?= ../shared/data
USE_CASES ?=
# Further arguments, as in `make test ARGS="-k lease"`.
ARGS ?=
# Test processes; each starts a Spark of its own (about 1.5 GiB).
TESTERS ?= 3
PYTEST = $(BIN)/pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP)-jars ## install everything into .venv (once; demo and test do it too)

.PHONY: demo
demo: setup ## simulate a small city and plant, and run three nights on them
	@$(BIN)/nightmill demo $(ARGS)

.PHONY: test
test: setup ## run the tests
	@$(PYTEST) -m "not slow and not gpu and not jdbc and not s3" $(ARGS)

.PHONY: test-slow
test-slow: setup ## run the long tests too
	@$(PYTEST) -m "not gpu and not jdbc and not s3" $(ARGS)

.PHONY: test-gpu
test-gpu: setup ## run the tests that need a GPU
	@$(BIN)/pytest -m gpu $(ARGS)

.PHONY: test-jdbc
test-jdbc: setup ## run the tests that read tables of a PostgreSQL (Debian: apt install postgresql)
	@$(BIN)/pytest -m jdbc $(ARGS)

.PHONY: test-s3
test-s3: setup ## run the tests that read tables of an object store
	@$(BIN)/pytest -m s3 $(ARGS)

.PHONY: check
check: setup ## format, lint, types, import contract, generated reference
	@$(BIN)/ruff format --check --quiet --output-format concise . || { echo "fix: make format"; exit 1; }
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m nightmill.config.reference --check docs/reference.md

.PHONY: format
format: setup ## format the code, mend what lint can mend, regenerate docs/reference.md
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/python -m nightmill.config.reference docs/reference.md

.PHONY: backtest
backtest: setup ## backtest on the published data sets in RAW, tables into docs/results/
	@$(BIN)/python tests/benchmarks/backtests.py $(USE_CASES) --raw $(RAW) $(ARGS)

.PHONY: land-all
land-all: setup ## land and clean all published data sets in RAW, table into docs/results/
	@$(BIN)/python tests/benchmarks/land_all.py $(RAW) build/land-all docs/results

.PHONY: bench-dirt
bench-dirt: setup ## planted dirt against found dirt, 1,000 detectors for a month, table into docs/results/
	@$(BIN)/python tests/benchmarks/planted.py --size traffic=1000 $(ARGS)

.PHONY: bench-clean
bench-clean: setup ## ten rules on 20 million records against PySpark by hand and DuckDB, table into docs/results/
	@$(BIN)/python tests/benchmarks/clean_rules.py $(ARGS)

.PHONY: bench-handoff
bench-handoff: setup ## tables into tensors against raw scans, plain copies, Ray Data and a DataLoader, table into docs/results/
	@$(BIN)/python tests/benchmarks/handoff.py $(ARGS)

.PHONY: bench-train
bench-train: setup ## two workers against one, twenty models in one group, input, interruptions, table into docs/results/
	@$(BIN)/python tests/benchmarks/training.py $(ARGS)

.PHONY: bench-peers
bench-peers: setup build/peers/.ready ## training against neuralforecast in an environment of its own, table into docs/results/
	@$(BIN)/python tests/benchmarks/peers.py --raw $(RAW) --python build/peers/bin/python $(ARGS)

.PHONY: bench-score
bench-score: setup build/peers/.ready ## scoring of whole cities against its parts, Spark's UDFs and neuralforecast, table into docs/results/
	@$(BIN)/python tests/benchmarks/scoring.py --python build/peers/bin/python $(ARGS)

.PHONY: bench-quality
bench-quality: setup ## defects of five simulated plants against logistic regression, trees and the truth, table into docs/results/
	@$(BIN)/python tests/benchmarks/moulding.py --results docs/results $(ARGS)

.PHONY: bench-overhead
bench-overhead: setup ## what a night of ten small use cases costs beyond the work, table into docs/results/
	@$(BIN)/python tests/benchmarks/small_night.py $(ARGS)

.PHONY: doctor
doctor: setup ## say what this machine lacks
	@$(BIN)/nightmill doctor

.PHONY: lock
lock: setup ## write requirements.lock anew from pyproject.toml (ARGS=--upgrade for newer versions)
	@$(UV) pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --no-emit-index-url --quiet -o requirements.lock $(ARGS)

.PHONY: clean
clean: ## remove caches and what demo, tests and backtests wrote
	@rm -rf build demo lake .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache spark-warehouse
	@find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

.PHONY: clean-all
clean-all: clean ## remove .venv as well
	@rm -rf .venv

build/peers/.ready: tests/benchmarks/peers/requirements.lock | setup
	@$(UV) venv --quiet --clear --python $(BIN)/python build/peers
	@$(UV) pip install --python build/peers/bin/python --quiet --require-hashes -r $<
	@touch $@

# Each stamp is written last, so that an interrupted set-up is taken up again where it stopped.

$(STAMP)-python:
	@test -n "$(PYTHON)" || { \
		echo "error: no suitable Python: 3.11 to 3.14 with its venv module is needed" >&2; \
		echo "  found: $$(python3 --version 2>&1)" >&2; \
		echo "  fix:   on Debian or Ubuntu 'sudo apt install python3 python3-venv', on Fedora 'sudo dnf install" >&2; \
		echo "         python3.12', on macOS 'brew install python@3.12'; or name one: make setup PYTHON=/path/to/python3" >&2; \
		exit 2; }
	@PYTHONPATH=lib $(PYTHON) -m nightmill.java
	@echo "setting up .venv (once: a minute or more, about 7 GB)"
	@$(PYTHON) -m venv .venv
	@touch $@

$(STAMP)-uv: bootstrap.lock $(STAMP)-python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap.lock
	@touch $@

$(STAMP)-packages: requirements.lock $(STAMP)-uv
	@echo "  installing the locked packages"
	@$(UV) pip install --python $(BIN)/python --quiet --require-hashes -r requirements.lock
	@touch $@

$(STAMP)-self: pyproject.toml $(STAMP)-packages
	@$(UV) pip install --python $(BIN)/python --quiet --no-build-isolation --no-deps --editable .
	@touch $@

$(STAMP)-jars: $(STAMP)-self lib/nightmill/jars.py $(wildcard conf/spark/*)
	@$(BIN)/python -m nightmill.jars
	@touch $@
	@echo "  .venv is ready"

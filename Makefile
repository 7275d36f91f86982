# Every target with its purpose: make help
PYTHON ?= python3.11
BIN := .venv/bin
export PYTHONHASHSEED ?= random

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast lint types layers format lock reference picture bench bench-batch bench-serving bench-workers bench-proof clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/.installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; try: make PYTHON=python3"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

install: .venv/.installed ## make .venv and install the locked dependencies

demo: install ## run the whole loop on simulated telemetry, in demo/
	$(BIN)/headrace demo

test: install ## the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: install ## the tests that take less than ten seconds
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

lint: install ## ruff, spelling, layers, types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/codespell src tests docs examples README.md ARCHITECTURE.md CONTRIBUTING.md CHANGELOG.md
	$(BIN)/lint-imports
	$(BIN)/mypy

format: install ## format the code and apply the safe fixes
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: install ## resolve requirements.lock again (needs uv)
	uv pip compile -q --no-header --no-annotate --universal --python-version 3.11 \
		--extra dev --extra postgresql pyproject.toml -o requirements.lock

reference: install ## write the pages of docs that the code itself tells
	$(BIN)/python tools/reference.py

picture: install ## draw docs/demo.svg from the demo in demo/
	$(BIN)/python tools/picture.py demo > /dev/null

bench: install ## measure against Apache Spark, DuckDB and Polars; writes .bench/*.json
	$(BIN)/python -m bench

bench-batch: install ## measure batch scoring against spark_udf and the plain libraries
	$(BIN)/python -m bench.batch

bench-serving: install ## measure the scoring plane against its peers; QUICK=1 for a few minutes
	$(BIN)/python -m bench.serving $(if $(QUICK),--quick)

bench-workers: install ## measure how long a worker takes to come
	$(BIN)/python -m bench.workers

bench-proof: install ## measure what proof costs, lineage at a million edges, maintenance of 10,000 files
	$(BIN)/python -m bench.proof

clean: ## remove what the targets made
	rm -rf .venv .bench demo

# The four commands that matter: make campaign, make test, make lint, make bench.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BENCH := .venv-bench/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PEERS := python -m pip install --quiet --disable-pip-version-check \
	-c constraints.txt -c constraints-bench.txt
RUN := runs/stiff-perovskites
SPEC := examples/stiff-perovskites/campaign.yaml

# One thread per process: the tests and the lab run two processes on two cores.
export OMP_NUM_THREADS ?= 1

.PHONY: help campaign test coverage test-nightly lint types contracts wheel bench bench-venv peers clean

help: ## show these lines
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

$(BIN)/.base: pyproject.toml constraints.txt
	@echo "Installing cloudseed into $(VENV) (about two minutes on a fresh machine)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) -e .
	@touch $@

$(BIN)/.test: $(BIN)/.base
	$(PIP) -e ".[test]"
	@touch $@

campaign: $(BIN)/.base ## run the example campaign to its end, or go on with it
	@if [ -e $(RUN)/campaign.json ]; then $(BIN)/cloudseed resume $(RUN); \
	else $(BIN)/cloudseed run $(SPEC); fi

test: $(BIN)/.test ## run the tests
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not nightly"

coverage: $(BIN)/.test ## run the tests with branch coverage, which takes half as long again
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not nightly" --cov --cov-report=term

test-nightly: $(BIN)/.test ## run the tests at their full counts
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(BIN)/.test ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(BIN)/.test ## check types
	$(BIN)/mypy

contracts: $(BIN)/.test ## check which part may import which
	$(BIN)/lint-imports

wheel: $(BIN)/.test ## build the wheel and run it in a clean environment
	PYTHON=$(abspath $(BIN)/python) bash scripts/check_wheel.sh

bench: $(BIN)/.test ## run the quick benchmarks
	$(BIN)/python benchmarks/random_campaigns.py
	$(BIN)/python benchmarks/rank_perovskites.py

$(BENCH)/.peers: pyproject.toml constraints.txt constraints-bench.txt
	@echo "Installing the peers of the back-tests into .venv-bench (about two minutes)"
	test -x $(BENCH)/python || $(PYTHON) -m venv .venv-bench
	$(BENCH)/$(PEERS) torch==2.13.0
	$(BENCH)/$(PEERS) -e ".[bench]"
	@touch $@

bench-venv: $(BENCH)/.peers ## install the peers of the back-tests into .venv-bench

build/peers/.done: constraints-peers.txt
	test -x build/peers/bin/python || $(PYTHON) -m venv build/peers
	build/peers/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-peers.txt \
		bluesky-httpserver bluesky-queueserver ophyd pandas
	@touch $@

peers: build/peers/.done ## install the queue server that nightly tests run against into build/peers

clean: ## remove what was built, keep runs
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

# energy_assets: `make run` sets up and does the main job; `make test` sets up and passes the tests. Needs python3 (3.11-3.13), make, git.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# With bytecode compiled at install, a Dagster run starts in half the CPU time.
export UV_COMPILE_BYTECODE := 1
export UV_PYTHON_DOWNLOADS := never
# Waiting OpenMP threads that spin starve the other processes of a small machine.
export OMP_WAIT_POLICY := PASSIVE
# Small matrix products on one thread: more cost more than they save, and round otherwise.
export OPENBLAS_NUM_THREADS := 1
INSTALL := VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r

.PHONY: help setup run up nightly test lint bench lock clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/uv: requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"energy_assets needs Python 3.11 to 3.13, and $(PYTHON) is {v[0]}.{v[1]}: run `make PYTHON=python3.12 …`")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "python3 cannot make virtual environments here; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@touch $@

$(VENV)/.run-ready: $(BIN)/uv requirements/run.txt pyproject.toml
	@echo "Setting up $(VENV) (about 130 packages, once) …"
	@$(INSTALL) requirements/run.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev-ready: $(VENV)/.run-ready requirements/all.txt
	@$(INSTALL) requirements/all.txt
	@touch $@

setup: $(VENV)/.run-ready ## Set up the virtual environment

run: setup ## Make a community, materialise the whole graph, show what came out
	@$(BIN)/energy run

up: setup ## Dagster UI, daemon and MLflow UI; Ctrl-C stops all
	@$(BIN)/energy up

nightly: setup ## What the schedules do every night, once, now
	@$(BIN)/energy nightly

test: $(VENV)/.dev-ready ## All tests
	@$(BIN)/pytest -n 2 --dist loadscope energy_assets_tests

lint: $(VENV)/.dev-ready ## Ruff, mypy, import rule
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.dev-ready ## Benchmarks, as ratios
	@$(BIN)/python -m bench

lock: $(BIN)/uv ## Resolve the dependencies anew
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade --group dev --group bench --group build pyproject.toml -o requirements/all.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -c requirements/all.txt --group build pyproject.toml -o requirements/run.txt

clean: ## Delete everything that was made here, the lake included
	@rm -rf .venv .energy

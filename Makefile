# `make demo` and `make test` each start from nothing: system libraries, virtual environment, pinned packages.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test proof docs lint bench clean

PYTHON ?= python3
WORKERS ?= 2
DEMO ?= outputs/demo
DEBIAN := libegl1 libgl1-mesa-dri libgl1 libgomp1 libusb-1.0-0 libx11-6
BIN := .venv/bin
INSTALLED := .venv/installed

help:
	@echo "make demo   three memory tasks, three policies, memory on and off; ends in a table and a report in $(DEMO)"
	@echo "make test   lint, types, import contracts and every test"
	@echo "make proof  the tests that take long or install from a registry"
	@echo "make docs   the documentation, in build/docs"
	@echo "make lint   all of that but the tests"
	@echo "make bench  rendering, physics and rollout speed of this machine, in outputs/bench"
	@echo "make clean  remove the virtual environment and the caches; results stay"

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@bash .ci/system $(DEBIAN)
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "No virtual environment: sudo apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' || \
		{ echo "Python 3.11 or 3.12 is needed; got $$($(BIN)/python --version). Run: rm -r .venv; make PYTHON=python3.11" >&2; exit 1; }
	@echo "Installing the pinned packages into .venv (once; some minutes and about 2 GB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	$(BIN)/python -m launch.evaluate suite=memorybench tier=strict policy='[expert,guesser,sam2act_plus]' controls='[normal,off]' episodes=20 seed=0 output=$(DEMO)

lint: setup
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -m "not proof" -n $(WORKERS) --dist loadfile

proof: setup
	$(BIN)/python -m pytest -m proof

docs: setup
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs

bench: setup
	for what in render physics rollout; do $(BIN)/python -m launch.bench what=$$what; done

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find embodied policies launch sim_configs tests -name __pycache__ -prune -exec rm -rf {} +

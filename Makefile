# The commands of this checkout.  Each does its own set-up in .venv; a second call finds it done.
#
#   make run        serve demos/hello (DEMO=chat: another one) and print its address
#   make test       style, types, storeys and the test suite
#   make test-slow  other Pythons, coverage, uvloop, slow tests, docs, fuzzing
#   make docs       the manual in docs/_build/html
#   make bench      the measurements behind the figures in the README
#   make format     put the source into the one format
#   make clean      remove everything that was made here

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

# The first Python that is new enough; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
  "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
BIND ?= 127.0.0.1:8000
# Which of the demos `make run` serves.
DEMO ?= hello
# Percent of the lines of webfw/ that the suite must run, which test-slow measures.
COVERAGE ?= 95
# How long each fuzz target runs; 0: not at all.
FUZZ_SECONDS ?= 120
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check

.PHONY: help run test test-slow check docs bench format clean

help:
	@sed -n '3,9s/^# *//p' Makefile

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "webfw needs Python 3.11 or newer; none was found (set PYTHON=...)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp per set of packages; pip 25.1 is the first that knows dependency groups.
$(VENV)/stamp-pip: | $(BIN)/python
	@$(PIP) install 'pip>=25.1'
	touch $@

# An editable installation also builds the C module in place, where there is a compiler (see setup.py).
$(VENV)/stamp-run: pyproject.toml setup.py $(wildcard webfw/sansio/_native*.[ch]) | $(VENV)/stamp-pip
	@echo "setting up $(VENV)"
	export PYTHONWARNINGS=ignore
	if ! $(PIP) install --only-binary uvloop --editable '.[uvloop]'; then
	  echo "without uvloop, on asyncio's own loop"
	  $(PIP) install --editable .
	fi
	touch $@

# Wanted by force and not there: built now, whatever the stamp says.
ifeq ($(WEBFW_SPEEDUPS)$(wildcard webfw/sansio/_native.*.so),1)
.PHONY: force
$(VENV)/stamp-run: force
endif

$(VENV)/stamp-%: pyproject.toml | $(VENV)/stamp-run
	@echo "installing the packages of the group $*"
	$(PIP) install --group $*
	touch $@

run: $(VENV)/stamp-run
	@exec $(BIN)/python -m webfw serve demos.$(DEMO):app --bind $(BIND)

check: $(VENV)/stamp-dev
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache | tail -n 12

test: check
	@bash tests/setup.sh
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: $(VENV)/stamp-dev $(VENV)/stamp-docs
	@bash tests/setup.sh
	COVERAGE=$(COVERAGE) FUZZ_SECONDS=$(FUZZ_SECONDS) bash tests/slow.sh

docs: $(VENV)/stamp-docs
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	echo "docs/_build/html/index.html"

bench: $(VENV)/stamp-dev
	@bash tests/setup.sh
	$(BIN)/python -m bench figures

format: $(VENV)/stamp-dev
	@$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	@rm -rf $(VENV) .venvs build dist *.egg-info webfw/sansio/_native.*.so docs/_build htmlcov .coverage .coverage.* \
	  .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

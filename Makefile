# Everything runs in ./.venv, which is made on first use: with uv where there is uv, else with venv and pip.
# `make test PYTHON=python3.12` makes it again if it is of another Python.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FOR ?= 60
COUNT ?= 400
TRIGGERS ?= 10000
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test coverage check docs interface dist test-dist chaos reconcile kill outbox-kill soak mutants bench bench-full format clean

# --- Is there a Python that will do? Asked before anything else, so that the answer comes within a second. ---

ASK := import sys; print(".".join(map(str, sys.version_info[:3])), sys.version_info >= (3, 11))
GOALS := $(filter-out help clean,$(or $(MAKECMDGOALS),help))
ifneq ($(GOALS),)
HAVE := $(firstword $(shell test -x $(BIN)/python && $(BIN)/python -c '$(ASK)' 2>/dev/null))
ifneq ($(filter command environment override,$(firstword $(origin PYTHON)))$(if $(HAVE),,none),)
WANT := $(shell $(PYTHON) -c '$(ASK)' 2>/dev/null)
ifeq ($(WANT),)
$(error there is no $(PYTHON) here: name a Python of 3.11 or later, as in `make $(firstword $(GOALS)) PYTHON=python3.12`)
endif
ifneq ($(lastword $(WANT)),True)
$(error refold_async needs Python 3.11 or later, and $(PYTHON) is $(firstword $(WANT)): try `make $(firstword $(GOALS)) PYTHON=python3.12`)
endif
ifneq ($(HAVE),$(firstword $(WANT)))
ifneq ($(wildcard $(VENV)),)
$(info $(VENV) is of Python $(or $(HAVE),no version that runs); it is made again with $(firstword $(WANT)))
$(shell rm -rf $(VENV))
endif
endif
endif
endif

# --- What can be done ---

help:  ## this list
	@echo 'usage: make TARGET [PYTHON=python3.12]'
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  %-12s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.installed-demo  ## fire a batch at the embedded mock Refold, with faults switched on
	$(BIN)/refold-async demo

test: $(VENV)/.installed-dev  ## the test suite, in parallel
	$(BIN)/python -m pytest -n auto --dist worksteal

coverage: $(VENV)/.installed-dev  ## the test suite with its branch coverage, which must be 95 % or more
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -n auto --dist worksteal
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

check: $(VENV)/.installed-dev  ## format, lint, types, the direction of imports and the record of public names
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/docs/test_interface.py

docs: $(VENV)/.installed-docs  ## build the documentation into docs/_build/html, without a network; each warning is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet --builder html docs docs/_build/html
	$(BIN)/python -m tools.links docs/_build/html
	@echo 'open docs/_build/html/index.html'

interface: $(VENV)/.installed-dev  ## write the record of the public interface again, after a change that is meant
	$(BIN)/python -m tools.interface --write

dist: $(VENV)/.installed-dist  ## build the wheel and the sdist into dist/ and check what they are made of
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

test-dist: dist  ## fire a trigger with the wheel alone, and run the sdist's own tests (TESTS= for a part), each in a venv of its own
	$(BIN)/python -m tools.try_dist dist $(TESTS)

chaos: $(VENV)/.installed-dev  ## TRIGGERS= (10,000) over faults, hostile user code, changing loops and more, checked against the mock's ledger
	$(BIN)/python -m tests.campaigns.chaos --triggers $(TRIGGERS) --seed $(SEED) $(if $(SCENE),--scene $(SCENE))

reconcile: $(VENV)/.installed-dev  ## 10,000 tagged triggers over every fault, then looked for: what is called fired has fired
	$(BIN)/python -m tests.campaigns.reconcile --triggers 10000

kill: $(VENV)/.installed-dev  ## a batch killed at 20 random moments and resumed, checked against the mock's ledger
	$(BIN)/python -m tests.campaigns.kill_resume --kills 20

outbox-kill: $(VENV)/.installed-dev  ## an outbox whose processes are killed and frozen, checked against the mock's ledger
	$(BIN)/python -m tests.campaigns.outbox_kill --events 1000 --kills 20
	$(BIN)/python -m tests.campaigns.outbox_kill_procrastinate --events 1000 --kills 20

mutants: $(VENV)/.installed-dev  ## 400 small changes of the code that decides, drawn with SEED=: which of them do the fast tests miss?
	$(BIN)/python -m tools.mutants --count $(COUNT) --seed $(SEED)

soak: $(VENV)/.installed-dev  ## the wire under a storm for a minute, or FOR= seconds, while its sockets and memory are watched
	$(BIN)/python -m tests.campaigns.soak --seconds $(FOR)

bench: $(VENV)/.installed-bench  ## what is asked of the core: ratios beside aiohttp, pyreqwest and the floor, each with its bar
	$(BIN)/python -m benchmarks wire

bench-full: $(VENV)/.installed-bench  ## everything, in about a quarter of an hour, written into docs and README
	$(BIN)/python -m benchmarks full
	$(BIN)/python -m benchmarks report

format: $(VENV)/.installed-dev  ## repair what `make check` complains of, where a machine can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove .venv, caches and what was built
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .mutants .coverage dist docs/_build docs/api

# --- How .venv comes about. Each set of packages leaves a stamp, and is installed again when pyproject.toml changes. ---

UV := $(shell command -v uv 2>/dev/null)
HEARTBEAT = $(BIN)/python tools/heartbeat.py
INSTALL = $(if $(UV),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)

$(BIN)/python:
	@echo 'Making $(VENV) with $(PYTHON) $(firstword $(WANT)) ...'
	@$(if $(UV),uv venv --quiet --python $(PYTHON) $(VENV),$(PYTHON) -m venv $(VENV))
# pip before 25.1 does not know dependency groups
	@$(if $(UV),true,$(HEARTBEAT) 'Bringing pip up to date' $(INSTALL) --upgrade 'pip>=25.1')

$(VENV)/.installed-demo: pyproject.toml | $(BIN)/python
	@$(HEARTBEAT) 'Installing refold-async and its command line into $(VENV)' $(INSTALL) -e '.[cli]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	@$(HEARTBEAT) 'Installing refold-async and what its tests need into $(VENV)' $(INSTALL) -e '.[cli,testing]' --group dev
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-docs $(VENV)/.installed-dist $(VENV)/.installed-bench: $(VENV)/.installed-%: $(VENV)/.installed-dev
	@$(HEARTBEAT) 'Installing what `make $*` needs into $(VENV)' $(INSTALL) --group $*
	@touch $@

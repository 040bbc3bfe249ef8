# Everything runs in ./.venv, which is made on first use: with uv where there is uv, else with venv and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-dev
DEMO_STAMP := $(VENV)/.installed-demo
BENCH_STAMP := $(VENV)/.installed-bench

FOR ?= 60

.PHONY: demo test check chaos kill soak bench bench-full format clean

demo: $(DEMO_STAMP)  ## fire a batch at the embedded mock Refold, with faults switched on
	$(BIN)/refold-async demo

test: $(STAMP)  ## the test suite, with branch coverage
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage report

check: $(STAMP)  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

chaos: $(STAMP)  ## 10,000 triggers over every fault, checked against the mock's ledger; then our wire beside stock httpx
	$(BIN)/python -m tests.campaigns.chaos --triggers 10000

kill: $(STAMP)  ## a batch killed at 20 random moments and resumed, checked against the mock's ledger
	$(BIN)/python -m tests.campaigns.kill_resume --kills 20

soak: $(STAMP)  ## the wire under a storm for a minute, or FOR= seconds, while its sockets and memory are watched
	$(BIN)/python -m tests.campaigns.soak --seconds $(FOR)

bench: $(BENCH_STAMP)  ## cost, speed, delivery, pacing and batches beside other clients, in about two minutes
	$(BIN)/python -m benchmarks

bench-full: $(BENCH_STAMP)  ## the same in about ten minutes, as the docs show it
	$(BIN)/python -m benchmarks --full

format: $(STAMP)  ## mend what `make check` complains of, where a machine can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage

$(BIN)/python:
	@if command -v uv >/dev/null 2>&1; then uv venv --quiet --python $(PYTHON) $(VENV); else $(PYTHON) -m venv $(VENV); fi

# pip before 25.1 does not know dependency groups, so a venv made without uv gets a newer pip first.
$(STAMP): pyproject.toml | $(BIN)/python
	@if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python -e '.[cli,testing]' --group dev; \
	else $(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' && $(BIN)/python -m pip install --quiet -e '.[cli,testing]' --group dev; fi
	@touch $(STAMP) $(DEMO_STAMP)

$(DEMO_STAMP): pyproject.toml | $(BIN)/python
	@if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python -e '.[cli]'; \
	else $(BIN)/python -m pip install --quiet -e '.[cli]'; fi
	@touch $(DEMO_STAMP)

$(BENCH_STAMP): $(STAMP)
	@if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python --group bench; \
	else $(BIN)/python -m pip install --quiet --group bench; fi
	@touch $(BENCH_STAMP)

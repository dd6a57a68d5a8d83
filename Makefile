# `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin

help:
	@echo "make setup   create .venv with the pinned packages"
	@echo "make demo    the whole road on a mini city: photos, maps, two stages, answers, report (runs/demo)"
	@echo "make test    the test suite"
	@echo "make coverage  the same, with the lines that no test reaches"
	@echo "make check   formatting, lint, types"

setup: .venv/.ready

# pip, because it takes the CPU or CUDA build of torch that the index offers and nothing else.
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: setup
	$(BIN)/addressvlm demo --out runs/demo

# One thread each: OpenMP threads that wait for a busy core make everything many times slower.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --durations 15

# Half as long again: every line of Python is counted.
coverage: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --cov --cov-report term:skip-covered

check: setup
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	$(BIN)/mypy

.PHONY: help setup demo test coverage check

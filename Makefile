# `make demo` and `make test` work in a fresh clone: each sets everything up first, once.
PYTHON ?= python3
VENV   ?= .venv
IN     ?=
ARGS   ?=

BIN   := $(VENV)/bin
PIP   := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv and install the toolkit in it (once; VENV=folder PYTHON=python3.12)

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --editable '.[app,metrics,dev]' || { \
	  echo "The metrics extra did not install (pesq is built from C source): going on without PESQ."; \
	  $(PIP) install --quiet --editable '.[app,dev]' pystoi visqol-python; }
	@$(PIP) install --quiet --no-deps moonshine-voice || echo "moonshine-voice did not install: the demo looks for another clip."
	@touch $@

demo: $(READY) ## code real speech and photographs, write demo/report.html (IN="my.wav my.jpg" for your own)
	$(BIN)/codec demo $(IN)

test: $(READY) ## run the tests, one process a core (ARGS="-m slow tests/files" is passed to pytest)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile $(ARGS)

check: $(READY) ## lint, format, types, import floors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/lint-imports

format: $(READY) ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

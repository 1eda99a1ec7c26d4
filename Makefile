# Needs only Python >= 3.11 and make: each target installs what it uses into .venv, once per pyproject.toml.
PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=

BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints/ci.txt
INPUTS := pyproject.toml constraints/ci.txt $(BIN)/python

# More workers, or more threads in each, are slower: the arrays in the tests are small.
PYTEST_WORKERS ?= $(shell test "$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)" -ge 2 && echo 2 || echo 1)
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help drift test notebooks docs reproduce proofs llm check lint dev mutants bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'ARGS="..." is passed on to drift, test, reproduce and bench; PYTHON=python3.12 chooses the interpreter.'

drift: $(VENV)/.core ## simulate random-reward drift with theory beside it, into results/drift
	$(BIN)/entclip drift --out results/drift $(ARGS)

test: $(VENV)/.test ## run all tests
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(PYTEST_WORKERS) $(ARGS)

notebooks: $(VENV)/.test ## run every notebook and write it with its outputs (two minutes)
	$(ONE_THREAD) $(BIN)/python -m notebooks.build $(ARGS)

docs: $(VENV)/.docs ## build the documentation site into build/docs
	$(BIN)/python -m sphinx -W --keep-going -n -b html docs build/docs

reproduce: $(VENV)/.test ## every table and figure of docs/findings.md, into results/findings (ARGS=--quick: minutes)
	$(ONE_THREAD) $(BIN)/entclip reproduce --out results/findings $(ARGS)

proofs: $(VENV)/.test ## prove every claim symbolically and rewrite docs/proofs.md
	$(BIN)/python -m theory $(ARGS)

llm: $(VENV)/.test ## every language-model experiment of docs/llm.md, into results/ (half an hour on two cores)
	@for name in llm_controls llm_headline llm_six llm_true_reward; do \
	  $(ONE_THREAD) $(BIN)/entclip llm $$name --out results/$$name $(ARGS) && $(BIN)/entclip ledger results/$$name || exit 1; done

check: lint ## lint, format check and types
	$(BIN)/python -m mypy

lint: $(VENV)/.dev ## lint and format check
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check

dev: $(VENV)/.dev ## install everything a contributor needs

mutants: $(VENV)/.mutants ## mutation testing of the formula files (a quarter of an hour on two cores)
	$(ONE_THREAD) $(BIN)/python -m tests.mutants --jobs $(PYTEST_WORKERS) $(ARGS)

bench: $(VENV)/.test ## measure wall times
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove caches and builds; keeps .venv and results
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path './$(VENV)' -prune -o -type d -name __pycache__ -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "entclip needs Python >= 3.11, but '$(PYTHON)' is older or missing;" \
	       "name another with: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' failed: some Linux distributions ship it as a package of its own, python3-venv." >&2; \
	  exit 1; }

# A larger set holds the smaller ones, so it marks those as done too.
$(VENV)/.core: $(INPUTS)
	@echo 'Installing entclip into $(VENV) ...'
	@$(PIP) -e .
	@touch $@

$(VENV)/.docs: $(INPUTS)
	@echo 'Installing entclip and what its site needs into $(VENV) ...'
	@$(PIP) -e '.[docs]'
	@touch $(VENV)/.core $@

$(VENV)/.test: $(INPUTS)
	@echo 'Installing entclip and its test tools into $(VENV) (a few minutes the first time) ...'
	@$(PIP) -e '.[test]'
	@touch $(VENV)/.core $(VENV)/.docs $@

$(VENV)/.mutants: $(INPUTS)
	@echo 'Installing entclip and its mutation tests into $(VENV) ...'
	@$(PIP) -e '.[mutants]'
	@touch $(VENV)/.core $(VENV)/.docs $(VENV)/.test $@

$(VENV)/.dev: $(INPUTS)
	@echo 'Installing entclip and its development tools into $(VENV) (a few minutes the first time) ...'
	@$(PIP) -e '.[dev]'
	@touch $(VENV)/.core $(VENV)/.docs $(VENV)/.test $@

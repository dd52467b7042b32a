# Every target is one command from nothing: it makes .venv and installs what it needs.
VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
export NO_ALBUMENTATIONS_UPDATE := 1
export RAY_USAGE_STATS_ENABLED := 0
export HF_HUB_DISABLE_TELEMETRY := 1

.PHONY: help demo install test check quick mutants mutants-generic sbom release format soak bench clean

help:            ## these lines
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/'

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v not in [(3, 11), (3, 12)] and f"frenchcat needs Python 3.11 or 3.12 and found {v[0]}.{v[1]}; name one: make PYTHON=python3.11")'
	@echo "making $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.python
	@echo "installing the pinned dependencies (a few minutes, once)"
	@$(PIP) install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.developing: pyproject.toml constraints.txt | $(VENV)/.python
	@echo "installing the pinned dependencies and the tests' (a few minutes, once)"
	@$(PIP) install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.installed

install: $(VENV)/.installed   ## make .venv with the pinned dependencies

demo: $(VENV)/.installed      ## the whole pipeline on the bundled sample
	@$(BIN)/frenchcat demo

test: $(VENV)/.developing     ## the whole suite, two files at a time
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.developing    ## format, lint, types (strict), dependencies, import rules, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/deptry frenchcat curate index train
	$(BIN)/lint-imports
	$(MAKE) test

quick: $(VENV)/.developing    ## between commits: format, lint, types, and one package: make quick TESTS=tests/train
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m "not slow and not browser and not ray" $(or $(TESTS),tests/curate/remove)

mutants: $(VENV)/.developing  ## break every promise on purpose; each has to be noticed
	$(BIN)/python -m tools.mutants $(ARGS)

mutants-generic: $(VENV)/.developing  ## mutmut's operators: ARGS="--changed HEAD~5" or ARGS="--sample 500"
	$(BIN)/python -m tools.mutants.generic $(ARGS)

sbom: $(VENV)/.installed      ## what a default install brings along, as CycloneDX's JSON
	@$(BIN)/python -m tools.sbom

release: $(VENV)/.developing  ## wheel and sdist in dist/, the same bytes from the same commit
	@$(BIN)/python -m tools.release

format: $(VENV)/.developing   ## put the code into the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

soak: $(VENV)/.developing     ## the tests that take longer
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m slow --timeout 3600 $(ARGS)

bench: $(VENV)/.developing    ## every measurement against a peer; results in .bench/results
	for script in bench/[a-z]*.py; do \
		case $$script in bench/steer.py|bench/artist.py|bench/finetune.py) continue;; esac; \
		$(BIN)/python -m bench.$$(basename $$script .py) || exit 1; done  # those want a RUN, a dataset, or the artist

clean:                        ## remove what the targets made, .venv too
	rm -rf $(VENV) .bench .mutants demo-output .mypy_cache .ruff_cache .hypothesis

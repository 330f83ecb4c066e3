# Needs Python 3.11, 3.12 or 3.13 and nothing else: `make demo`, `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
INSTALLED := $(VENV)/.installed
# Tests by several processes, by what they share (tests/schedule.py); those that ARGS chooses by one.
WORKERS ?= 2
SEVERAL := --numprocesses $(WORKERS) --dist loadscope
COVERAGE := --cov --cov-report=term
UNIT := not (engine or airflow or faults or fit or browser)

.PHONY: help install demo airflow test coverage test-unit lint format benchmark faults deployments clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED)  ## run the example workflow on healthy and on drifted data, by real Airflow, in .demo/
	@$(PY) -m tests.system.demo

airflow: $(INSTALLED)  ## open Airflow on what the demo did
	@$(PY) -m tests.system.demo airflow

test: $(INSTALLED)  ## every test (AUTOML_TEST_DATA=DIR: on the real census data in DIR/adult); ARGS="-k name" for some
	@$(PY) -m pytest $(if $(ARGS),$(ARGS),$(SEVERAL))

coverage: $(INSTALLED)  ## every test, and which lines none of them ran (a fifth more time)
	@$(PY) -m pytest $(SEVERAL) $(COVERAGE)

test-unit: $(INSTALLED)  ## those that need no server, no Airflow and no training: a minute
	@$(PY) -m pytest $(SEVERAL) $(COVERAGE) -m "$(UNIT)" $(ARGS)

lint: $(INSTALLED)  ## style, types, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>&1

format: $(INSTALLED)  ## mend what lint can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

benchmark: $(INSTALLED)  ## side by side measurements, a ratio a line
	@status=0; for file in benchmarks/[a-z]*.py; do $(PY) -m benchmarks.$$(basename $$file .py) || status=1; done; \
		exit $$status

faults: $(INSTALLED)  ## a hundred faults an engine at random moments, on real servers; goes on where it was interrupted
	@$(PY) -m tests.faults $(ARGS)

deployments: $(INSTALLED)  ## install the wheel into existing deployments and run there (minutes, downloads)
	@$(PY) -m tests.deployments
	@$(PY) -m tests.deployments.pages

install: $(INSTALLED)  ## .venv with everything, if pyproject.toml or constraints.txt changed

clean:  ## remove .venv, the demo, and everything else that was made here
	rm -rf $(VENV) .demo .engines .test .benchmarks .coverage* build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find airflow_provider_automl benchmarks dags tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A name on the path is not yet a working Python (pyenv's shims may only print an error), so each one is run.
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
WANTED := airflow-provider-automl: needs Python 3.11, 3.12 or 3.13 with the venv module, and found none. \
	Install one (Debian: apt install python3.11-venv; macOS: brew install python@3.12), or say: make PYTHON=/path/to/python3.12

# uv does not read pip's configuration (an index of your own, say): when it cannot install, pip does.
$(INSTALLED): pyproject.toml constraints.txt
	@if ! $(PY) -c '$(FITS)' >/dev/null 2>&1; then \
		for python in $(PYTHON) python3.11 python3.12 python3.13 python3 python ''; do \
			if [ -n "$$python" ] && "$$python" -c '$(FITS)' >/dev/null 2>&1; then break; fi; \
		done; \
		if [ -z "$$python" ]; then echo '$(WANTED)' >&2; exit 1; fi; \
		echo "Making $(VENV) with $$("$$python" --version) ($$python) ..."; \
		"$$python" -m venv --clear $(VENV); \
	fi
	@echo "Installing what constraints.txt pins into $(VENV) (some 700 MB at first; a minute or two) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv \
		&& UV_HTTP_TIMEOUT=$${UV_HTTP_TIMEOUT:-180} $(BIN)/uv pip install --quiet --system-certs --python $(PY) \
			--constraint constraints.txt --editable '.[all,dev]' \
		|| { echo "uv could not; pip does it (slower) ..."; \
			$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'; }
	@touch $@

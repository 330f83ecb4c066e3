# Needs only Python 3.11, 3.12 or 3.13: `make demo`, `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
RELEASE := .venv-release
BIN := $(VENV)/bin
PY := $(BIN)/python
INSTALLED := $(VENV)/.installed
# Tests run in parallel, grouped by what they share (tests/schedule.py); those selected by ARGS in one process.
WORKERS ?= 2
SEVERAL := --numprocesses $(WORKERS) --dist loadscope
COVERAGE := --cov --cov-report=term
UNIT := not (engine or airflow or faults or fit or browser)

.PHONY: help install demo airflow test coverage test-unit lint format docs dist sbom audit benchmark faults deployments clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED)  ## run the example workflow on healthy and on drifted data in a real Airflow, in .demo/
	@$(PY) -m tests.system.demo

airflow: $(INSTALLED)  ## open Airflow on the demo's runs
	@$(PY) -m tests.system.demo airflow

test: $(INSTALLED)  ## all tests; ARGS="-k name" selects some; AUTOML_TEST_DATA=DIR uses the real census data in DIR/adult
	@$(PY) -m pytest $(if $(ARGS),$(ARGS),$(SEVERAL))

coverage: $(INSTALLED)  ## all tests with line coverage (a fifth slower)
	@$(PY) -m pytest $(SEVERAL) $(COVERAGE)

test-unit: $(INSTALLED)  ## tests that need no server, no Airflow and no training (a minute)
	@$(PY) -m pytest $(SEVERAL) $(COVERAGE) -m "$(UNIT)" $(ARGS)

lint: $(INSTALLED)  ## check style, spelling, types, and imports between packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/codespell
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>&1

format: $(INSTALLED)  ## fix what lint can fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(VENV)/.docs  ## build the documentation site in build/docs; a link or reference that leads nowhere is an error
	@rm -rf build/docs
	@$(PY) -m sphinx --builder html --conf-dir docs --fresh-env --fail-on-warning --quiet \
		--doctree-dir build/doctrees . build/docs
	@echo "The site is in build/docs: open build/docs/index.html"

dist: $(RELEASE)/.installed  ## build the wheel and the sdist in dist/, and check them
	@rm -rf dist
	@$(RELEASE)/bin/python -m build --no-isolation
	@$(RELEASE)/bin/twine check --strict dist/*
	@$(RELEASE)/bin/check-wheel-contents dist/*.whl

sbom: dist  ## list all that the wheel installs with all its extras, as CycloneDX, in build/sbom.cdx.json
	@rm -rf build/sbom && $(RELEASE)/bin/python -m venv --without-pip build/sbom
	@$(RELEASE)/bin/uv pip install --quiet --system-certs --python build/sbom/bin/python --constraint constraints.txt \
		"$$(echo dist/*.whl)[all]"
	@version=$$(sed -n 's/^__version__ = //p' airflow_provider_automl/__init__.py) \
		&& sed "s/^dynamic = .*/version = $$version/" pyproject.toml > build/pyproject.toml
	@$(RELEASE)/bin/cyclonedx-py environment --pyproject build/pyproject.toml --mc-type library --output-reproducible \
		--output-format JSON --output-file build/sbom.cdx.json build/sbom/bin/python
	@rm -rf build/sbom build/pyproject.toml

audit: $(RELEASE)/.installed  ## report the known vulnerabilities of the versions in constraints.txt
	@$(RELEASE)/bin/pip-audit --strict --progress-spinner off --disable-pip --no-deps --requirement constraints.txt

benchmark: $(INSTALLED)  ## run the benchmarks, side by side, one ratio per line
	@status=0; for file in benchmarks/[a-z]*.py; do $(PY) -m benchmarks.$$(basename $$file .py) || status=1; done; \
		exit $$status

faults: $(INSTALLED)  ## inject a hundred faults per engine at random moments, on real servers; resumes if interrupted
	@$(PY) -m tests.faults $(ARGS)

deployments: $(INSTALLED)  ## install the wheel into existing deployments and run it there (minutes, downloads)
	@$(PY) -m tests.deployments
	@$(PY) -m tests.deployments.pages

install: $(INSTALLED)  ## install everything into .venv, if pyproject.toml or constraints.txt changed

clean:  ## remove .venv, the demo, and all generated files
	rm -rf $(VENV) $(RELEASE) .demo .engines .test .benchmarks .coverage* build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find airflow_provider_automl benchmarks dags tests -name __pycache__ -type d -prune -exec rm -rf {} +

# A Python on the path may not work (pyenv's shims may only print an error), so each candidate is run.
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
WANTED := airflow-provider-automl needs Python 3.11, 3.12 or 3.13 with the venv module, and none was found. \
	Install one (Debian: apt install python3.11-venv; macOS: brew install python@3.12), or run: make PYTHON=/path/to/python3.12

CREATE = if ! $(1)/bin/python -c '$(FITS)' >/dev/null 2>&1; then \
		for python in $(PYTHON) python3.11 python3.12 python3.13 python3 python ''; do \
			if [ -n "$$python" ] && "$$python" -c '$(FITS)' >/dev/null 2>&1; then break; fi; \
		done; \
		if [ -z "$$python" ]; then echo '$(WANTED)' >&2; exit 1; fi; \
		echo "Creating $(1) with $$("$$python" --version) ($$python) ..."; \
		"$$python" -m venv --clear $(1); \
	fi

# uv does not read pip's configuration (such as a private index), so pip is the fallback.
INSTALL = UV_HTTP_TIMEOUT=$${UV_HTTP_TIMEOUT:-180} $(BIN)/uv pip install --quiet --system-certs --python $(PY) \
		--constraint constraints.txt --editable '.[$(EXTRAS)]' \
	|| { echo "uv failed; installing by pip (slower) ..."; \
		$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'; }

$(INSTALLED): EXTRAS := all,dev
$(INSTALLED): pyproject.toml constraints.txt
	@$(call CREATE,$(VENV))
	@echo "Installing the versions in constraints.txt into $(VENV) (about 700 MB at first; a minute or two) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv || true
	@$(INSTALL)
	@touch $@

# Not part of $(INSTALLED): most checkouts never build the site.
$(VENV)/.docs: EXTRAS := docs
$(VENV)/.docs: $(INSTALLED)
	@$(INSTALL)
	@touch $@

$(RELEASE)/.installed: pyproject.toml constraints.txt
	@$(call CREATE,$(RELEASE))
	@$(RELEASE)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip
	@$(RELEASE)/bin/python -m pip install --quiet --constraint constraints.txt --group release
	@touch $@

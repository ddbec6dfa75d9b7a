# make demo    a real cluster, a real database, one scaling up and down
# make test    everything that has to hold

VENV := .venv
PYTHON ?= python3
RUN := cd tests && PYTHONPATH=. ../$(VENV)/bin/python

.PHONY: help demo test test-fast suite nightly trade-off bench bench-allocation bench-in-place bench-acknowledgements bench-demand bench-pool bench-probes format golden crd requirements clean

help: ## Show this help.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

demo: $(VENV)/.installed ## Scale real pods on a real cluster and count what they open; ARGS=--keep leaves it up.
	@$(RUN) -m demo $(ARGS)

test: $(VENV)/.installed ## Lint, types, unit, integration and end-to-end tests.
	@$(RUN) -m stages

test-fast: $(VENV)/.installed ## Lint, types and unit tests: no cluster, in seconds.
	@$(RUN) -m stages --fast

suite: $(VENV)/.installed ## Try to break the bound with 13,340 schedules: some 100 minutes on two cores.
	@$(VENV)/bin/poolbudget simulate --suite -n 460 --policy poolbudget

nightly: $(VENV)/.installed ## The same with a hundred times as many: for a night on many cores.
	@$(VENV)/bin/poolbudget simulate --suite -n 46000 --policy poolbudget

trade-off: $(VENV)/.installed ## Write the table and the curve of docs/safety.md anew.
	@$(RUN) -m bench.trade_off

bench: $(VENV)/.installed ## Time the way from a scaling to the ConfigMap.
	@$(RUN) -m bench $(ARGS)

bench-allocation: $(VENV)/.installed ## Time the fair shares of 1,000 targets.
	@$(RUN) -m bench.allocation

bench-in-place: $(VENV)/.installed ## Time real pods on the way to their shares; ARGS=--most=30.
	@$(RUN) -m bench.in_place $(ARGS)

bench-acknowledgements: $(VENV)/.installed ## What it costs to see what 1,000 connections say.
	@$(RUN) -m bench.acknowledgements

bench-demand: $(VENV)/.installed ## Shares by demand beside equal ones and the best there is.
	@$(RUN) -m bench.demand

bench-pool: $(VENV)/.installed ## What a checkout costs in a resizable pool, beside SQLAlchemy's own.
	@$(RUN) -m bench.pool

bench-probes: $(VENV)/.installed ## Memory and time of probes.
	@$(RUN) -m bench.probes

format: $(VENV)/.installed ## Format the code.
	@$(VENV)/bin/ruff format --quiet . && $(VENV)/bin/ruff check --quiet --fix .

golden: $(VENV)/.installed ## Write the golden files of the sample manifests anew: read the difference.
	@$(RUN) -m golden.write

crd: $(VENV)/.installed ## Write the CustomResourceDefinition from the models.
	@$(VENV)/bin/poolbudget crd > crds/poolbudgets.poolbudget.io.yaml
	@cp crds/poolbudgets.poolbudget.io.yaml charts/poolbudget/crds/

requirements: $(VENV)/.installed ## Pin all dependencies anew, with hashes.
	@$(VENV)/bin/uv pip compile --quiet --upgrade --universal --generate-hashes --no-annotate --no-header \
	    --extra dev --python-version 3.11 pyproject.toml --output-file requirements.txt
	@$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header \
	    --extra operator --python-version 3.11 --constraint requirements.txt pyproject.toml \
	    --output-file requirements-operator.txt

clean: ## Remove what was built here (not the cache of test tools).
	@rm -rf $(VENV) build dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.installed: requirements.txt pyproject.toml
	@echo "Installing Python packages into $(VENV), about a minute" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

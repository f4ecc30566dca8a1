# Everything a newcomer needs; each target brings uv and the locked environment when they are missing.
SHELL := /bin/bash
.DEFAULT_GOAL := help
UV := $(shell command -v uv 2>/dev/null || echo $(CURDIR)/.venv-uv/bin/uv)
RUN = UV=$(UV) $(UV) run --frozen --no-sync

.PHONY: help demo test check up down bench setup
help:            ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: setup      ## the whole loop once on generated data, in process, no server needed
	@$(RUN) edgeloop demo

test: check      ## check, then everything against real servers, a real browser and the whole loop
	@$(RUN) pytest -n 2 --dist loadgroup --no-loadscope-reorder -m "integration or demo or browser" --durations=15

check: setup     ## format, lint, types, layers, fast tests: under two minutes
	@$(RUN) ruff format --check . && $(RUN) ruff check . && $(RUN) mypy && $(RUN) lint-imports && $(RUN) pytest -q -n 2 --dist loadfile -m "not integration and not demo and not browser"

up: setup        ## start the local stack: Prefect, MLflow, workers, Label Studio when it is configured
	@$(RUN) edgeloop up

down: setup      ## stop the local stack
	@$(RUN) edgeloop down

bench: setup     ## the measurements that the documents quote and that need no data; BENCH=--help says more
	@$(RUN) python -m benchmarks $(BENCH)

setup: $(UV)
	@$(UV) sync --frozen --quiet

$(CURDIR)/.venv-uv/bin/uv:
	@python3 -m venv .venv-uv && .venv-uv/bin/pip install --quiet uv

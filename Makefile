# The words for every chore. `make help` lists them.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-input
LOCK := $(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" --quiet
# Processes that the tests run in, and whatever else pytest shall be told.
JOBS ?= 2
ARGS ?=
SEEDS ?= 200

.PHONY: help install serve test crash check bench bench-full lock clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

install: $(STAMP) ## the environment in .venv, from the hashed lock

serve: install ## the shop on 127.0.0.1:8000, with all it needs
	@$(BIN)/fortress serve shop.app:app

test: install ## the whole suite (JOBS=0 for one process, ARGS=... for pytest)
	@$(BIN)/pytest -n $(JOBS) --dist loadfile $(ARGS)

crash: install ## servers killed at every named place and at random, with SEEDS seeds
	@$(BIN)/pytest -n $(JOBS) --crash-seeds $(SEEDS) tests/faults/crash $(ARGS)

check: install ## lint, format, types, fences, sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/fortress openapi --check
	$(BIN)/fortress openapi shop.app:app --check --folder examples/shop/openapi
	$(if $(wildcard tests/architecture),$(BIN)/pytest -q tests/architecture)

bench: install ## the budgets, measured here, beside their bars
	@$(BIN)/python -m bench

bench-full: install ## the same, longer
	@$(BIN)/python -m bench --full

lock: install ## resolve the dependencies anew (UPGRADE=--upgrade for newer releases)
	$(LOCK) $(UPGRADE) -o requirements/base.txt
	$(LOCK) $(UPGRADE) --group dev -c requirements/base.txt -o requirements/dev.txt

clean: ## remove the environment and what tools left; .fortress with its data stays
	rm -rf $(VENV) .venv-bench .venv-clients .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests examples bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@for python in python3.13 python3.12 python3.11 python3.14 python3; do \
		$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		$$python -c 'import venv, ensurepip' 2>/dev/null || { no_venv=$$python; continue; }; \
		echo "Making $(VENV) with $$($$python --version)"; \
		exec $$python -m venv --clear $(VENV); \
	done; \
	if [ -n "$$no_venv" ]; then echo "$$no_venv has no venv module; on Debian: apt install python3-venv" >&2; \
	else echo "Fortress needs Python 3.11 or newer, and none is here; on Debian 12: apt install python3 python3-venv" >&2; fi; \
	exit 1

# The file is named last: a build that was cut short is begun anew.
$(STAMP): pyproject.toml requirements/dev.txt | $(BIN)/python
	@echo "Installing what requirements/dev.txt names"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

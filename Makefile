# What can be made here: `make` lists it. Each target sets up what it needs and says what it installs; what is there
# already is used. The same targets run at home and in CI.

# Which Python .venv is made with; the demo's orders and broker (nothing: SQLite, or redis); words for pytest or bench.
PYTHON ?= python3
ORDERS ?= 1000
BROKER ?=
ARGS ?=

PY := .venv/bin/python
DEMO = $(PY) examples/shop/manage.py demo --orders $(ORDERS)

.DEFAULT_GOAL := help
.PHONY: help demo dev test faults fast cover lint types docs bench build clean servers

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.ready-demo ## 1,000 orders through the shop on SQLite; BROKER=redis for a Redis of its own, ORDERS=n
ifeq ($(BROKER),)
	@$(DEMO)
else ifeq ($(BROKER),redis)
	@scripts/servers.sh redis
	@$(PY) scripts/with_redis.py $(DEMO)
else
	@echo "BROKER is redis, or nothing for SQLite; not $(BROKER)." >&2; exit 2
endif

dev: .venv/.ready-demo ## the shop, its admin and a worker in one terminal, at http://127.0.0.1:8000/
	@$(PY) examples/shop/manage.py setup
	@$(PY) examples/shop/manage.py celeriac dev

test: .venv/.ready-dev servers ## the whole suite, also on the newest Python and Django that are here; ARGS="-k word"
	@scripts/test.sh $(PYTHON) $(ARGS)

faults: .venv/.ready-dev servers ## the fault battery at length, an hour or two, with a table at the end; ARGS="-k kills"
	@CELERIAC_FAULTS=long $(PY) -m pytest -p tests.faults.report -m scenario -v tests/faults tests/scenarios $(ARGS)

fast: .venv/.ready-dev ## the tests that need no server, under 20 seconds
	@env -u PYTHONDONTWRITEBYTECODE $(PY) -m pytest -n 2 -m "not slow" tests/unit tests/budget $(ARGS)

cover: .venv/.ready-dev servers ## the whole suite once, and which lines and branches it reached
	@$(PY) -m coverage erase
	@$(PY) -m coverage run --branch -m pytest $(ARGS)
	@$(PY) -m coverage combine --quiet
	@$(PY) -m coverage report

lint: .venv/.ready-dev ## ruff, and the contract for the floors
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports --no-logo

types: .venv/.ready-dev ## mypy, strict
	@.venv/bin/mypy

docs: .venv/.ready-dev ## run the examples in the docs
	@$(PY) -m pytest tests/docs $(ARGS)

bench: .venv/.ready-bench servers ## measure, beside the peers; ARGS="--only redis-drain --rounds 1"
	@$(PY) -m bench $(ARGS)

build: .venv/.ready-dev ## wheel and source archive, into dist/
	@rm -rf dist
	@$(PY) -m build --outdir dist .
	@$(PY) -m zipfile -l dist/*.whl | grep 'celeriac/py.typed' >/dev/null || { echo "The wheel lacks py.typed." >&2; exit 1; }

clean: ## what was built, caches, and the shop's data; .venv stays
	@rm -rf build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@rm -rf examples/shop/var
	@find src tests examples bench scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

servers:
	@scripts/servers.sh redis postgres mariadb $(if $(wildcard tests/browser),browser)

.venv/.ready-bench: .venv/.ready-dev bench/requirements.txt
	@echo "Installing the peers: bench/requirements.txt"
	@$(PY) -m pip install --quiet -r bench/requirements.txt
	@touch $@

.venv/.ready-demo: pyproject.toml
	@scripts/venv.sh .venv $(PYTHON) demo

.venv/.ready-dev: pyproject.toml
	@scripts/venv.sh .venv $(PYTHON) dev

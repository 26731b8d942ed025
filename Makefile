# Every target sets up what it needs: .venv from the lock files; for the tests the Debian packages of .ci/debian-packages,
# and the types of Grafana and axe-core from npm.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
export UV_PYTHON_DOWNLOADS := never

BIN := .venv/bin
COMPILE := uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-annotate \
	--python-version 3.11 --quiet $(if $(UPGRADE),--upgrade)

.PHONY: help demo test check lint bench fuzz generate lock servers clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.runtime ## run a simulated Dify and the collector, with numbers that grow
	$(BIN)/dify-metric demo $(ARGS)

test: .venv/.dev servers ## run all tests (ARGS="tests/store -x" for some)
	$(BIN)/python -m pytest -q -n auto --dist worksteal $(ARGS)

check: lint test ## run every check: ready to commit

lint: .venv/.dev ## format, style, types, lock files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@if grep -Hn '://' *.lock; then echo 'lock files hold no URLs: run make lock' >&2; exit 1; fi

bench: .venv/.dev servers ## measure what is claimed about speed (ONLY=tap for one room)
	$(BIN)/python -m tests.benchmarks $(ONLY)

fuzz: .venv/.fuzz ## look for bytes that break the tap (SECONDS=300 each, ONLY="events relay")
	$(BIN)/python -m tests.fuzz $(or $(SECONDS),60) $(ONLY)

generate: .venv/.runtime ## write dashboards/ anew from the catalogue
	$(BIN)/dify-metric generate

lock: ## resolve the lock files anew (UPGRADE=1 takes newer versions)
	@command -v uv >/dev/null || { echo 'make lock needs uv: pipx install uv' >&2; exit 1; }
	$(COMPILE) pyproject.toml --all-extras -o requirements.lock
	$(COMPILE) --group build -c requirements.lock -o requirements-build.lock
	$(COMPILE) pyproject.toml --group dev -c requirements.lock -c requirements-build.lock -o requirements-dev.lock
	$(COMPILE) --group fuzz -o requirements-fuzz.lock

servers:
	@.ci/servers
	@.ci/types

clean: ## remove .venv, caches and what was built
	rm -rf tests/typescript/node_modules tests/page/axe/node_modules test-results .venv .cache .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .benchmarks build dist out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

LOCKS := requirements.lock requirements-build.lock pyproject.toml .ci/venv

.venv/.runtime: $(LOCKS)
	.ci/venv
	@touch $@

.venv/.dev: $(LOCKS) requirements-dev.lock
	.ci/venv dev
	@touch $@ .venv/.runtime

.venv/.fuzz: requirements-fuzz.lock .venv/.dev
	.ci/venv fuzz
	@touch $@

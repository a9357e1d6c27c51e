# Every target builds .venv by itself. All it needs is python3 (3.11 or newer) with venv, make and git.
# Another Python: `make clean`, then `make test PYTHON=python3.13`.

PYTHON  ?= python3
WORKERS ?= 2
PYTEST_ARGS ?=
LOCK_ARGS ?=

UV_VERSION := 0.13.8
BIN   := .venv/bin
READY := .venv/.ready
CODE  := bilevel attacks defenses benchmarks tests
# One file stays on one worker, so that what its tests compile once is compiled once.
PYTEST := $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Python keeps its bytecode even where containers forbid it: without, every start costs 5 s more.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint mutants bench lock clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do \
	    printf '  make %-10s %s\n' "$$name" "$$text"; done

demo: $(READY) ## Poison an SVM on real digits, and draw what happened (out/demo)
	$(BIN)/python -m benchmarks run svm-mnist --points 1 5 10 20 --splits 0 --out out/demo

test: $(READY) ## Run the fast tests
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-all: $(READY) ## Run all tests, slow ones included, with XLA's default compiler and checked annotations
	CHECK_TYPES=1 XLA_FLAGS="$(XLA_FLAGS)" $(PYTEST) $(PYTEST_ARGS)

lint: $(READY) ## Check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

mutants: $(READY) ## Plant known bugs, one at a time: the tests must see each
	$(BIN)/python tests/mutants.py $(FILE)

bench: $(READY) ## Time hypergradients beside other libraries (out/bench.json)
	@mkdir -p out
	$(BIN)/python -m benchmarks run hypergradient-peers --json out/bench.json

lock: ## Resolve requirements.lock again (LOCK_ARGS=--upgrade moves every pin)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q uv==$(UV_VERSION)
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links $(LOCK_ARGS) \
	    --all-extras --group test --group lint --group build pyproject.toml -o requirements.lock
	@! grep -n '://' requirements.lock

clean: ## Remove the environment, caches and everything a run wrote
	rm -rf .venv .cache .hypothesis .pytest_cache .ruff_cache build dist out
	find $(CODE) -type d -name __pycache__ -prune -exec rm -rf {} +

# The environment: what the lock holds, by hash, then this project, editable.
$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("bilevel needs Python 3.11 or newer: make clean, then make PYTHON=python3.x ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	@if $(BIN)/python -m pip install -q uv==$(UV_VERSION) \
	    && $(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements.lock; then :; else \
	    echo "uv cannot be installed here: installing with pip alone, which takes a few minutes"; \
	    $(BIN)/python -m pip install -q --require-hashes -r requirements.lock; fi
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

# Every target works from a fresh clone; those that need packages make .venv first.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
SOURCES := search_r1 retriever data_prep eval processor contract benchmarks scripts tests
PRESENT = $(wildcard $(SOURCES))
INDEX ?= artifacts/indexes/quickstart
PORT ?= 8000
RUN ?= $(patsubst %/,%,$(dir $(lastword $(sort $(wildcard runs/quickstart/*/summary.json)))))

.PHONY: help setup setup-gpu format lint type test test-fast test-slow docs docs-live bench bench-retriever demo eval-demo retriever serve mutants lock clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## make or repair .venv from the locks (first time: 3-5 minutes, 4.4 GB)
	@scripts/setup.sh --dev

setup-gpu:  ## the same with the GPU set
	@scripts/setup.sh --gpu --dev

format: setup  ## write the code the way lint wants it
	@$(BIN)/ruff check --fix-only --quiet $(PRESENT)
	@$(BIN)/ruff format $(PRESENT)

lint: setup  ## ruff, its format, the length of files and functions, and who imports whom
	@$(BIN)/ruff check $(PRESENT)
	@$(BIN)/ruff format --check $(PRESENT)
	@$(BIN)/python scripts/check_style.py
	@$(BIN)/lint-imports --no-cache --no-logo

type: setup  ## mypy, strict outside the verl plugin
	@$(BIN)/mypy $(filter-out tests,$(PRESENT))

# Many tests wait for servers and processes, so one worker more than cores pays.
PYTEST = $(BIN)/python -m pytest
SIDE_BY_SIDE = $(PYTEST) -n $$(($$(nproc) + 1)) --dist worksteal
FAST = $(SIDE_BY_SIDE)
SLOW = $(SIDE_BY_SIDE) -m "slow and not engine and not gpu and not network"
ENGINE = $(PYTEST) -m "engine and not gpu and not network"
# Every part runs, and one that failed is remembered; Ctrl-C ends them all.
EACH = trap 'exit 130' INT; failed=0

test: setup  ## all tests that need no GPU and no internet, real verl + vLLM included
	@$(EACH); $(FAST) || failed=1; $(SLOW) || failed=1; $(ENGINE) || failed=1; exit $$failed

test-fast: setup  ## the fast ones, side by side
	@$(FAST)

test-slow: setup  ## the slow ones: side by side, then those that train and serve for real
	@$(EACH); $(SLOW) || failed=1; $(ENGINE) || failed=1; exit $$failed

docs: setup  ## check the docs and build them as a site in build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "docs: build/site/index.html"

docs-live: setup  ## show the docs on http://127.0.0.1:8001 while you write them
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --dev-addr 127.0.0.1:8001

bench: setup  ## measure training, generation and the loop on this machine
	@$(BIN)/python -m benchmarks.training

bench-retriever: setup  ## measure the retrieval server (PEER=checkout of Search-R1 to compare)
	@$(BIN)/python -m benchmarks.retriever $(if $(PEER),--peer $(PEER))
	@$(BIN)/python -m benchmarks.retriever.render

demo: setup  ## one trajectory with a scripted model, every turn and its mask in colour
	@$(BIN)/python -m search_r1.demo

eval-demo: setup  ## the newest quickstart run's models on NQ, TriviaQA and WebQuestions (minutes)
	@$(BIN)/python -m eval.demo

retriever: setup  ## the retrieval server over INDEX (default: the quickstart's) on PORT
	@test -d $(INDEX) || { echo "no index in $(INDEX): run ./train.sh quickstart first," \
		"or make one with python -m retriever.build and give INDEX=folder" >&2; exit 1; }
	@$(BIN)/python -m retriever.server --index $(INDEX) --host 127.0.0.1 --port $(PORT)

serve: setup  ## the model of RUN (default: the newest quickstart run) over the OpenAI API
	@test -d "$(RUN)" || { echo "no finished run in $(or $(RUN),runs/quickstart): run ./train.sh quickstart" \
		"first, or give RUN=runs/PRESET/TIMESTAMP" >&2; exit 1; }
	@$(BIN)/python -m search_r1.serve --model $(RUN)

# Not in the locks: nothing else needs it, and what it requires for its own runner is not used.
MUTMUT = build/mutmut
mutants: setup  ## break the core in small places: do its tests notice? (MODULES=file for one, JOBS=2 at a time)
	@test -d $(MUTMUT) || $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps \
		--target $(MUTMUT) mutmut==3.8.1 libcst==1.9.0
	@PYTHONPATH=$(MUTMUT) $(BIN)/python scripts/mutants.py --jobs $(or $(JOBS),1) $(MODULES)

lock: setup  ## resolve requirements/*.lock again (UPGRADE=1 takes newer releases)
	@$(BIN)/python scripts/lock.py $(if $(UPGRADE),--upgrade)

clean:  ## remove caches and build folders; .venv, artifacts and runs stay
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -path ./.venv -prune -o -path ./artifacts -prune -o -path ./runs -prune -o \
		\( -name __pycache__ -o -name '*.egg-info' \) -type d -exec rm -rf {} +

# `make repro` builds and measures the student; `make test` runs the tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The stamp's name depends on the lock, so that a changed lock is installed.
STAMP := $(VENV)/.installed-$(shell cksum requirements.lock pyproject.toml | cksum | cut -d' ' -f1)

# One process per core with one thread each; the tests of a file run in one process.
PYTEST = OMP_NUM_THREADS=1 python -m pytest -q --numprocesses auto --dist loadfile

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup repro test slow lint types site picture check gpu lock docs clean

help: ## List all targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## Create .venv and install the pinned requirements

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "finch: $(PYTHON) is older than Python 3.11; name a newer one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "finch: $(PYTHON) cannot create a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.installed-* && touch $@

repro: $(STAMP) ## Rebuild everything from params.yaml (dvc repro)
	@git rev-parse --git-dir >/dev/null 2>&1 || \
	  { echo "finch: DVC needs a git repository; clone the project, or run: git init && git add -A && git commit -m start" >&2; exit 1; }
	dvc repro

test: $(STAMP) ## Run the tests
	$(PYTEST) -m "not slow"

slow: $(STAMP) ## Run the slow tests
	$(PYTEST) --no-loadscope-reorder -m slow

lint: $(STAMP) ## Check style and import contracts
	ruff check .
	ruff format --check .
	lint-imports

types: $(STAMP) ## Check types
	mypy pipeline stages

site: $(STAMP) ## Build the documentation site, build/site/index.html
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

picture: $(STAMP) ## Take the picture of reports/index.html for the site (needs Chromium)
	python docs/site/report_picture.py

check: lint types site test slow ## Run lint, type checks, the site, tests and slow tests

gpu: $(STAMP) ## Prove and measure training on a GPU in 8 minutes (docs/gpu.md)
	python benchmarks/gpu.py --out reports/gpu

# torch is pinned by hand. The lock omits its CUDA packages, which exist for Linux only and which torch
# pins itself, and pip.
lock: ## Update requirements.lock to the newest versions that pyproject.toml allows
	pip-compile --quiet --upgrade --extra demo --extra dev --extra qat --extra typefaces --allow-unsafe --strip-extras \
	  --upgrade-package torch==2.14.1 --upgrade-package torchvision==0.29.1 \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate \
	  --output-file requirements.lock pyproject.toml
	sed -i -E '/^(nvidia-|cuda-|triton==|pip==|#|$$)/d' requirements.lock

docs: $(STAMP) ## Write docs/parameters.md and docs/params.schema.json from pipeline/params/
	python -m pipeline.params.reference markdown > docs/parameters.md
	python -m pipeline.params.reference schema > docs/params.schema.json

clean: ## Remove the environment and build files, but not DVC's cache
	rm -rf $(VENV) build ./*.egg-info .mypy_cache .ruff_cache

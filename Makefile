# Two commands: `make repro` builds and measures the student, `make test` proves the code.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The stamp names the lock it was made from, so a changed lock installs and an old one does not.
STAMP := $(VENV)/.installed-$(shell cksum requirements.lock pyproject.toml | cksum | cut -d' ' -f1)

# A process a core, each with one thread: files of tests side by side, the tests of a file in turn.
PYTEST = OMP_NUM_THREADS=1 python -m pytest -q --numprocesses auto --dist loadfile

export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help setup repro test slow lint types check lock docs clean

help: ## Say what there is to make
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## Make .venv and install the pinned requirements

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "finch: $(PYTHON) is older than Python 3.11; name a newer one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "finch: $(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.installed-* && touch $@

repro: $(STAMP) ## Rebuild everything from params.yaml (dvc repro)
	@git rev-parse --git-dir >/dev/null 2>&1 || \
	  { echo "finch: DVC needs a git repository around the project; clone it, or run: git init && git add -A && git commit -m start" >&2; exit 1; }
	dvc repro

test: $(STAMP) ## Run the tests
	$(PYTEST) -m "not slow"

slow: $(STAMP) ## Run the slow tests
	$(PYTEST) -m slow

lint: $(STAMP) ## Check style, and which package imports which
	ruff check .
	ruff format --check .
	lint-imports

types: $(STAMP) ## Check types
	mypy pipeline stages

check: lint types test slow ## Everything: lint, types, tests, slow tests

# torch is pinned by hand; it pins its own CUDA packages, which only Linux has and the lock leaves
# to it, as it leaves pip to the virtual environment.
lock: ## Pin again all that pyproject.toml asks for
	pip-compile --quiet --upgrade --extra demo --extra dev --extra qat --extra typefaces --allow-unsafe --strip-extras \
	  --upgrade-package torch==2.14.1 --upgrade-package torchvision==0.29.1 \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --no-annotate \
	  --output-file requirements.lock pyproject.toml
	sed -i -E '/^(nvidia-|cuda-|triton==|pip==|#|$$)/d' requirements.lock

docs: $(STAMP) ## Write docs/parameters.md and docs/params.schema.json from pipeline/params/
	python -m pipeline.params.reference markdown > docs/parameters.md
	python -m pipeline.params.reference schema > docs/params.schema.json

clean: ## Remove what was built, but not what DVC caches
	rm -rf $(VENV) build ./*.egg-info .mypy_cache .ruff_cache

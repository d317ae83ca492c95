# Convolutional Networks You Can Check: every command of the course.
# All paths are relative, so that the folder may stand anywhere, a space in its path included.
.DEFAULT_GOAL := help
PYTHON ?= python3
PAGE ?=
PORT ?= 8000
EXPERIMENT ?=
LAB_OPTIONS ?=

BIN := .venv/bin
RUN := $(BIN)/python
ORACLE := .oracle/bin/python
# One thread for BLAS and torch: results repeat, and two pages or tests run side by side.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
export MKL_NUM_THREADS = 1
# Where somebody has set these, they choose a slower kernel for NumPy than its own choice.
unexport OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

.NOTPARALLEL:
.PHONY: help setup book test unit nbval lint format mutants experiments oracle bench bench-grading \
  bench-architectures sample-class serve lab page clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-19s %s\n", $$1, $$2}' Makefile

setup: ## make the environment in .venv (other commands do it for you)
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: install Python 3.11 or newer, or name yours: make book PYTHON=python3.12"; exit 1; }
	@$(PYTHON) tools/bootstrap.py

book: setup ## execute the pages and build the site; prints where it is
	@$(RUN) tools/pages.py book

test: book lint unit nbval ## everything that CI runs

unit: setup
	$(RUN) -m pytest -n 2 --dist loadfile

nbval: setup
	$(RUN) -m pytest --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg \
	  --nbval-cell-timeout 120 -p no:cacheprovider -n 2 --dist loadfile _build/executed

lint: setup ## ruff, mypy and import-linter on the package; ruff on the cells of the pages
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@for page in $$(grep -rl ^kernelspec book --include="*.md"); do \
	  code=$$($(BIN)/jupytext --quiet --from md:myst --to py:percent --output - "$$page") || exit 1; \
	  printf '%s\n' "$$code" | $(BIN)/ruff check --quiet --stdin-filename "$${page%.md}.py" - || exit 1; \
	done; echo "The cells of the pages are clean."

format: setup ## let ruff format the code
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

mutants: setup ## mutation testing: do the tests notice wrong code?
	$(RUN) tools/mutants.py

experiments: setup ## run the recorded experiments whose code has changed: make experiments [EXPERIMENT=topic/slug]
	$(RUN) tools/experiments.py $(EXPERIMENT)

oracle: setup ## compare the networks with torchvision and timm, in an environment of their own (5.5 GB, network)
	$(RUN) tools/oracle.py

bench: setup ## time the convolutions against PyTorch and a textbook im2col
	$(RUN) benchmarks/conv2d.py

bench-grading: setup ## time the grader: submissions per second, processor time, memory
	$(RUN) benchmarks/grading.py

bench-architectures: setup ## time the networks and the deformable convolution against torchvision's
	@$(RUN) tools/oracle.py --no-vectors --no-comparison
	PYTHONPATH=. $(ORACLE) benchmarks/architectures.py
	PYTHONPATH=. $(ORACLE) benchmarks/deform_conv.py

sample-class: setup ## make a class of submissions to try the grader on, in sample-class/
	@$(BIN)/course sample sample-class

serve: book ## build, then serve the site at http://127.0.0.1:8000 (PORT=...)
	@echo "http://127.0.0.1:$(PORT)  (Ctrl-C ends it)"
	@$(RUN) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

lab: book ## work on the student notebooks in JupyterLab
	@$(RUN) tools/pages.py lab
	@$(BIN)/jupyter lab --notebook-dir=notebooks $(LAB_OPTIONS)

page: setup ## rebuild one page while you write it: make page PAGE=convolution/from-scratch
	@$(RUN) tools/pages.py live "$(PAGE)" --port $(PORT)

clean: ## remove what the commands made, but for the environments and your notebooks
	rm -rf _build mutants .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis benchmarks/results
	find . -name __pycache__ -not -path "./.venv/*" -not -path "./.oracle/*" -prune -exec rm -rf {} +

# demo: experiment 90 on the miniworld. test: the test-suite. test-gpu: what only a GPU shows.
# test-shuffled: the test-suite, files and tests in an order drawn with SEED.
# lint: style and types. docs: the site, in build/site. docs-serve: the site while its pages are edited.
# Each of them first installs into .venv what is not there yet.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# DAFormer, HRDA, MIC, MIC + CSI and the references; 2 and 4 take six minutes more
DEMO_ROWS ?= 1 3 5-9
STAMP := $(VENV)/.installed
TEST_JOBS ?= 2
TEST_ARGS ?=
SEED ?= 0
DEMO_ARGS ?=

.PHONY: demo test test-shuffled test-gpu lint format docs docs-serve install clean

demo: install
	$(BIN)/python tools/make_miniworld.py --out data/miniworld
	$(BIN)/python run_experiments.py --exp 90 --profile mini --rows $(DEMO_ROWS) $(DEMO_ARGS)
	@$(if $(DEMO_ARGS),:,echo "The report is work_dirs/exp90-mini/results.html (also .md, .csv, .json)")

test: install
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 \
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile $(TEST_ARGS)

test-shuffled: override TEST_ARGS += --random-order --random-order-seed=$(SEED) --no-loadscope-reorder
test-shuffled: test

test-gpu: install
	$(BIN)/python -c 'import sys, torch; torch.cuda.is_available() or sys.exit("There is no GPU")'
	$(BIN)/python -m pytest -m gpu -rs $(TEST_ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

install: $(STAMP)

$(STAMP): setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "Python 3.10 or newer is needed; try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -e '.[test]' -c constraints.txt
	touch $(STAMP)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache

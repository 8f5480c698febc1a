# make demo: set up, then the main job.  make test: set up, then the whole suite.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_OUT ?= runs/demo

.PHONY: setup demo check test goldens news coverage mutants prove browser-test test-deep cosim-deep bench bench-gpu bench-peers bench-scaling models lint clean

setup: $(STAMP)

$(STAMP): pyproject.toml .ci/constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -U "pip>=25.1"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c .ci/constraints.txt \
	    -e ".[rtl,area,train,files]" --group dev
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/weft compare resnet18 --recipe dense --recipe bdwp --pattern 2:8 --batch 64 \
	    --hardware sat-vcu1525 --out $(DEMO_OUT)

# The inner loop: lint, types, rooms, and the tests that are quick; under a minute on two quiet cores.
QUICK := tests/weft/test_rooms.py tests/weft/test_patterns.py tests/sim/test_machine_and_energy.py \
    tests/sim/test_engine.py tests/mapper/test_lower.py tests/mapper/test_trace.py tests/models/test_recipes.py
check: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/codespell && $(BIN)/lint-imports >/dev/null
	$(BIN)/pyright & OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -x -m "not deep" $(QUICK) && wait $$!

# Results of the zoo as they are now, after a change of figures that is meant.
goldens: $(STAMP)
	$(BIN)/python -m tests.weft.test_goldens

# What the changelog will say of the changes since the last release.
news: $(STAMP)
	$(BIN)/towncrier build --draft --version next

# One thread each for the two test workers: PyTorch would otherwise start more than there are cores.
test test-deep cosim-deep: export OMP_NUM_THREADS = 1

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 -q -m "not deep" --durations=15 --durations-min=2

# The report in a real browser: Debian's chromium (apt install chromium), driven from PyPI.
browser-test: $(STAMP)
	@$(BIN)/python -c "from weft.reports.picture import find_browser as found; \
	    found() or exit('no Chromium or Chrome on the PATH; on Debian: apt install chromium')"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c .ci/constraints.txt playwright
	$(BIN)/python -m pytest -q tests/reports/test_browser.py

bench: $(STAMP)
	$(BIN)/python -m benchmarks.speed

# Errors of the GPU model on shapes that its fit has not seen; DATA holds the measured tables.
DATA ?= ../shared/data/gpu
bench-gpu: $(STAMP)
	$(BIN)/python -m benchmarks.gpu --data $(DATA)

# The peers come from PyPI into environments of their own.
bench-peers: $(STAMP)
	$(BIN)/python -m benchmarks.peers --zigzag

# Models of others, simulated to the end, in an environment of their own: torchvision's compiled ops
# do not load beside the CPU build of torch, and transformers fails while it finds a broken one.
MODELS := .venv-models
models: $(STAMP)
	test -x $(MODELS)/bin/python || $(PYTHON) -m venv $(MODELS)
	$(MODELS)/bin/python -m pip install -q --disable-pip-version-check -c .ci/constraints.txt \
	    -e . transformers timm peft diffusers torchvision pillow
	OMP_NUM_THREADS=1 $(MODELS)/bin/python -m benchmarks.real_models --jobs 2

bench-scaling: $(STAMP)
	$(BIN)/python -m benchmarks.scaling

# Everything that takes long: all 2^32 products of halves, half a billion sums, long co-simulation.
test-deep: $(STAMP)
	$(BIN)/python -m pytest -n 2 -q -m deep

cosim-deep: $(STAMP)
	$(BIN)/python -m pytest -n 2 -q -m deep tests/rtl

# How often each functional bin of the Verilog was hit; none may be empty.
coverage: $(STAMP)
	$(BIN)/python -m pytest -q -s -m "not deep" tests/rtl/test_coverage.py \
	    tests/rtl/test_arithmetic.py tests/rtl/test_function_unit.py tests/rtl/test_uspe.py

# Every planted fault is noticed: one-line changes of the Verilog, the closed forms, the engine.
mutants: $(STAMP)
	$(BIN)/python -m pytest -q tests/rtl/test_mutants.py

# The control modules' properties, for all inputs over some cycles from reset on; violations refuted.
prove: $(STAMP)
	$(BIN)/python -m weft.rtl.checking.prove

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright && $(BIN)/lint-imports

clean:
	rm -rf $(VENV) build runs

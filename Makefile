PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
SOURCES := setup.py pyproject.toml constraints.txt $(shell find csrc -type f)

.PHONY: install test test-bounds lint format benchmark cuda-compile cuda-on-host gpu-check train docs clean

install: $(STAMP)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first and pinned: the build needs it, and an unpinned one brings gigabytes of CUDA.
$(STAMP): $(SOURCES) | $(BIN)/python
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt torch numpy ninja pybind11 setuptools wheel
	$(BIN)/pip install --quiet -c constraints.txt --no-build-isolation -e '.[test,lint,landmarks]'
	touch $@

test: install
	$(BIN)/python -m pytest

# The tests with the lowest versions that pyproject.toml allows and with the newest, each in an environment of its own.
test-bounds:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet -c constraints-lowest.txt torch numpy ninja pybind11 'setuptools>=77' wheel
	.venv-lowest/bin/pip install --quiet -c constraints-lowest.txt --no-build-isolation '.[test,landmarks]'
	.venv-lowest/bin/python -m pytest
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/pip install --quiet torch numpy ninja pybind11 setuptools wheel
	.venv-newest/bin/pip install --quiet --upgrade --no-build-isolation '.[test,landmarks]'
	.venv-newest/bin/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $$(find csrc -name '*.cpp' -o -name '*.cu' -o -name '*.h' -o -name '*.cuh')

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(find csrc -name '*.cpp' -o -name '*.cu' -o -name '*.h' -o -name '*.cuh')

benchmark: install
	$(BIN)/python -m pytest --benchmark

cuda-compile:
	bash csrc/support/compile_cuda.sh

cuda-on-host:
	PYTHON=$${PYTHON:-$(BIN)/python} bash csrc/support/on_host/check.sh

gpu-check:
	bash benchmarks/gpu_check.sh

train: install
	$(BIN)/lssl train --preset quick

# The site, into site/; the notebook is shown as it was run.
docs: install
	$(BIN)/pip install --quiet -c constraints.txt -e '.[docs]' --no-build-isolation
	$(BIN)/mkdocs build --strict

clean:
	rm -rf build dist *.egg-info lssl/*.so

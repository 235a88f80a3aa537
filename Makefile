# Two commands on a fresh machine: `make demo` shows the whole way, `make test` checks everything.
PYTHON ?= python3
BIN := .venv/bin
VENV := .venv/.made
SHOWN := .venv/.shown
INSTALLED := .venv/.installed
# Every extra, so that no test is skipped for want of a package.
EXTRAS := train,timm,data,convert,huggingface,labels,onnx,onnxruntime,openvino,int8,serve,choose

# Tests start many processes, and each would compile our files anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test tests test-all test-min docs lint clean

$(VENV):
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	touch $@

# What the demo needs is a part of all, and sooner there.
$(SHOWN): pyproject.toml $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[train]"
	touch $@

$(INSTALLED): pyproject.toml $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRAS)]" --group dev
	touch $@

demo: $(SHOWN)
	$(BIN)/python examples/demo.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Types are checked while tests wait for their processes and browsers; three share two cores for the same reason.
# worksteal: each begins with its share of the files in their order, so few fixtures of a module are made twice.
test: $(INSTALLED)
	$(MAKE) --jobs=2 lint tests

tests: $(INSTALLED)
	$(BIN)/python -m pytest -m "not slow" -n 3 --dist worksteal

test-all: lint
	$(BIN)/python -m pip install --quiet --editable ".[ray,ncnn,litert]"
	$(BIN)/python -m pytest -n 2 --dist worksteal --hypothesis-profile thorough

# The oldest versions that pyproject.toml allows; Python 3.11 has wheels of all of them. What they depend on is new, and
# they use names of it that are deprecated by now.
MINIMUM := .venv-min
test-min:
	$(PYTHON) -m venv $(MINIMUM)
	$(PYTHON) tests/minimum_versions.py > $(MINIMUM)/constraints.txt
	$(MINIMUM)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(MINIMUM)/bin/python -m pip install --quiet --editable ".[$(EXTRAS)]" --group dev -c $(MINIMUM)/constraints.txt
	$(MINIMUM)/bin/python -m pytest -m "not slow" -n 2 --dist worksteal -W ignore::DeprecationWarning

docs: $(INSTALLED)
	$(BIN)/python -m mkdocs build --strict

clean:
	rm -rf .venv .venv-min build dist site

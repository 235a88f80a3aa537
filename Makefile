# Two commands on a fresh machine: `make demo` shows the whole way, `make test` checks everything.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# Every extra, so that no test is skipped for want of a package.
EXTRAS := train,timm,data,convert,huggingface,labels,onnx,onnxruntime,openvino,int8

.PHONY: demo test test-all lint clean

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[$(EXTRAS)]" --group dev
	touch $@

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# tests/targets apart: a worker that has run them after the others ends with a segmentation fault in native code.
test: lint
	$(BIN)/python -m pytest -m "not slow" -n 2 tests/targets
	$(BIN)/python -m pytest -m "not slow" -n 2 --ignore=tests/targets

test-all: lint
	$(BIN)/python -m pytest -n 2 tests/targets
	$(BIN)/python -m pytest -n 2 --ignore=tests/targets

clean:
	rm -rf .venv build dist

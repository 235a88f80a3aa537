# Two commands on a fresh machine: `make demo` shows the whole way, `make test` checks everything.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# Every extra, so that no test is skipped for want of a package.
EXTRAS := train,timm,data,convert,huggingface,labels,onnx,onnxruntime,openvino,int8,serve,choose

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

# worksteal: each process begins with one half of the files in their order, so few fixtures of a module are made twice.
test: lint
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist worksteal

test-all: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal --hypothesis-profile thorough

clean:
	rm -rf .venv build dist

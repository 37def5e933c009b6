# Two commands do everything on a machine with Python 3.11+ and a package registry:
#   make demo    fit, forecast and explain on data that comes with the package
#   make test    the tests, on TensorFlow and then on JAX and PyTorch
# Each makes .venv and installs what it needs; a second run installs nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q

.PHONY: demo test test-fast test-backends lint format clean

demo: $(VENV)/.run
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python examples/quickstart.py

test: $(VENV)/.test
	$(PYTEST)
	KERAS_BACKEND=jax $(PYTEST) -m "backends and not heavy" tests
	KERAS_BACKEND=torch $(PYTEST) -m backends tests

test-fast: $(VENV)/.test
	$(PYTEST) -m "not slow" -x

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(PIP) -e ".[plot]"
	touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) -e ".[plot,frames,test,lint,jax,torch]"
	$(PIP) --no-deps fev==0.10.0  # for its metrics; what else it needs is for its data sets
	touch $@ $(VENV)/.run

# Two commands do everything on a machine with Python 3.11+ and a package registry:
#   make demo    fit, forecast and explain on data that comes with the package
#   make test    the tests, on TensorFlow and then on JAX and PyTorch
# make test-browser opens reports in Chromium (Debian's is installed if there is none).
# Each makes .venv and installs what it needs; a second run installs nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q

.PHONY: demo test test-fast test-backends test-browser lint format clean

demo: $(VENV)/.run
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python examples/quickstart.py

test: $(VENV)/.test
	$(PYTEST)
	KERAS_BACKEND=jax $(PYTEST) -m "backends and not heavy" tests
	KERAS_BACKEND=torch $(PYTEST) -m backends tests

test-fast: $(VENV)/.test
	$(PYTEST) -m "not slow" -x

test-browser: $(VENV)/.browser
	KERAS_BACKEND=torch OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/report

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

$(VENV)/.browser: $(VENV)/.test
	$(PIP) -e ".[browser]"
	command -v chromium || command -v chromium-browser || command -v google-chrome || \
	  { apt-get update -qq && apt-get install -y -qq chromium; }
	touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) -e ".[plot,frames,test,lint,jax,torch]"
	touch $@ $(VENV)/.run

# Two commands do everything on a machine with Python 3.11+ and a package registry:
#   make demo    fit, forecast and explain on data that comes with the package
#   make test    the tests, on TensorFlow, JAX and PyTorch, and on the oldest releases allowed
# CONTRIBUTING.md lists the others.
# make test-browser opens reports in Chromium (Debian's is installed if there is none).
# Each makes .venv and installs what it needs; a second run installs nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST_ON = OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 $(1)/python -m pytest -n 2 --dist worksteal -q
PYTEST := $(call PYTEST_ON,$(BIN))
PYTEST_MIN := $(call PYTEST_ON,.venv-min/bin)
# What hangs on releases of NumPy, pandas and scikit-learn the most.
ON_OLDEST := tests/data tests/test_scikit_learn.py tests/test_files.py

.PHONY: demo test test-fast test-minimum test-browser lint format docs notebooks bench wheel clean

demo: $(VENV)/.run
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python examples/quickstart.py

test: $(VENV)/.test
	$(PYTEST)
	KERAS_BACKEND=jax $(PYTEST) -m "backends and not heavy" tests
	KERAS_BACKEND=torch $(PYTEST) -m backends tests
	$(MAKE) --no-print-directory .venv-min/.done
	KERAS_BACKEND=torch $(PYTEST_MIN) -m "not slow" $(ON_OLDEST)

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

# All quick tests on the oldest releases that pyproject.toml allows of what the package needs.
test-minimum: .venv-min/.done
	KERAS_BACKEND=torch $(PYTEST_MIN) -m "not slow" tests

docs: $(VENV)/.docs
	PYTHONPATH=tools $(BIN)/python -m zensical build --strict --clean

notebooks: $(VENV)/.docs
	$(BIN)/jupytext --to notebook examples/notebooks/*.py

bench: $(VENV)/.run
	$(BIN)/python benchmarks/windows.py --rows 200000 --series 100
	$(BIN)/python benchmarks/components.py --repeats 3

# Both archives, what is in them, and a forecast with the wheel alone, outside of this checkout.
wheel: | $(BIN)/python
	$(PIP) build
	rm -rf dist build .venv-wheel
	$(BIN)/python -m build --outdir dist
	$(BIN)/python tools/check_archives.py dist
	$(PYTHON) -m venv .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd / && TF_CPP_MIN_LOG_LEVEL=3 $(CURDIR)/.venv-wheel/bin/tsfusion demo --quiet

clean:
	rm -rf $(VENV) .venv-min .venv-wheel site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

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
	$(PIP) --no-deps fev==0.10.0  # for its metrics; what else it needs is for its data sets
	touch $@ $(VENV)/.run

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(PIP) -e ".[docs]"
	touch $@

# The oldest releases, before those of .venv.
.venv-min/.done: pyproject.toml tools/minimum.py | $(VENV)/.test
	rm -rf .venv-min
	$(PYTHON) -m venv .venv-min
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
	  > $$(.venv-min/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/newest.pth
	.venv-min/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: $$($(BIN)/python tools/minimum.py)
	touch $@

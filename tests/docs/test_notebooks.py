"""The notebooks run, as the Python scripts that they are; jupytext makes notebooks of them.

On PyTorch, as the pages do.
"""

import importlib.util
import json
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


def on_torch(test):
    skip = pytest.mark.skipif(
        keras.backend.backend() != "torch", reason="the run on PyTorch has it"
    )
    return pytest.mark.slow(pytest.mark.backends(skip(test)))


@pytest.fixture
def run(tmp_path, monkeypatch):
    import matplotlib

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)

    def run(name):
        path = FOLDER / f"{name}.py"
        found = {"__name__": "__notebook__"}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "On the validation tail the network")
            exec(compile(path.read_text(), str(path), "exec"), found)
        return found

    return run


@on_torch
def test_forecasts_of_a_dataframe(run):
    found = run("forecast_dataframes")
    assert found["same"]
    assert len(found["forecast"]) == 28
    assert found["loaded"].make_future_dataframe()["date"].min() > found["week"]["date"].max()
    scores = found["scores"].set_index("model")
    assert set(scores.index) == {"FusionForecaster", "last_value", "seasonal_naive"}
    assert np.isfinite(scores.to_numpy(float)).all()


@on_torch
def test_a_pipeline(run):
    found = run("scikit_learn_pipeline")
    assert found["errors"].shape == (2,)
    assert found["quantiles"].shape == (7, 3)
    assert (np.diff(found["quantiles"]) >= 0).all()
    assert found["report"].passed


@on_torch
def test_attention(run):
    found = run("explain_attention")
    np.testing.assert_allclose(found["heads"].sum(axis=1), 1, rtol=1e-5)
    trust = found["explanation"].trust.set_index("check")
    assert trust.loc["equals predict", "passed"]
    assert trust.loc["adds up", "passed"]


@pytest.mark.parametrize("name", NAMES)
def test_jupytext_reads_them(name, tmp_path):
    if importlib.util.find_spec("jupytext") is None:
        pytest.skip("needs jupytext (the extra docs)")
    import jupytext

    notebook = jupytext.read(FOLDER / f"{name}.py")
    jupytext.write(notebook, tmp_path / f"{name}.ipynb")
    cells = json.loads((tmp_path / f"{name}.ipynb").read_text())["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert {"code", "markdown"} == {cell["cell_type"] for cell in cells}


def test_every_notebook_has_a_test():
    tests = Path(__file__).read_text()
    assert all(f'run("{name}")' in tests for name in NAMES)

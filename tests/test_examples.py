"""The examples of other tools run, in tiny form."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from tests.tiny import Tiny
from tsfusion import FusionForecaster
from tsfusion.models.factory import NETWORKS

pytestmark = [pytest.mark.backends, pytest.mark.heavy, pytest.mark.usefixtures("eager")]
ROOT = Path(__file__).parents[1]
SHORT = {"max_epochs": 1, "steps_per_epoch": 2, "context_length": 14, "jit_compile": False}


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(NETWORKS, "fusion", Tiny)


def test_optuna_prunes_trials(tiny):
    optuna = pytest.importorskip("optuna", reason="needs optuna")
    from examples.optuna_search import main

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = main(["--trials", "6", "--epochs", "3", "--steps", "3"])
    states = [trial.state for trial in study.trials]
    assert optuna.trial.TrialState.PRUNED in states
    assert optuna.trial.TrialState.FAIL not in states
    complete = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    assert study.best_value == min(trial.value for trial in complete)
    assert all(len(trial.intermediate_values) == 3 for trial in complete)


def test_optuna_needs_a_validation_tail():
    optuna = pytest.importorskip("optuna", reason="needs optuna")
    from examples.optuna_search import PruneByValidationLoss

    trial = optuna.trial.FixedTrial({})
    with pytest.raises(ValueError, match="pass validation_size > 0"):
        PruneByValidationLoss(trial).on_epoch_end(0, {"loss": 1.0})


def test_a_nixtla_frame_needs_no_adapter(tiny):
    from examples.nixtla_frame import HORIZON, main

    table = main(**SHORT)
    assert list(table) == ["unique_id", "ds", "mean", "q0.1", "q0.5", "q0.9"]
    assert len(table) == 5 * HORIZON


def test_an_mlflow_model_says_what_the_forecaster_says(capsys):
    pytest.importorskip("mlflow.pyfunc", reason="needs mlflow")
    from examples.mlflow_model import main

    assert list(main(**SHORT, hidden_size=8)) == ["mean", "q0.1", "q0.5", "q0.9"]
    assert "the same as those of the forecaster itself: True" in capsys.readouterr().out


def test_optuna_processes_share_a_journal(tiny, tmp_path):
    optuna = pytest.importorskip("optuna", reason="needs optuna")
    from examples.optuna_search import main

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    given = ["--epochs", "1", "--steps", "2", "--journal", str(tmp_path / "journal")]
    first = main(["--trials", "2", *given])
    again = main(["--trials", "1", *given])
    assert len(first.trials) == 3
    assert [one.params for one in again.trials] == [one.params for one in first.trials]


def test_forecasts_over_http(tmp_path, compiled):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("TensorFlow writes graphs")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    pytest.importorskip("httpx", reason="needs httpx")
    testing = pytest.importorskip("fastapi.testclient", reason="needs fastapi")
    from examples.serve_fastapi import make_app
    from tsfusion import FusionForecaster
    from tsfusion.data import make_panel

    # Of several columns, one of numbers; hours of a clock that is put forward in between.
    sales = make_panel(n_series=2, n_steps=80)[["series", "date", "sales", "price", "promo"]]
    hours = pd.date_range("2024-03-08", periods=80, freq="h", tz="America/New_York")
    sales = sales.assign(date=np.tile(hours, 2), number=[1] * 80 + [2] * 80)
    late = sales["date"] >= hours[-5]
    history, future = sales[~late], sales[late].drop(columns="sales")
    model = FusionForecaster(
        5, time="date", series=["series", "number"], target="sales", known=["price", "promo"],
        hidden_size=8, num_heads=2, verbose=0, random_state=0, **SHORT,
    ).fit(history)  # fmt: skip
    model.export(tmp_path / "sales.onnx", format="onnx")
    client = testing.TestClient(make_app(str(tmp_path / "sales.onnx")))
    assert client.get("/model").json()["horizon"] == 5

    def rows(table):
        return json.loads(table.to_json(orient="records", date_format="iso"))

    answer = client.post("/forecast", json={"history": rows(history), "future": rows(future)})
    assert answer.status_code == 200, answer.text
    found, expected = pd.DataFrame(answer.json()), model.forecast(future)
    assert found["series"].tolist() == expected[["series", "number"]].to_numpy().tolist()
    assert pd.to_datetime(found["date"], utc=True).tolist() == expected["date"].tolist()
    levels = ["q0.1", "q0.5", "q0.9"]
    np.testing.assert_allclose(found[levels], expected[levels], rtol=1e-5)
    for body, message in (
        ({"history": rows(history), "future": rows(future[1:])}, "some step ahead is missing"),
        ({"history": rows(history.drop(columns="date"))}, r"\['date'\] are missing"),
        ({"history": rows(history.drop(columns="price"))}, r"\['price'\] are missing"),
    ):
        answer = client.post("/forecast", json=body)
        assert answer.status_code == 422
        assert re.search(message, answer.json()["detail"])


@pytest.mark.slow
def test_workers_of_ray_go_on_after_one_has_died(tmp_path):
    reason = 'needs pip install "ray[train]"'
    pytest.importorskip("ray.train", reason=reason, exc_type=ImportError)
    pytest.importorskip("jax", reason="needs jax")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}

    def start(name):
        return subprocess.Popen(
            [sys.executable, str(ROOT / "examples/train_ray.py"), "--folder", str(tmp_path / name)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    killed = start("killed")
    told = ""
    for line in killed.stdout:
        told += line
        worker = re.search(r"RayTrainWorker pid=(\d+)\).*epoch 1/3", line)
        if worker:
            os.kill(int(worker[1]), signal.SIGKILL)
            break
    told += killed.communicate(timeout=600)[0]
    assert killed.returncode == 0, told[-3000:]
    assert told.count("windows of 56 + 7 steps to train on") >= 4, "two workers, two attempts"
    whole = start("whole")
    told = whole.communicate(timeout=600)[0]
    assert whole.returncode == 0, told[-3000:]
    one, two = (
        FusionForecaster.load(tmp_path / name / "model.tsfusion").model_.get_weights()
        for name in ("killed", "whole")
    )
    for weights, expected in zip(one, two, strict=True):
        np.testing.assert_array_equal(weights, expected)

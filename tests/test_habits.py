"""What a new user meets: wrong inputs, reprs, logging, Keras callbacks, a strict type checker."""

import copy
import importlib.util
import logging
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest

import tsfusion
from tests.conftest import ROLES, SMALL
from tsfusion import FusionForecaster, PanelSplit
from tsfusion.data import load_air_passengers, make_panel

pytestmark = pytest.mark.usefixtures("eager")


def make(**parameters):
    return FusionForecaster(**{"horizon": 3, "context_length": 9, **ROLES, **SMALL, **parameters})


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("sales.csv", "received 'sales.csv'. Read the file first"),
        ([pathlib.Path("sales.xlsx")], "Read the file first"),
        (None, "expected a DataFrame or a 2-D array, received None."),
        ({"a": [1]}, r"Make a DataFrame of it: pd.DataFrame\(X\)"),
        ([{"a": 1}], r"received a list of dicts. Make a DataFrame of it: pd.DataFrame\(X\)"),
    ],
)
def test_what_is_no_table_is_said(X, message):
    with pytest.raises(TypeError, match=message):
        make().fit(X)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"X: .*sales.parquet', and there is no such file"):
        make().fit(tmp_path / "sales.parquet")


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (
            "sales",
            TypeError,
            "y: .* received the text 'sales'. .* use the parameter target=",
        ),
        ([1.0, 2.0], ValueError, "y: expected a value for each of the 159 rows of X, received 2"),
    ],
)
def test_what_is_no_target_is_said(history, y, error, message):
    with pytest.raises(error, match=message):
        make(target=None).fit(history.drop(columns="sales"), y)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"optimizer": "adamm"}, ValueError, "optimizer: .* keras.optimizers .* 'adamm'"),
        ({"optimizer": 3}, ValueError, "optimizer: expected None, the name .* received 3"),
        ({"optimizer": keras.optimizers.Adam}, ValueError, "optimizer: .* or an instance"),
        ({"loss": "mse2"}, ValueError, "loss: .* keras.losses or an instance, received 'mse2'"),
        ({"loss": 3}, ValueError, "loss: expected None"),
        ({"callbacks": ["tensorboard"]}, TypeError, "callbacks: .* received 'tensorboard'"),
        ({"callbacks": print}, TypeError, "callbacks: expected instances of keras.callbacks"),
        ({"checkpoint_dir": "{file}/folder"}, OSError, "checkpoint_dir: the folder .* be made"),
    ],
)
def test_what_keras_cannot_use_is_said(history, tmp_path, parameters, error, message):
    (tmp_path / "file").touch()
    given = {
        name: value.format(file=tmp_path / "file") if name == "checkpoint_dir" else value
        for name, value in parameters.items()
    }
    with pytest.raises(error, match=message):
        make(**given).fit(history)


def test_what_if_says_what_it_cannot_change(fitted, future):
    for function, message in (
        (lambda price: price[:2], r"'price' was given \d+ numbers; .* received shape \(2,\)"),
        (lambda price: "high", "expected as many back, or one, received 'high'"),
    ):
        with pytest.raises(ValueError, match=message):
            fitted.what_if({"price": function}, future=future)


def test_what_if_needs_columns_to_change(tiny, tmp_path):
    table = load_air_passengers()
    model = FusionForecaster(
        horizon=3, time="month", target="passengers", **{**SMALL, "context_length": 9}
    ).fit(table)
    with pytest.raises(ValueError, match="no known and no observed columns, so there is nothing"):
        model.what_if({"price": 1.0})
    with pytest.raises(FileNotFoundError, match=r"model.tsf: there is no folder .*nowhere"):
        model.save(tmp_path / "nowhere" / "model.tsf")


def test_top_lags_needs_a_number(fitted):
    explanation = fitted.explain(max_windows=2)
    for n in (0, -3, "weather", True, 1.5):
        with pytest.raises(ValueError, match="n: expected an integer >= 1, received"):
            explanation.top_lags(n)


def test_an_unknown_baseline_is_named(history):
    with pytest.raises(ValueError, match="baseline: .* last_value, .* received 'naive'"):
        make().backtest(history, models="naive")


def test_reprs_fit_on_a_few_lines(fitted):
    explanation = fitted.explain(max_windows=2, methods=["attention", "attribution"], horizons=1)
    assert repr(explanation) == "Explanation(2 forecasts from 2 windows, 2 heads, 21 past steps)"
    assert repr(explanation.branches[0]) == "Branch('short', 2 forecasts, 2 heads, 14 sources)"
    assert repr(explanation.attributed).startswith("Attribution(2 forecasts, of past_real, ")
    assert repr(fitted).startswith("FusionForecaster(batch_size=16, context_length=21,")
    assert "n_splits=3" in repr(PanelSplit(n_splits=3, horizon=7, time="date"))
    calibrated = copy.deepcopy(fitted).calibrate()._calibration
    assert repr(calibrated).startswith("Calibration('cqr', coverage='step', ")
    assert repr(calibrated).endswith(" forecasts of 7 steps from 3 series)")
    _, truth = make_panel(3, 60, random_state=0, return_truth=True)
    assert repr(truth) == (
        "PanelTruth(3 series, 180 rows, seasons of 7, 365.25 steps, weather at lag 3)"
    )


def test_logging_is_silent_unless_asked_for(tiny, history, caplog, capfd):
    make().fit(history)
    assert capfd.readouterr().err == ""
    with caplog.at_level(logging.INFO, logger="tsfusion"):
        make().fit(history)
    begin, end = (record.getMessage() for record in caplog.records)
    assert "windows of 9 + 3 steps to train on" in begin
    assert f"on {keras.backend.backend()}" in begin
    assert end.startswith("network 1 of 1: 1 epochs, best val_loss ")


def test_callbacks_of_keras_pass_through(tiny, history, tmp_path):
    rates = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rates.append(epoch))
    log = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    model = make(max_epochs=3, patience=9, callbacks=[watch, log]).fit(history)
    assert rates == [0, 1, 2]
    told = pd.read_csv(tmp_path / "log.csv")
    np.testing.assert_allclose(told["loss"], model.history_["loss"], rtol=1e-6)
    np.testing.assert_allclose(told["val_loss"], model.history_["val_loss"], rtol=1e-6)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard")
def test_tensorboard_gets_the_losses(tiny, history, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = keras.callbacks.TensorBoard(str(tmp_path), write_graph=False)
    model = make(max_epochs=2, patience=9, callbacks=board).fit(history)
    events = EventAccumulator(str(tmp_path / "validation"), {"tensors": 0}).Reload()
    tensors = [event.tensor_proto for event in events.Tensors("epoch_loss")]
    losses = [np.frombuffer(one.tensor_content, np.float32)[0] for one in tensors]
    np.testing.assert_allclose(losses, model.history_["val_loss"], rtol=1e-6)


def test_a_strict_checker_accepts_a_users_script(tmp_path):
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("needs mypy (the extra lint)")
    script = tmp_path / "script.py"
    script.write_text(USER_SCRIPT)
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = true\nfollow_imports = silent\n"
        "[mypy-pandas.*]\nignore_missing_imports = true\n"
    )
    root = str(pathlib.Path(tsfusion.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--cache-dir", "mypy_cache", "script.py"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": root}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


USER_SCRIPT = """
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

import tsfusion
from tsfusion import Explanation, FusionForecaster, PanelSplit, SkillWarning, backtest, evaluate
from tsfusion.data import TargetScaler, make_panel, make_windows
from tsfusion.evaluation import mae, reliability, skill_scores


def forecasts(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    model = FusionForecaster(
        horizon=7, time="date", series=["series"], target="sales", known=["price"],
        quantiles=[0.1, 0.9], target_transform=TargetScaler("log1p"), random_state=0,
    ).fit(table)
    values: npt.NDArray[np.float64] = model.predict(table, quantiles=[0.5])
    model.save(path)
    again: FusionForecaster = FusionForecaster.load(path)
    explanation: Explanation = again.explain(methods=["attention"], checks="fast")
    text: str = explanation.summary()
    lags: pd.DataFrame = explanation.top_lags(3)
    skill: float = model.skill_
    losses: dict[str, list[float]] = model.history_
    model.calibrate(table, method="aci").update(table).uncalibrate()
    changed: pd.DataFrame = model.what_if({"price": lambda price: 0.9 * price}, start="2024-01-01")
    print(values, text, lags, skill, losses, changed)
    return model.forecast(model.make_future_dataframe())


def scores(table: pd.DataFrame) -> float:
    found: pd.DataFrame = backtest("last_value", table, horizon=3, time="date", target="sales")
    print(evaluate(found), reliability(found), skill_scores(found, baseline="last_value"))
    for train, test in PanelSplit(n_splits=3, horizon=7, time="date").split(table):
        print(len(train) + len(test), SkillWarning)
    windows = make_windows(table, context_length=3, horizon=2, time="date", target="sales")
    x, y, weights = windows.flatten()
    print(x.shape, y.shape, weights)
    return mae([1.0], [2.0])


frame = make_panel(3, 60, random_state=0)
print(forecasts(frame, Path("x")), scores(frame), tsfusion.components.GatedLinearUnit(4))
tsfusion.show_versions()
"""

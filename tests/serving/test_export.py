"""Exported graphs: they say what the forecaster says, from raw values, without this package."""

import copy
import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from examples.serve_onnx import window_inputs
from tests.conftest import ROLES, SMALL, eagerly, small_panel
from tests.tiny import Tiny
from tsfusion import FusionForecaster
from tsfusion.models.factory import NETWORKS
from tsfusion.serving import export as module

on_tensorflow = pytest.mark.skipif(
    os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow",
    reason="only TensorFlow writes these formats",
)
LEVELS = (0.05, 0.1, 0.5, 0.9)


def traced(model, quantiles=LEVELS):
    """The graph and its metadata, before it is written in any format."""
    from tsfusion.serving.contract import Contract
    from tsfusion.serving.graph import Graph

    contract = Contract.of(model._fitted, quantiles)
    with eagerly(False):
        return Graph(contract, model.model_).traced(), contract.described()


def answers(graph, inputs):
    import tensorflow as tf

    found = graph(**{name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in found.items()}


def expected(model, future, quantiles=LEVELS):
    table = model.forecast(future, quantiles=quantiles)
    steps = model._fitted.horizon
    names = [f"q{level:g}" for level in quantiles]
    return {
        "quantiles": table[names].to_numpy().reshape(-1, steps, len(names)),
        "mean": table["mean"].to_numpy().reshape(-1, steps),
    }


def check_equal(found, wanted):
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, err_msg=name)


def small(**kwargs):
    return FusionForecaster(**{"horizon": 5, "context_length": 12, **SMALL, **kwargs})


def split(table, days):
    late = table["date"] > table["date"].max() - pd.Timedelta(days=days)
    return table[~late], table[late].drop(columns="sales")


@on_tensorflow
def test_a_graph_says_what_the_forecaster_says(fitted, history, future):
    graph, metadata = traced(fitted)
    labels, inputs = window_inputs(metadata, history, future)
    assert labels == ["s0", "s1", "s2"]
    found = answers(graph, inputs)
    check_equal(found, expected(fitted, future))
    # The number of windows is free, and one does not depend on the others.
    alone = answers(graph, {name: value[1:2] for name, value in inputs.items()})
    np.testing.assert_allclose(alone["quantiles"], found["quantiles"][1:2], rtol=1e-6)


@on_tensorflow
def test_gaps_short_series_and_unknown_values_are_masked_in_the_graph(eager):
    table = small_panel(n_series=3, n_steps=40)
    first = table["date"].min()
    short = (table["store"] == "s1") & (table["date"] < first + pd.Timedelta(days=30))
    gap = (table["store"] == "s2") & table["date"].between("2024-02-01", "2024-02-02")
    table.loc[table["date"] == "2024-01-30", "sales"] = np.nan
    table.loc[table["date"] == "2024-01-31", "weather"] = np.nan
    table = table[~(short | gap)]
    history, future = split(table, 5)
    model = small(**ROLES, n_estimators=2, memory_size=2).fit(history)
    graph, metadata = traced(model)
    _, inputs = window_inputs(metadata, history, future)
    assert np.isnan(inputs["past_target"][1]).any()
    check_equal(answers(graph, inputs), expected(model, future))
    # What is given for an unknown step does not count, nor what is given for later steps.
    unknown = np.isnan(inputs["past_target"]) & np.isnan(inputs["past_real"][..., 0])
    assert unknown.any()
    changed = {name: value.copy() for name, value in inputs.items()}
    changed["past_real"][unknown, 1:] = 7.0
    changed["past_time"][unknown] = np.iinfo(np.int64).min
    changed["future_real"][:, 3:] = np.nan
    before, after = answers(graph, inputs)["mean"], answers(graph, changed)["mean"]
    np.testing.assert_allclose(after[:, :3], before[:, :3], rtol=1e-5)


@on_tensorflow
def test_the_spread_of_an_unseen_series_is_that_of_its_window(fitted, history, future):
    some = history[history["store"] == "s0"].assign(store="new")
    ahead = future[future["store"] == "s0"].assign(store="new")
    graph, metadata = traced(fitted)
    values = some["sales"].to_numpy()
    gaps = np.where(np.arange(len(values))[::-1] % 3 == 0, values, np.nan)
    last = np.where(np.arange(len(values)) == len(values) - 1, values, np.nan)
    for sales in (values * 1e-3, values * 1e4, gaps, last, values * 0, values * 0 + 7, -values):
        new = some.assign(sales=sales)
        _, inputs = window_inputs(metadata, new, ahead)
        wanted = fitted.forecast(ahead, context=new, quantiles=LEVELS)
        found = answers(graph, inputs)
        size = np.abs(wanted[["q0.05", "q0.9"]].to_numpy()).max()
        np.testing.assert_allclose(found["mean"][0], wanted["mean"], atol=1e-5 * size)


@on_tensorflow
def test_unseen_series_and_categories_have_the_code_zero(fitted, history, future):
    new = history[history["store"] == "s0"].assign(store="new", event="storm")
    ahead = future[future["store"] == "s0"].assign(store="new", event="storm")
    wanted = fitted.forecast(ahead, context=new, quantiles=LEVELS)
    graph, metadata = traced(fitted)
    _, inputs = window_inputs(metadata, new, ahead)
    assert inputs["series"].tolist() == [0]
    assert (inputs["future_categorical"] == 0).all()
    found = answers(graph, inputs)
    np.testing.assert_allclose(found["mean"][0], wanted["mean"], rtol=1e-5)
    # A code that there is not counts as unseen.
    inputs["series"][:], inputs["future_categorical"][:] = 99, 99
    np.testing.assert_array_equal(answers(graph, inputs)["mean"], found["mean"])


@on_tensorflow
@pytest.mark.parametrize(
    ("transform", "clipped"),
    [
        ("log1p", 1),
        ("box-cox", 1),
        ("box-cox", 0.6),
        ("yeo-johnson", 1),
        ("robust of the panel", 1),
    ],
)
def test_the_transform_of_the_target_and_its_inverse_are_inside(
    eager, transform, clipped, monkeypatch
):
    from tsfusion.data import TargetScaler

    monkeypatch.setitem(NETWORKS, "fusion", Tiny)
    table = small_panel(n_series=2, n_steps=40)
    table["sales"] = np.exp(table["sales"] / 10) * 1e3
    if "panel" in transform:
        transform = TargetScaler("robust", by="panel")
    elif transform == "yeo-johnson":
        table["sales"] -= table["sales"].mean()
    else:
        table.loc[table["store"] == "s1", "sales"] = 5.1  # under Box-Cox zeros, but for rounding
    history, future = split(table, 5)
    # The powers that are learned are others where the highest values are all one.
    history["sales"] = history["sales"].clip(upper=history["sales"].quantile(clipped))
    model = small(**ROLES, target_transform=transform).fit(history)
    graph, metadata = traced(model)
    check_equal(
        answers(graph, window_inputs(metadata, history, future)[1]), expected(model, future)
    )


@on_tensorflow
def test_the_bounds_of_the_target_are_those_of_the_graph(eager, monkeypatch):
    monkeypatch.setitem(NETWORKS, "fusion", Tiny)
    table = small_panel(n_series=2, n_steps=40)
    history, future = split(table, 5)
    free = small(**ROLES).fit(history)
    least, most = np.quantile(expected(free, future)["quantiles"], [0.3, 0.6])
    model = copy.copy(free)
    model._fitted = dataclasses.replace(free._fitted, bounds=(least, most))
    graph, metadata = traced(model)
    found = answers(graph, window_inputs(metadata, history, future)[1])
    check_equal(found, expected(model, future))
    assert (found["quantiles"].min(), found["quantiles"].max()) == (least, most)


@on_tensorflow
def test_holidays_and_functions_of_time_are_columns_of_the_graph(eager):
    pytest.importorskip("holidays", reason="needs the extra holidays")
    table = small_panel(n_series=2, n_steps=40).drop(columns=["weather", "region", "size"])
    history, future = split(table, 5)
    weekend = {
        "weekend": lambda t: np.where(t.day_of_week > 4, "yes", "no"),
        "day": lambda t: t.day,
    }
    model = small(
        time="date", series="store", target="sales", holidays="DE", time_features=weekend
    ).fit(history)
    graph, metadata = traced(model)
    found = {column["name"]: column for column in metadata["inputs"]["past_real"]["columns"]}
    assert found["day"]["source"] == "time_features"
    assert found["days_to_holiday"]["source"] == "holidays"
    for part in (history, future):
        part["weekend"] = weekend["weekend"](part["date"].dt)
        part["day"] = part["date"].dt.day
        new_year = part["date"] == "2024-01-01"
        part["holiday"] = np.where(new_year, "New Year's Day", "none")
        # The next one after New Year's Day lies further than a week from every row.
        part["days_to_holiday"] = np.where(new_year, 0.0, 7.0)
    _, inputs = window_inputs(metadata, history, future)
    check_equal(answers(graph, inputs), expected(model, future))


@on_tensorflow
@pytest.mark.parametrize(
    "freq", ["15min", "h", "D", "B", "W-SUN", "MS", "QS-DEC", "YS"], ids=lambda freq: freq
)
def test_the_graph_reads_times_as_the_calendar_does(freq):
    import tensorflow as tf

    from tsfusion.data.calendar import calendar_features
    from tsfusion.serving.graph import _Clock

    times = pd.date_range("1899-12-25", periods=60, freq=freq).append(
        pd.date_range("2000-02-20", periods=60, freq=freq)
    )
    wanted = calendar_features(times, freq)
    clock = _Clock(tf.constant(times.to_numpy().astype("datetime64[s]").astype(np.int64))[None])
    for i, name in enumerate(wanted.categorical_names):
        width = 60 // wanted.cardinalities[i] if name == "minute_of_hour" else 1
        np.testing.assert_array_equal(clock.code(name, width)[0], wanted.categorical[:, i], name)
    for i, name in enumerate(wanted.real_names):
        np.testing.assert_allclose(clock.real(name)[0], wanted.real[:, i], atol=1e-6, err_msg=name)


@on_tensorflow
def test_times_with_a_zone_are_those_of_its_clock(eager, monkeypatch):
    monkeypatch.setitem(NETWORKS, "fusion", Tiny)
    table = small_panel(n_series=2, n_steps=40)
    hours = pd.date_range("2024-03-09", periods=40, freq="h", tz="America/New_York")
    table["date"] = np.tile(hours, 2)
    history, future = table[table["date"] < hours[-5]], table[table["date"] >= hours[-5]]
    model = small(**ROLES).fit(history)
    graph, metadata = traced(model)
    found = answers(graph, window_inputs(metadata, history, future)[1])
    check_equal(found, expected(model, future.drop(columns="sales")))


@on_tensorflow
def test_rows_without_time_or_series_need_the_target_alone(eager):
    y = np.sin(np.arange(60.0)) + 1e9
    model = small(architecture="tft", target="y").fit(pd.DataFrame({"y": y}))
    graph, metadata = traced(model, (0.5,))
    assert list(metadata["inputs"]) == ["past_target"]
    found = answers(graph, {"past_target": y[None, -12:]})
    wanted = model.forecast()["mean"]
    np.testing.assert_allclose(found["mean"][0] - 1e9, wanted - 1e9, rtol=1e-5, atol=1e-6)


@on_tensorflow
@pytest.mark.slow
def test_a_saved_model_forecasts_where_there_is_tensorflow_alone(
    compiled, fitted, history, future, tmp_path
):
    path = tmp_path / "graph"
    fitted.export(path, quantiles=LEVELS)
    metadata = json.loads((path / module.METADATA).read_text())
    np.savez(tmp_path / "inputs.npz", **window_inputs(metadata, history, future)[1])
    script = (
        "import sys, numpy as np, tensorflow as tf\n"
        "folder = sys.argv[1]\n"
        "serve = tf.saved_model.load(folder + '/graph').signatures['serving_default']\n"
        "inputs = {k: tf.constant(v) for k, v in np.load(folder + '/inputs.npz').items()}\n"
        "assert 'tsfusion' not in sys.modules\n"
        "np.savez(folder + '/found.npz', **{k: v.numpy() for k, v in serve(**inputs).items()})\n"
    )
    # Isolated: neither the folder it is run in nor PYTHONPATH brings the package.
    subprocess.run([sys.executable, "-I", "-c", script, str(tmp_path)], check=True, timeout=300)
    check_equal(np.load(tmp_path / "found.npz"), expected(fitted, future))
    with pytest.raises(FileExistsError, match="is there already. Pass overwrite=True"):
        fitted.export(path)
    fitted.export(path, overwrite=True)
    assert json.loads((path / module.METADATA).read_text())["levels"] == [0.1, 0.5, 0.9]
    assert sorted(part.name for part in tmp_path.iterdir()) == ["found.npz", "graph", "inputs.npz"]


@on_tensorflow
@pytest.mark.slow
def test_an_onnx_file_forecasts_in_onnxruntime(compiled, fitted, history, future, tmp_path):
    pytest.importorskip("tf2onnx", reason="needs the extra export")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")
    path = tmp_path / "graph.onnx"
    fitted.export(path, "onnx", quantiles=LEVELS)
    session = onnxruntime.InferenceSession(str(path))
    metadata = json.loads(session.get_modelmeta().custom_metadata_map[module.ONNX_KEY])
    _, inputs = window_inputs(metadata, history, future)
    names = ["quantiles", "mean"]
    found = dict(zip(names, session.run(names, inputs)))
    check_equal(found, expected(fitted, future))
    assert {value.name for value in session.get_inputs()} == set(inputs)
    assert {value.shape[0] for value in session.get_inputs()} == {"batch"}
    alone = session.run(["mean"], {name: value[:1] for name, value in inputs.items()})[0]
    np.testing.assert_allclose(alone, found["mean"][:1], rtol=1e-6)
    # NaN stays behind its mask, in the recurrence too.
    holes = history[(history["store"] != "s1") | (history["date"].dt.day % 3 > 0)].copy()
    holes.loc[holes["date"].dt.day % 5 == 0, ["sales", "weather"]] = np.nan
    _, inputs = window_inputs(metadata, holes, future)
    assert np.isnan(inputs["past_real"]).any()
    wanted = fitted.forecast(future, context=holes)["mean"].to_numpy().reshape(3, -1)
    np.testing.assert_allclose(session.run(["mean"], inputs)[0], wanted, rtol=1e-5)
    assert [part.name for part in tmp_path.iterdir()] == ["graph.onnx"]


def test_what_cannot_be_exported_is_told_before_any_work(fitted, tmp_path, monkeypatch):
    path = tmp_path / "graph"
    with pytest.raises(NotFittedError):
        FusionForecaster().export(path)
    with pytest.raises(ValueError, match="expected 'tf_saved_model' or 'onnx', received 'pmml'"):
        fitted.export(path, "pmml")
    with pytest.raises(ValueError, match="quantiles: expected numbers between 0 and 1"):
        fitted.export(path, quantiles=[1.5])
    with pytest.raises(FileNotFoundError, match=r"Make .*nowhere first"):
        fitted.export(tmp_path / "nowhere" / "graph")
    calibrated = pickle.loads(pickle.dumps(fitted))
    calibrated._calibration = object()
    with pytest.raises(ValueError, match=r"not calibrated.*Export a copy after its uncalibrate"):
        calibrated.export(path)
    monkeypatch.setitem(sys.modules, "tf2onnx.convert", None)
    with pytest.raises(ImportError, match=r"pip install 'tsfusion\[export\]'"):
        fitted.export(path, "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_never_replaced(fitted, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("dear")
    with pytest.raises(FileExistsError, match=r"replaces a folder with tsfusion.json.*is none"):
        fitted.export(tmp_path / "letters", overwrite=True)
    assert (tmp_path / "letters" / "one.txt").read_text() == "dear"


@pytest.mark.heavy
@pytest.mark.backends
@pytest.mark.skipif(
    os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow", reason="TensorFlow can export"
)
def test_another_backend_is_told_the_way(fitted, tmp_path):
    with pytest.raises(RuntimeError, match="in a process with KERAS_BACKEND=tensorflow"):
        fitted.export(tmp_path / "graph")


def test_an_export_that_fails_leaves_what_was_there(tmp_path):
    target = tmp_path / "graph"
    target.mkdir()
    (target / "old").write_text("old")

    def fails(part: Path) -> None:
        part.mkdir()
        (part / "new").write_text("new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        module._replacing(target, fails)
    assert [part.name for part in tmp_path.iterdir()] == ["graph"]
    assert (target / "old").read_text() == "old"

"""Plots: what is drawn are the numbers of the frames."""

import numpy as np
import pandas as pd
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

from tsfusion.plotting import (  # noqa: E402
    plot_backtest,
    plot_forecast,
    plot_reliability,
    plot_skill,
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def forecast():
    n = 4
    time = pd.date_range("2024-03-01", periods=n, freq="D")
    frames = []
    for shift, store in enumerate(("a", "b")):
        middle = np.arange(n) + 10.0 * shift
        frames.append(
            pd.DataFrame(
                {
                    "store": store, "date": time, "mean": middle, "q0.1": middle - 2,
                    "q0.25": middle - 1, "q0.5": middle + 0.1, "q0.75": middle + 1,
                    "q0.9": middle + 2,
                }
            )
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def history(forecast, n=30):
    time = pd.date_range(end="2024-02-29", periods=n, freq="D")
    rows = [pd.DataFrame({"store": s, "date": time, "sales": np.arange(n) * k}) for k, s in
            enumerate(forecast["store"].unique(), 1)]  # fmt: skip
    return pd.concat(rows, ignore_index=True).sample(frac=1, random_state=0)


def test_the_series_that_was_named_is_drawn(forecast):
    ax = plot_forecast(forecast, history(forecast), target="sales", which="b")
    past, median = ax.get_lines()
    np.testing.assert_array_equal(past.get_ydata(), np.arange(14, 30) * 2)
    np.testing.assert_array_equal(median.get_ydata(), forecast["q0.5"][4:])
    assert len(ax.collections) == 2
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["sales", "80 % interval", "50 % interval", "forecast (median)"]
    assert ax.get_title() == "b"
    own = plt.subplots()[1]
    assert plot_forecast(forecast, history(forecast), target="sales", steps=3, ax=own) is own
    assert len(own.get_lines()[0].get_ydata()) == 3


def test_without_quantiles_the_mean_is_drawn(forecast):
    plain = forecast[forecast["store"] == "a"][["date", "mean"]]
    ax = plot_forecast(plain)
    np.testing.assert_array_equal(ax.get_lines()[0].get_ydata(), plain["mean"])
    assert not ax.collections


def test_what_cannot_be_drawn_is_said(forecast):
    with pytest.raises(ValueError, match="which: expected a series of forecast, 'a', 'b'; rec"):
        plot_forecast(forecast, which="c")
    with pytest.raises(ValueError, match=r"which: expected a label for each of \['store'\]"):
        plot_forecast(forecast, which=("a", "b"))
    with pytest.raises(ValueError, match="there is one series"):
        plot_forecast(forecast[["date", "mean"]], which="a")
    with pytest.raises(ValueError, match="forecast: expected rows of FusionForecaster.forecast"):
        plot_forecast(forecast.drop(columns="mean"))
    with pytest.raises(ValueError, match="history: expected the columns .* called 'sold'"):
        plot_forecast(forecast, history(forecast), target="sold")
    with pytest.raises(ValueError, match="received none with 'cutoff'"):
        plot_backtest(forecast)
    with pytest.raises(ValueError, match="received no 'level'"):
        plot_reliability(pd.DataFrame({"model": ["m"]}))
    with pytest.raises(ValueError, match="received no 'skill'"):
        plot_skill(pd.DataFrame({"model": ["m"]}))


def test_a_backtest_is_drawn_cutoff_by_cutoff(forecast):
    frames = []
    for cutoff in (0, 2):
        part = forecast.assign(cutoff=cutoff, step=1, model="net", y=forecast["mean"] + cutoff)
        frames.append(part)
    frame = pd.concat(frames)
    order = ["store", "cutoff", "date", "step", "model", "y", "mean", "q0.1", "q0.5", "q0.9"]
    ax = plot_backtest(frame[order], which="b")
    assert len(ax.get_lines()) == 3
    assert len(ax.collections) == 2
    with pytest.raises(ValueError, match="model: expected one of 'net', received 'arima'"):
        plot_backtest(frame[order], model="arima")


def test_reliability_and_skill_show_their_errors():
    table = pd.DataFrame(
        {"model": "m", "level": [0.1, 0.9], "observed": [0.2, 0.8], "standard_error": [0.05, 0.1]}
    )
    ax = plot_reliability(table)
    np.testing.assert_allclose(ax.get_lines()[1].get_xydata(), [[0.1, 0.2], [0.9, 0.8]])
    ends = ax.collections[0].get_segments()
    np.testing.assert_allclose([end[:, 1] for end in ends], [[0.1, 0.3], [0.6, 1.0]])
    with pytest.raises(ValueError, match="each level of a model once"):
        plot_reliability(pd.concat([table, table]))
    skill = pd.DataFrame(
        {"model": ["a", "b"], "skill": [0.0, 0.5], "low": [0.0, 0.4], "high": [0.0, 0.7]}
    )
    ax = plot_skill(skill)
    np.testing.assert_allclose(ax.collections[0].get_segments()[0][:, 0], [0.4, 0.7])

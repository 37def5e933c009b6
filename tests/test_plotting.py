"""Plots: what is drawn are the numbers of the frames."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402

from tests.report.made import made_backtest, made_explanation  # noqa: E402
from tsfusion.evaluation import reliability  # noqa: E402
from tsfusion.plotting import (  # noqa: E402
    draw_lags,
    plot_attention,
    plot_backtest,
    plot_calibration,
    plot_forecast,
    plot_importance,
    plot_regimes,
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


def test_periods_are_drawn_from_their_beginnings(forecast, explanation):
    past, at = history(forecast), forecast["date"].iloc[0]
    drawn = []
    for kind in (lambda times: times, lambda times: times.dt.to_period("D")):
        rows, before = (t.assign(date=kind(t["date"])) for t in (forecast, past))
        cutoff = kind(pd.Series([at - pd.Timedelta(days=1)] * len(rows)))
        rows.insert(1, "cutoff", cutoff)
        frame = rows.assign(model="m", y=1.0)
        rows = rows.drop(columns="cutoff")
        regimes = explanation.regimes().assign(cutoff=kind(explanation.regimes()["cutoff"]))
        known = explanation.history().assign(time=kind(explanation.history()["time"]))
        made = SimpleNamespace(
            series_names=explanation.series_names, regimes=lambda r=regimes: r, target="y",
            history=lambda k=known: k,
        )  # fmt: skip
        axes = (plot_forecast(rows, before, target="sales"), plot_backtest(frame))
        for ax in (*axes, plot_regimes(made)):
            ax.figure.canvas.draw()
            drawn.append([line.get_xydata() for line in ax.get_lines()])
    for times, periods in zip(drawn[:3], drawn[3:]):
        for line, other in zip(times, periods, strict=True):
            np.testing.assert_array_equal(line, other)


@pytest.mark.parametrize("name", ["cost_$_vs_$", "a$b$c", "_US$", "$", r"\$x$"])
def test_a_name_is_no_formula(forecast, name):
    rows = forecast.assign(store=name).rename(columns={"date": f"{name} time"}).iloc[:4]
    past = history(forecast).assign(store=name)
    past = past.rename(columns={"date": f"{name} time", "sales": f"{name} sales"})
    ax = plot_forecast(rows, past, target=f"{name} sales")
    ax.figure.canvas.draw()
    shown = [ax.title, ax.xaxis.label, ax.yaxis.label, ax.get_legend().get_texts()[0]]
    assert not any(text._preprocess_math(text.get_text())[1] for text in shown)
    drawn = [text._preprocess_math(text.get_text())[0].lstrip() for text in shown]
    assert drawn == [name, f"{name} time", f"{name} sales", f"{name} sales"]


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
    with pytest.raises(ValueError, match="target: expected the name of the target in history"):
        plot_forecast(forecast, history(forecast))
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


@pytest.fixture(scope="module")
def explanation():
    return made_explanation()


@pytest.mark.parametrize(("branch", "width"), [(None, 1), ("long", 4)])
def test_attention_is_drawn_where_it_went(explanation, branch, width):
    ax = plot_attention(explanation, branch=branch)
    table = explanation.temporal_patterns()
    table = table[table["branch"] == (branch or "short")]
    (cells,) = ax.collections
    np.testing.assert_allclose(cells.get_array(), table["mean"])
    corners = np.stack([path.vertices[:4] for path in cells.get_paths()])
    np.testing.assert_allclose(corners.mean(axis=1)[:, 0], table["lag"] + (width - 1) / 2)
    np.testing.assert_allclose(corners.mean(axis=1)[:, 1], table["horizon"])
    assert (np.ptp(corners[..., 0], axis=1) == width).all()
    assert ax.get_xlim()[0] > ax.get_xlim()[1]
    with pytest.raises(ValueError, match=r"branch: expected one of \['short', 'long'\]"):
        plot_attention(explanation, branch="all")


def test_steps_far_apart_have_rows_beside_each_other():
    table = pd.DataFrame({"lag": [1, 2, 1, 2, 30], "horizon": [1, 1, 7, 7, 28], "value": 0.5})
    ax = draw_lags(table, "share", "title")
    (cells,) = ax.collections
    middle = np.stack([path.vertices[:4] for path in cells.get_paths()]).mean(axis=1)[:, 1]
    assert middle.tolist() == [1, 1, 2, 2, 3]
    name = ax.yaxis.get_major_formatter()
    assert [name(at) for at in range(5)] == ["", "1", "7", "28", ""]
    # Shades begin at nothing: even shares look even.
    assert cells.get_clim() == (0, 0.5)
    # A single row has its name once.
    ax = draw_lags(table[table["horizon"] == 7], "share", "title")
    ax.figure.draw_without_rendering()
    assert [text.get_text() for text in ax.get_yticklabels() if text.get_text()] == ["7"]


def test_importance_shows_each_measure_by_a_shape_of_its_own(explanation):
    own = plt.subplots()[1]
    assert plot_importance(explanation, ax=own) is own
    table = explanation.importance().iloc[::-1]
    drawn = {line.get_label(): line for line in own.get_lines()}
    assert list(drawn) == ["attribution", "sensitivity", "selection (past)"]
    np.testing.assert_allclose(drawn["attribution"].get_xdata(), table["attribution"])
    np.testing.assert_allclose(drawn["selection (past)"].get_xdata(), table["past"])
    assert len({line.get_marker() for line in drawn.values()}) == 3
    assert [text.get_text() for text in own.get_yticklabels()] == list(table["variable"])
    assert len(plot_importance(explanation, top=1).get_yticks()) == 1


def test_regimes_are_marked_at_their_cutoffs(explanation):
    ax = plot_regimes(explanation, which="b")
    line, usual, unusual = ax.get_lines()
    history = explanation.history()
    np.testing.assert_allclose(line.get_ydata(), history["value"][history["store"] == "b"])
    table = explanation.regimes().query("store == 'b'")
    assert list(pd.to_datetime(usual.get_xdata())) == list(table["cutoff"][~table["unusual"]])
    assert list(pd.to_datetime(unusual.get_xdata())) == list(table["cutoff"][table["unusual"]])
    assert len(unusual.get_xdata()) == 2
    with pytest.raises(ValueError, match="which: expected a series of explanation, 'a', 'b'"):
        plot_regimes(explanation, which="c")
    with pytest.raises(ValueError, match="ask for it"):
        plot_regimes(made_explanation(bare=True))


def test_calibration_is_the_reliability_of_a_backtest():
    frame = made_backtest()
    ax = plot_calibration(frame)
    table = reliability(frame)
    rows = table[table["model"] == "net"]
    np.testing.assert_allclose(ax.get_lines()[1].get_xydata()[:, 1], rows["observed"])

"""Baselines against plain loops over series, steps and seasons."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from tsfusion.data.datasets import load_air_passengers, make_panel
from tsfusion.evaluation.baselines import (
    baseline_forecast,
    drift,
    last_value,
    season_mean,
    seasonal_naive,
)
from tsfusion.evaluation.metrics import weighted_quantile_loss

NAN = float("nan")
NAMES = ["last_value", "seasonal_naive", "season_mean", "drift"]
HISTORIES = st.lists(
    st.one_of(st.just(NAN), st.floats(-1e3, 1e3, allow_nan=False)), min_size=1, max_size=25
)


def plain(name, history, step, season):
    """One forecast by the definition, one element at a time."""
    known = [value for value in history if not math.isnan(value)]
    if not known:
        return NAN
    if name == "seasonal_naive":
        place = len(history) + step - 1
        while (place := place - season) >= 0:
            if place < len(history) and not math.isnan(history[place]):
                return history[place]
    if name == "drift":
        first, *_, last = [place for place, value in enumerate(history) if value == value] * 2
        slope = (known[-1] - known[0]) / max(last - first, 1)
        return known[-1] + (len(history) - 1 + step - last) * slope
    if name == "season_mean":
        recent = [value for value in history[-season:] if not math.isnan(value)]
        if recent:
            return sum(recent) / len(recent)
    return known[-1]


def call(name, history, horizon, season):
    if name in ("last_value", "drift"):
        return (last_value if name == "last_value" else drift)(history, horizon)
    function = {"seasonal_naive": seasonal_naive}.get(name, season_mean)
    return function(history, horizon, season)


@pytest.mark.parametrize("name", NAMES)
@given(history=HISTORIES, horizon=st.integers(1, 9), season=st.integers(1, 8))
def test_one_series(name, history, horizon, season):
    expected = [plain(name, history, step, season) for step in range(1, horizon + 1)]
    found = call(name, history, horizon, season)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_batch_is_each_series_alone(name):
    rng = np.random.default_rng(0)
    history = rng.normal(1e5, 1, (6, 30))
    history[rng.random(history.shape) < 0.4] = NAN
    history[2] = NAN
    found = call(name, history, 10, 7)
    assert found.shape == (6, 10)
    np.testing.assert_allclose(found, [call(name, row, 10, 7) for row in history], rtol=1e-12)
    assert np.isnan(found[2]).all()
    assert call(name, np.empty((0, 5)), 10, 7).shape == (0, 10)


def test_neighbours_of_another_size_do_not_matter():
    history = np.random.default_rng(1).normal(size=(3, 200)) * np.array([[1e12], [1e-3], [1.0]])
    expected = history[:, -7:].mean(axis=1)
    np.testing.assert_allclose(season_mean(history, 1, 7)[:, 0], expected, rtol=1e-9)


def test_history_is_left_alone():
    history = np.array([1.0, NAN, 3.0])
    history.flags.writeable = False
    seasonal_naive(history, 2, 2)[:] = 0.0
    np.testing.assert_array_equal(history, [1.0, NAN, 3.0])


def test_air_passengers():
    frame = load_air_passengers()
    found = baseline_forecast(
        frame, name="seasonal_naive", series=None, time="month", target="passengers", horizon=14,
        season_length=12, freq="MS",
    )  # fmt: skip
    assert list(found.columns) == ["step", "mean"]
    last_year = frame["passengers"].tail(12).tolist()
    assert found["mean"].tolist() == last_year + last_year[:2]


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(NAMES),
    st.lists(HISTORIES, min_size=1, max_size=4),
    st.integers(1, 5),
    st.integers(1, 6),
    st.randoms(use_true_random=False),
)
def test_panel_with_quantiles(name, histories, horizon, season, random):
    levels = [0.1, 0.5, 0.9]
    rows = [
        (f"s{number}", step, value)
        for number, history in enumerate(histories)
        for step, value in enumerate(history)
    ]
    random.shuffle(rows)
    frame = pd.DataFrame(rows, columns=["store", "t", "y"])
    found = baseline_forecast(
        frame, name=name, series="store", time="t", target="y", horizon=horizon,
        season_length=season, quantiles=levels,
    )  # fmt: skip

    expected = []
    for number, history in enumerate(histories):
        stand_in = np.zeros(3)
        for step in range(1, horizon + 1):
            residuals = [
                history[end + step - 1] - plain(name, history[:end], step, season)
                for end in range(1, len(history) - step + 1)
            ]
            residuals = [value for value in residuals if not math.isnan(value)]
            if residuals:
                stand_in = np.quantile(residuals, levels)
            mean = plain(name, history, step, season)
            expected.append((f"s{number}", step, mean, *(mean + stand_in)))
    columns = ["store", "step", "mean", "q0.1", "q0.5", "q0.9"]
    assert_frame_equal(
        found, pd.DataFrame(expected, columns=columns), check_exact=False, rtol=1e-9, atol=1e-8
    )


class TestGrid:
    def test_missing_rows_do_not_shift_the_season(self):
        dates = pd.date_range("2024-01-01", periods=28, freq="D")
        frame = pd.DataFrame({"date": dates, "y": dates.day_of_week.astype(float)})
        frame = frame.drop(index=[3, 9, 10, 25])
        options = {"name": "seasonal_naive", "series": None, "time": "date", "target": "y"}
        found = baseline_forecast(frame, **options, horizon=10, season_length=7, freq="D")
        assert found["mean"].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2]
        by_rows = baseline_forecast(frame, **options, horizon=10, season_length=7)
        assert by_rows["mean"].tolist() != found["mean"].tolist()

    def test_gaps_equal_rows_without_target(self):
        frame = make_panel(5, 120, missing=0.2, ragged=True)
        options = {"series": "series", "time": "date", "target": "sales"}
        grids = []
        for _, rows in frame.groupby("series"):
            grid = pd.date_range(rows["date"].min(), rows["date"].max())
            rows = rows.set_index("date").reindex(grid).rename_axis("date").reset_index()
            grids.append(rows.assign(series=rows["series"].ffill()))
        full = pd.concat(grids, ignore_index=True)
        for name in NAMES:
            both = [
                baseline_forecast(
                    data, name=name, horizon=8, season_length=7, quantiles=[0.2, 0.8], freq=freq,
                    **options,
                )
                for data, freq in [(frame, "D"), (full, None)]
            ]  # fmt: skip
            assert_frame_equal(*both)

    def test_zoned_times_over_a_clock_change(self):
        dates = pd.date_range("2024-03-28", periods=6, freq="D", tz="Europe/Berlin")
        frame = pd.DataFrame({"date": dates, "y": [0.0, 1, 2, 3, 4, 5]})
        found = baseline_forecast(
            frame, name="seasonal_naive", series=None, time="date", target="y", horizon=2,
            season_length=2, freq="D",
        )  # fmt: skip
        assert found["mean"].tolist() == [4.0, 5.0]


class TestKeys:
    def test_several_columns_and_their_types(self):
        frame = pd.DataFrame(
            {
                "store": pd.Categorical(["b", "a", "b", "a"], categories=["b", "a", "c"]),
                "item": [2, 1, 2, 3],
                "t": [1.0, 0.0, 0.0, 0.0],
                "y": [4.0, 1.0, 3.0, 2.0],
            }
        )
        found = baseline_forecast(
            frame, name="last_value", series=["store", "item"], time="t", target="y", horizon=1
        )
        assert found["store"].dtype == frame["store"].dtype
        rows = [("b", 2, 1, 4.0), ("a", 1, 1, 1.0), ("a", 3, 1, 2.0)]
        assert list(found.itertuples(index=False, name=None)) == rows

    def test_any_index(self):
        frame = make_panel(3, 20)
        options = {"series": "series", "time": "date", "target": "sales", "horizon": 2}
        shuffled = frame.sample(frac=1, random_state=0).set_axis(np.zeros(len(frame)), axis=0)
        assert_frame_equal(
            baseline_forecast(frame, name="last_value", **options),
            baseline_forecast(shuffled, name="last_value", **options),
        )


def test_quantiles_give_a_sensible_loss():
    frame = make_panel(20, 400, random_state=3)
    cutoff = frame["date"].max() - pd.Timedelta(days=14)
    past, future = frame[frame["date"] <= cutoff], frame[frame["date"] > cutoff]
    levels = [0.1, 0.5, 0.9]
    found = baseline_forecast(
        past, name="seasonal_naive", series="series", time="date", target="sales", horizon=14,
        season_length=7, quantiles=levels,
    )  # fmt: skip
    quantiles = found[["q0.1", "q0.5", "q0.9"]].to_numpy()
    y = future["sales"].to_numpy()
    spread = weighted_quantile_loss(y, quantiles, levels)
    point = weighted_quantile_loss(y, found[["mean"] * 3].to_numpy(), levels)
    assert 0 < spread < point
    inside = (quantiles[:, 0] <= y) & (y <= quantiles[:, 2])
    assert 0.7 < inside.mean() < 0.9


def small(**columns):
    return pd.DataFrame({"s": ["a", "a"], "t": [0, 1], "y": [1.0, 2.0]}).assign(**columns)


@pytest.mark.parametrize(
    ("frame", "changes", "error", "message"),
    [
        (small(), {"name": "naive"}, ValueError, "name: expected one of .*, got 'naive'"),
        (small(), {"horizon": 0}, ValueError, "horizon: expected at least 1"),
        (small(), {"horizon": 1.5}, TypeError, "horizon: expected a whole number"),
        (small(), {"season_length": 0}, ValueError, "season_length: expected at least 1"),
        (small(), {"target": "z"}, ValueError, "frame: no column 'z'; it has"),
        (small(), {"quantiles": [0.5, 0.1]}, ValueError, "quantiles: expected increasing levels"),
        (small(), {"quantiles": [0.0]}, ValueError, "quantiles: expected increasing levels"),
        (small(), {"freq": "D"}, TypeError, "freq: 'D' needs datetimes in 't'"),
        (small().iloc[:0], {}, ValueError, "frame: expected at least one row"),
        (small(t=[0, 0]), {}, ValueError, "t: .*0.* comes twice in series s='a'"),
        (small(t=[0, 0]), {"series": None}, ValueError, "t: .*0.* comes twice: drop one"),
        (small(s=["a", None]), {}, ValueError, "s: row 1 is missing"),
        (small(y=["1", "2"]), {}, TypeError, "y: expected numbers"),
        (small(y=[1.0, np.inf]), {}, ValueError, "y: row 1 is infinite"),
        (small(t=["0", "1"]), {}, TypeError, "use pandas.to_datetime first"),
        (small(t=[0.0, NAN]), {}, ValueError, "t: row 1 has no time"),
        (small(step=1), {"series": "step"}, ValueError, "a column 'step' of its own"),
        (
            small().rename(columns={"s": "q0.5"}),
            {"series": "q0.5", "quantiles": [0.5]},
            ValueError,
            "^frame: the result has a column 'q0.5' of its own: rename",
        ),
        (
            small(t=pd.to_datetime(["2024-01-01", "2024-01-02"])),
            {"freq": "W-MON"},
            ValueError,
            "t: row 1, 2024-01-02 00:00:00, is not on the grid of 'W-MON'",
        ),
        (
            small(t=pd.to_datetime(["2024-01-01", "2024-01-02"])),
            {"freq": "nonsense"},
            ValueError,
            "freq: 'nonsense' is not a frequency known here",
        ),
    ],
)
def test_errors(frame, changes, error, message):
    options = {"name": "last_value", "series": "s", "time": "t", "target": "y", "horizon": 1}
    with pytest.raises(error, match=message):
        baseline_forecast(frame, **(options | changes))


def test_array_errors():
    with pytest.raises(ValueError, match=r"history: expected shape \(T,\) or \(S, T\)"):
        last_value([], 1)
    with pytest.raises(ValueError, match=r"got \(1, 1, 1\)"):
        last_value([[[1.0]]], 1)
    with pytest.raises(TypeError, match="history: expected numbers"):
        last_value(["a"], 1)
    with pytest.raises(TypeError, match="frame: expected a pandas DataFrame, got list"):
        baseline_forecast([], name="last_value", series=None, time="t", target="y", horizon=1)

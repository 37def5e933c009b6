"""Series that were not in training, or constant there: their own windows tell of their spread."""

import numpy as np
import pandas as pd
import pytest

from tsfusion import FusionForecaster
from tsfusion.data import TargetScaler

NAMES = {"time": "t", "series": "s", "target": "y"}
STEPS, HORIZON, CONTEXT = 90, 5, 20


def series(name, level, spread, *, seed=0, steps=STEPS):
    rng = np.random.default_rng(seed)
    shape = np.sin(np.arange(steps) * 2 * np.pi / 7) + rng.normal(0, 0.3, steps)
    times = pd.date_range("2024-01-01", periods=steps)
    return pd.DataFrame({"s": name, "t": times, "y": level + spread * shape})


def only(table, name):
    return table[table["s"] == name].drop(columns=["s", "t"]).to_numpy()


@pytest.fixture(scope="module")
def fitted(tiniest, eager):
    table = pd.concat(
        [series(f"s{i}", 1000, 200, seed=i) for i in range(4)]
        + [series("small", 10, 1, seed=9), series("dead", 0, 0), series("three", 3, 0)]
    )
    return FusionForecaster(
        HORIZON, context_length=CONTEXT, hidden_size=8, num_heads=1, max_epochs=2,
        steps_per_epoch=20, verbose=0, random_state=0, **NAMES,
    ).fit(table)  # fmt: skip


@pytest.mark.backends
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5])
def test_a_new_series_is_forecast_as_one_that_was_in_training(fitted, scale):
    twin = series("twin", 10, 1, seed=9).assign(y=lambda frame: frame["y"] * scale)
    expected = only(fitted.forecast(), "small") * scale
    found = only(fitted.forecast(context=twin), "twin")
    # Up to the one value more that the spread of a window counts; others' spread is 200.
    np.testing.assert_allclose(found, expected, atol=0.1 * scale, rtol=0)
    later = FusionForecaster.__new__(FusionForecaster)
    later.__setstate__(fitted.__getstate__())
    np.testing.assert_allclose(only(later.update(twin).forecast(), "twin"), found, rtol=1e-6)


def test_a_series_that_never_moved_is_not_forecast_to_move_as_others(fitted):
    table = fitted.forecast()
    for name, level in (("dead", 0), ("three", 3)):
        away = np.abs(only(table, name) - level).max()
        typical = np.abs(only(table, "s0") - 1000).max()
        # Equal values in a window tell of a spread that many times smaller.
        assert away < 3 * typical / CONTEXT
    assert np.abs(only(table, "three") - 3).max() < 0.5  # in proportion to its level, too


@pytest.mark.parametrize("large", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("transform", [None, "log1p", "yeo-johnson", TargetScaler("standard")])
def test_one_that_never_moved_among_series_of_any_size(tiniest, eager, transform, large):
    # The level of one series says nothing of the spread of another.
    table = [series("other", 60, 25), series("large", 20 * large, 8 * large), series("three", 3, 0)]
    model = FusionForecaster(
        HORIZON, context_length=CONTEXT, hidden_size=8, num_heads=1, max_epochs=1,
        steps_per_epoch=3, verbose=0, random_state=0, target_transform=transform, **NAMES,
    ).fit(pd.concat(table))  # fmt: skip
    assert np.abs(only(model.forecast(), "three") - 3).max() < 1


@pytest.mark.parametrize("transform", ["box-cox", "yeo-johnson", TargetScaler("robust")])
def test_rounding_does_not_tell_of_a_spread(tiniest, eager, transform):
    """A scaler that centres each series makes zeros of equal values, or what rounding leaves."""
    levels = [0.1, 0.3, 1.0, 5.0, 5.1, 7.0, 33.3, 100.0]
    table = pd.concat(
        [series(f"s{i}", 1000, 200, seed=i) for i in range(4)]
        + [series(f"c{level}", level, 0) for level in levels]
    )
    model = FusionForecaster(
        HORIZON, context_length=CONTEXT, hidden_size=8, num_heads=1, max_epochs=1,
        steps_per_epoch=3, verbose=0, random_state=0, target_transform=transform, **NAMES,
    ).fit(table)  # fmt: skip
    found = model.forecast().set_index("s").drop(columns="t")
    ends = {level: found.loc[f"c{level}", ["q0.1", "q0.9"]].to_numpy() for level in levels}
    scaler = model._fitted.units.scaler
    assert scaler is not None
    for level, values in ends.items():
        label = pd.Index([f"c{level}"])
        z = scaler.transform(values.ravel(), np.zeros(values.size, int), labels=label)
        z -= scaler.transform(np.array([level]), np.zeros(1, int), labels=label)
        if level == levels[0]:
            wanted = z
        assert np.abs(z).max() > 1e-3
        np.testing.assert_allclose(z, wanted, rtol=1e-4, atol=1e-6)


def test_one_value_tells_of_no_spread(fitted):
    one = series("new", 10, 1).head(1)
    width = np.ptp(only(fitted.forecast(context=one), "new"))
    assert width > 20  # as of the others, whose spread is 200


def test_nothing_after_a_cutoff_changes_a_forecast_of_a_new_series(fitted):
    table = series("new", 10, 1)
    rows = table.iloc[40 : 40 + HORIZON]
    other = table.copy()
    other.loc[other.index[40 + HORIZON :], "y"] = 1e4
    found, changed = (
        fitted.predict(rows[["s", "t"]], context=known[known["t"] < rows["t"].iloc[0]])
        for known in (table, other)
    )
    np.testing.assert_array_equal(found, changed)
    # With the rows that are asked for in the history: each has the cutoff before it.
    found, changed = (
        fitted.predict(rows[["s", "t"]].head(1), context=known) for known in (table, other)
    )
    np.testing.assert_array_equal(found, changed)


def test_rows_past_the_horizon_keep_to_the_spread(fitted):
    table = series("new", 10, 1)
    times = pd.date_range(table["t"].iloc[-1], periods=4 * CONTEXT + 1)[1:]
    with pytest.warns(match="past the horizon"):
        values = fitted.predict(pd.DataFrame({"s": "new", "t": times}), context=table)
    assert np.abs(values - 10).max() < 20


@pytest.mark.parametrize("method", ["cqr", "tracking"])
def test_intervals_of_a_new_series_are_widened_in_its_own_units(fitted, method):
    twin = series("twin", 10, 1, seed=9)
    later = FusionForecaster.__new__(FusionForecaster)
    later.__setstate__(fitted.__getstate__())
    rows = pd.concat([series(f"s{i}", 1000, 200, seed=i) for i in range(4)])
    later.calibrate(pd.concat([rows, series("small", 10, 1, seed=9)]), method=method)
    asked = {"context": twin, "quantiles": [0.1, 0.9]}
    raw, found = (only(model.forecast(**asked), "twin")[:, 1:] for model in (fitted, later))
    assert np.abs(found - raw).max() > 1e-6
    assert np.ptp(found, axis=1).max() < 10  # where other series' corrections are tens
    rows = series("small", 10, 1, seed=9).tail(HORIZON)
    expected = later.anomaly_scores(rows)
    later.update(twin)
    scores = later.anomaly_scores(rows.assign(s="twin"))
    # Of a network of one layer some quantiles are as good as equal, and no measure of errors.
    plain = expected["score"].abs() < 10
    assert plain.sum() > 1
    found, wanted = scores.loc[plain, "score"], expected.loc[plain, "score"]
    np.testing.assert_allclose(found, wanted, rtol=0.1, atol=0.1)

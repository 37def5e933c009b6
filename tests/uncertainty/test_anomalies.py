"""Anomalies: conformal p-values beside counting by hand, and through the estimator."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROLES, SMALL, small_panel
from tsfusion import CalibrationWarning, FusionForecaster
from tsfusion.uncertainty import Calibration, conformal_p_values, normal_scores, strangeness

LEVELS = (0.1, 0.5, 0.9)


def calibration_of(rng, counts, horizon=3, **options):
    series = np.repeat(np.arange(len(counts)), counts)
    origin = np.concatenate([np.arange(count) for count in counts])
    y = rng.normal(size=(len(series), horizon)) * (1 + series)[:, None]
    y[rng.random(y.shape) < 0.1] = np.nan
    scores = y[..., None] - np.array([-1.3, 0.1, 1.2])
    return Calibration.start(series, origin, scores, LEVELS, n_series=len(counts), **options)


@pytest.mark.parametrize("seed", range(3))
def test_p_values_count_past_errors(seed):
    rng = np.random.default_rng(seed)
    made = calibration_of(rng, [60, 4, 60], min_origins=20)
    n = 200
    series, step = rng.integers(-1, 3, n), rng.integers(1, 6, n)
    errors = rng.normal(size=(n, 1)) * 2 - np.array([-1.3, 0.1, 1.2])
    # Some are as strange as one of the past: a tie counts.
    errors[:40] = made.scores[rng.integers(0, 60, 40), rng.integers(0, 3, 40)]
    strange = strangeness(errors, made)
    p, count = conformal_p_values(made, strange, series, step)
    past = strangeness(made.scores, made)
    for i in range(n):
        mine = made.series == series[i] if series[i] in (0, 2) else np.ones(len(past), bool)
        column = past[mine, min(step[i], 3) - 1]
        column = column[np.isfinite(column)]
        assert count[i] == len(column)
        if np.isfinite(strange[i]):
            assert p[i] == (1 + (column >= strange[i]).sum()) / (1 + len(column))
        else:
            assert np.isnan(p[i])


def test_strangeness_is_the_distance_from_the_middle():
    made = calibration_of(np.random.default_rng(0), [30])
    at = strangeness(np.array([[0.9, 0.0, -0.9], [3.0, 2.1, 0.0], [0.0, -2.1, -3.0]]), made)
    np.testing.assert_allclose(at, [0, 1.2815515655, 1.2815515655])
    assert strangeness(np.array([[0.0, -2.0, -3.0]]), made) == -normal_scores(
        np.array([[0.0, -2.0, -3.0]]), LEVELS
    )


def test_as_many_false_alarms_as_asked():
    rng = np.random.default_rng(4)
    rates = []
    for _ in range(200):
        made = calibration_of(rng, [99], horizon=1)
        y = rng.normal(size=50)
        strange = strangeness(y[:, None] - np.array([-1.3, 0.1, 1.2]), made)
        p, _ = conformal_p_values(made, strange, np.zeros(50, int), np.ones(50, int))
        rates.append((p <= 0.1).mean())
    assert 0.09 < np.mean(rates) < 0.11


@pytest.fixture(scope="module")
def table():
    return small_panel(n_steps=110)


def until(frame, n, first=0):
    start = pd.Timestamp("2024-01-01")
    days = (frame["date"] - start).dt.days
    return frame[(days >= first) & (days < n)]


@pytest.fixture(scope="module")
def trained(table, eager):
    model = FusionForecaster(horizon=3, context_length=14, **ROLES, **SMALL)
    return model.fit(until(table, 60)).calibrate(until(table, 95, 60))


@pytest.fixture
def model(trained):
    return copy.copy(trained)


def test_a_spike_is_found_and_the_memory_stays(model, table):
    rows = until(table, 110, 60).copy()
    at = rows.index[(rows["store"] == "s1") & (rows["date"] == "2024-04-10")][0]
    rows.loc[at, "sales"] += 500
    before = model._memory
    found = model.anomaly_scores(rows, false_alarms=0.02)
    assert list(found) == ["store", "date", "sales", "expected", "score", "p_value", "anomaly"]
    pd.testing.assert_series_equal(found["sales"], rows["sales"].reset_index(drop=True))
    spike = found[(found["store"] == "s1") & (found["date"] == "2024-04-10")].iloc[0]
    assert spike["anomaly"]
    assert spike["score"] > 5
    n = np.isfinite(model._calibration.scores[:, 0, 0]).sum()
    assert spike["p_value"] == 1 / (1 + n)
    assert model._memory is before
    assert len(before) == 180


def test_expected_is_the_one_step_forecast(model, table):
    rows = until(table, 100, 60)
    found = model.anomaly_scores(rows)
    updated = copy.copy(model).uncalibrate().update(rows)
    median = updated.predict(rows.drop(columns="sales"), quantiles=[0.5])[:, 0]
    np.testing.assert_allclose(found["expected"], median, rtol=1e-6)
    shuffled = rows.sample(frac=1, random_state=0)
    again = model.anomaly_scores(shuffled)
    keys = ["store", "date"]
    pd.testing.assert_frame_equal(
        again.sort_values(keys, ignore_index=True), found.sort_values(keys, ignore_index=True)
    )


def test_unknown_values_and_gaps(model, table):
    rows = until(table, 75, 60).copy()
    gap = rows["date"].between("2024-03-03", "2024-03-09")
    rows.loc[gap, "sales"] = np.nan
    found = model.anomaly_scores(rows)
    assert found["p_value"].isna().sum() >= gap.sum()
    # The step after seven unknown days lies past the horizon of three.
    after = found[found["date"] == "2024-03-10"]
    assert after["p_value"].isna().all()
    assert not after["anomaly"].any()
    assert found.loc[found["date"] == "2024-03-11", "p_value"].notna().all()


def test_a_transformed_target_comes_back_in_its_units(table, eager):
    frame = table[table["store"] == "s0"].drop(columns=["store", "region", "size"])
    frame["sales"] = np.exp(frame["sales"] / 5)
    roles = {k: v for k, v in ROLES.items() if k not in ("series", "static")}
    model = FusionForecaster(
        horizon=2, context_length=14, target_transform="log1p", **roles, **SMALL
    ).fit(frame[:60])  # fmt: skip
    found = model.calibrate(frame[60:90]).anomaly_scores(frame[60:], false_alarms=0.1)
    np.testing.assert_allclose(found["sales"], frame["sales"][60:])
    assert (found["expected"] > 0).all()
    high = found["sales"] > found["expected"]
    assert ((found["score"] > 0) == high).all()


def test_bad_input_and_too_few_scores(model, table):
    rows = until(table, 70, 60)
    for rate in (0, 1.0, "few"):
        with pytest.raises(ValueError, match="false_alarms: expected a number between 0 and 1"):
            model.anomaly_scores(rows, false_alarms=rate)
    with pytest.warns(CalibrationWarning, match="0.001 needs 999 past forecasts .* there are 1"):
        model.anomaly_scores(rows, false_alarms=0.001)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CalibrationWarning)
        model.anomaly_scores(rows, false_alarms=0.05)
    with pytest.raises(ValueError, match=r"Call calibrate\(\) first"):
        model.uncalibrate().anomaly_scores(rows)

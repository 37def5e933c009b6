"""Scores against scikit-learn, hand-worked figures, and formulas written out as plain loops."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, root_mean_squared_error

from tsfusion.evaluation.metrics import (
    coverage,
    interval_width,
    mae,
    mase,
    pinball_loss,
    rmse,
    skill,
    weighted_quantile_loss,
    winkler_score,
)

NAN = float("nan")
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
LEVELS = st.floats(0.01, 0.99)
TOLERANCE = 1e-9


@st.composite
def scored(draw, columns=2):
    """Targets, `columns` - 1 forecasts, and positive weights."""
    rows = draw(st.integers(1, 12))
    lists = [draw(st.lists(NUMBERS, min_size=rows, max_size=rows)) for _ in range(columns)] + [
        draw(st.lists(st.floats(0.01, 10), min_size=rows, max_size=rows))
    ]
    return [np.array(values) for values in lists]


@given(scored(), LEVELS)
def test_scikit_learn_agrees(data, level):
    y, forecast, weights = data
    for ours, theirs in [(mae, mean_absolute_error), (rmse, root_mean_squared_error)]:
        assert ours(y, forecast) == pytest.approx(theirs(y, forecast), rel=TOLERANCE)
        assert ours(y, forecast, weights=weights) == pytest.approx(
            theirs(y, forecast, sample_weight=weights), rel=TOLERANCE
        )
    assert pinball_loss(y, forecast, level) == pytest.approx(
        mean_pinball_loss(y, forecast, alpha=level), rel=TOLERANCE
    )
    assert pinball_loss(y, forecast, level, weights=weights) == pytest.approx(
        mean_pinball_loss(y, forecast, alpha=level, sample_weight=weights), rel=TOLERANCE
    )


@given(scored())
def test_half_pinball_is_half_the_absolute_error(data):
    y, forecast, weights = data
    assert 2 * pinball_loss(y, forecast, 0.5, weights=weights) == pytest.approx(
        mae(y, forecast, weights=weights), rel=TOLERANCE
    )


@given(scored(columns=3), LEVELS)
def test_intervals_by_their_formulas(data, nominal):
    y, one, other, weights = data
    lower, upper = np.minimum(one, other), np.maximum(one, other)
    inside, width, winkler = [], [], []
    for value, low, high in zip(y, lower, upper):
        inside.append(float(low <= value <= high))
        width.append(high - low)
        penalty = max(low - value, 0) + max(value - high, 0)
        winkler.append(high - low + 2 / (1 - nominal) * penalty)
    for found, expected in [
        (coverage(y, lower, upper), np.mean(inside)),
        (coverage(y, lower, upper, weights=weights), np.average(inside, weights=weights)),
        (interval_width(lower, upper), np.mean(width)),
        (interval_width(lower, upper, weights=weights), np.average(width, weights=weights)),
        (winkler_score(y, lower, upper, nominal), np.mean(winkler)),
        (
            winkler_score(y, lower, upper, nominal, weights=weights),
            np.average(winkler, weights=weights),
        ),
    ]:
        assert found == pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE)


@given(scored(columns=3), LEVELS)
def test_winkler_is_the_pinball_of_both_bounds(data, nominal):
    y, one, other, _ = data
    lower, upper = np.minimum(one, other), np.maximum(one, other)
    miss_rate = 1 - nominal
    both = pinball_loss(y, lower, miss_rate / 2) + pinball_loss(y, upper, 1 - miss_rate / 2)
    assert winkler_score(y, lower, upper, nominal) == pytest.approx(
        2 / miss_rate * both, rel=1e-8, abs=1e-6
    )


class TestWeightedQuantileLoss:
    def test_by_hand(self):
        # p = 0.1: 0.1*2 + 0.9*1 = 1.1; p = 0.5: 0.5*1 + 0.5*2 = 1.5; p = 0.9: 0.1*1 + 0.9*0 = 0.1
        y = [10.0, -20.0]
        forecasts = [[8.0, 9.0, 11.0], [-19.0, -22.0, -20.0]]
        expected = 2 * (1.1 + 1.5 + 0.1) / 30 / 3
        found = weighted_quantile_loss(y, forecasts, [0.1, 0.5, 0.9])
        assert found == pytest.approx(expected, rel=TOLERANCE)

    def test_series_and_steps_are_pooled(self):
        rng = np.random.default_rng(0)
        y = rng.normal(50, 20, (4, 6))
        y[1, 2] = y[3] = NAN
        forecasts = rng.normal(50, 20, (4, 6, 3))
        weights = rng.uniform(0, 2, (4, 6))
        levels = [0.1, 0.4, 0.9]
        losses = []
        for column, level in enumerate(levels):
            loss = size = 0.0
            for place in np.ndindex(4, 6):
                if math.isnan(y[place]):
                    continue
                error = y[place] - forecasts[(*place, column)]
                pinball = level * error if error > 0 else (level - 1) * error
                loss += weights[place] * pinball
                size += weights[place] * abs(y[place])
            losses.append(2 * loss / size)
        found = weighted_quantile_loss(y, forecasts, levels, weights=weights)
        assert found == pytest.approx(np.mean(losses), rel=TOLERANCE)

    def test_median_alone_is_mae_over_mean(self):
        y, forecast = np.array([1.0, 3.0]), np.array([2.0, 5.0])
        assert weighted_quantile_loss(y, forecast[:, None], 0.5) == pytest.approx(1.5 / 2)

    def test_no_size_no_score(self):
        assert math.isnan(weighted_quantile_loss([0.0, 0.0], [[1.0], [2.0]], [0.5]))
        assert math.isnan(weighted_quantile_loss([NAN], [[1.0]], [0.5]))

    def test_errors(self):
        with pytest.raises(ValueError, match=r"q_forecasts: expected shape \(2, 1\)"):
            weighted_quantile_loss([1.0, 2.0], [1.0, 2.0], [0.5])
        with pytest.raises(ValueError, match="levels: expected a number between 0 and 1, got 1.5"):
            weighted_quantile_loss([1.0], [[1.0, 1.0]], [0.5, 1.5])
        with pytest.raises(ValueError, match="levels: expected a list of quantile levels"):
            weighted_quantile_loss([1.0], [[1.0]], [])
        with pytest.raises(ValueError, match="q_forecasts: 1 forecasts are NaN"):
            weighted_quantile_loss([1.0, NAN], [[1.0, NAN], [NAN, NAN]], [0.1, 0.5])


class TestMase:
    def test_by_hand(self):
        # Errors 1 and 2, mean 1.5; seasonal differences 2, 2, 1, mean 5 / 3.
        assert mase([5.0, 6.0], [4.0, 4.0], [1.0, 3.0, 3.0, 5.0, 4.0], 2) == pytest.approx(0.9)

    def test_mean_over_series(self):
        rng = np.random.default_rng(1)
        y, forecast, history = (
            rng.normal(size=(3, 5)),
            rng.normal(size=(3, 5)),
            rng.normal(size=(3, 30)),
        )
        history[0, :20] = NAN
        y[1, :3] = NAN
        each = []
        for target, point, past in zip(y, forecast, history):
            steps = [abs(past[t] - past[t - 7]) for t in range(7, 30)]
            scale = np.mean([step for step in steps if not math.isnan(step)])
            errors = [abs(a - b) for a, b in zip(target, point) if not math.isnan(a)]
            each.append(np.mean(errors) / scale)
            assert mase(target, point, past, 7) == pytest.approx(each[-1], rel=TOLERANCE)
        assert mase(y, forecast, history, 7) == pytest.approx(np.mean(each), rel=TOLERANCE)
        y[1] = NAN
        assert mase(y, forecast, history, 7) == pytest.approx(np.mean(each[::2]), rel=TOLERANCE)

    def test_seasonal_naive_on_its_own_history_is_one(self):
        history = np.random.default_rng(2).normal(size=50)
        assert mase(history[7:], history[:-7], history, 7) == pytest.approx(1.0)

    def test_no_scale_no_score(self):
        assert math.isnan(mase([1.0], [2.0], [3.0, 3.0, 3.0]))
        assert math.isnan(mase([1.0], [2.0], [3.0, 4.0], 2))
        assert math.isnan(mase([[1.0], [1.0]], [[2.0], [2.0]], [[3.0, 4.0], [5.0, 5.0]]))

    def test_errors(self):
        with pytest.raises(ValueError, match=r"history: expected shape \(T,\)"):
            mase([1.0], [1.0], [[1.0, 2.0]])
        with pytest.raises(ValueError, match="season_length: expected at least 1, got 0"):
            mase([1.0], [1.0], [1.0, 2.0], 0)
        with pytest.raises(TypeError, match="season_length: expected a whole number"):
            mase([1.0], [1.0], [1.0, 2.0], 1.5)


class TestSkill:
    def test_numbers_and_arrays(self):
        assert skill(1.0, 2.0) == 0.5
        assert isinstance(skill(1.0, 2.0), float)
        np.testing.assert_allclose(skill([0.0, 2.0, 3.0], 2.0), [1.0, 0.0, -0.5])

    def test_a_perfect_baseline_has_no_skill_against_it(self):
        assert math.isnan(skill(1.0, 0.0))


class TestGaps:
    @pytest.mark.parametrize(
        "score",
        [
            lambda y, f: mae(y, f),
            lambda y, f: rmse(y, f),
            lambda y, f: pinball_loss(y, f, 0.3),
            lambda y, f: coverage(y, f - 1, f + 1),
            lambda y, f: winkler_score(y, f - 1, f + 1, 0.8),
            lambda y, f: weighted_quantile_loss(y, f[..., None], [0.3]),
        ],
    )
    def test_unknown_targets_count_for_nothing(self, score):
        y, forecast = np.array([[1.0, NAN], [4.0, 2.0]]), np.array([[2.0, NAN], [7.0, 9.0]])
        kept = ~np.isnan(y)
        assert score(y, forecast) == pytest.approx(score(y[kept], forecast[kept]), rel=TOLERANCE)
        assert math.isnan(score(np.full(2, NAN), np.ones(2)))
        with pytest.raises(ValueError, match="1 forecasts are NaN where the target is known"):
            score(np.array([1.0, 2.0]), np.array([1.0, NAN]))
        with pytest.raises(ValueError, match="y_true: expected finite numbers or NaN"):
            score(np.array([np.inf]), np.array([1.0]))

    def test_empty(self):
        assert math.isnan(mae([], []))
        assert math.isnan(interval_width([], []))

    def test_infinite_bounds(self):
        assert coverage([1.0, 2.0], [-np.inf, 3.0], [np.inf, 4.0]) == 0.5
        assert interval_width([0.0], [np.inf]) == np.inf

    def test_zero_weight_takes_out(self):
        assert interval_width([0.0, 0.0], [np.inf, 3.0], weights=[0.0, 1.0]) == 3.0
        assert math.isnan(mae([1.0], [2.0], weights=[0.0]))

    def test_pandas_input(self):
        y = pd.Series([1.0, None], dtype="Float64")
        assert mae(y, pd.Series([3.0, 4.0])) == 2.0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mae([1.0], [1.0, 2.0]), ValueError, r"y_pred: expected .* \(1,\), got \(2,\)"),
        (lambda: mae([[1.0]], [1.0]), ValueError, "y_pred: expected the shape of the targets"),
        (lambda: mae(["a"], [1.0]), TypeError, "y_true: expected numbers"),
        (lambda: mae([1.0], [1.0], weights=[1.0, 2.0]), ValueError, "weights: expected shape"),
        (lambda: mae([1.0], [1.0], weights=[-1.0]), ValueError, "weights: expected finite"),
        (lambda: pinball_loss([1.0], [1.0], 1.0), ValueError, "level: expected a number between"),
        (lambda: winkler_score([1.0], [0.0], [1.0], 80), ValueError, "nominal: expected a number"),
        (lambda: coverage([1.0, 1.0], [0.0, 2.0], [1.0, 1.0]), ValueError, r"2.0 above 1.0 at \(1"),
        (lambda: interval_width([2.0], [1.0]), ValueError, "sort the quantiles first"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()

"""The calibration of arrays: groups, rolling, delay, adaptive methods."""

import pickle

import numpy as np
import pytest
from scipy.special import ndtri

from tsfusion.uncertainty.calibration import METHODS, Calibration
from tsfusion.uncertainty.conformal import side, upper_scores

LEVELS = np.arange(0.1, 0.95, 0.1).round(1)
NORMAL = ndtri(LEVELS)


def scores_of(errors):
    """Scores (N, H, Q) of standard normal forecasts that saw ``errors`` (N, H)."""
    return np.asarray(errors)[..., None] - NORMAL


def overlapping(noise, horizon):
    """(N, H) errors of origins 0, 1, ... where the truth of step h of origin t is noise[t + h]."""
    n = len(noise) - horizon + 1
    return noise[np.arange(n)[:, None] + np.arange(horizon)]


def start(errors, series=None, n_series=1, **options):
    n = len(errors)
    series = np.zeros(n, int) if series is None else series
    return Calibration.start(
        series, np.arange(n), scores_of(errors), LEVELS, n_series=n_series, **options
    )


def interval(calibration, coverage, series=0, step=1):
    asked = [(1 - coverage) / 2, (1 + coverage) / 2]
    at = np.array([series]), np.array([step])
    return calibration.quantiles(NORMAL[None], *at, asked)[0]


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_quantiles_cover_at_levels_trained_tails_and_between(coverage):
    rng = np.random.default_rng(0)
    calibration = start(2 * rng.normal(size=(3000, 2)) + 1)
    fresh = 2 * rng.normal(size=4000) + 1
    low, high = interval(calibration, coverage)
    assert abs(((fresh >= low) & (fresh <= high)).mean() - coverage) < 0.02
    asked = [0.03, 0.15, 0.42, 0.68, 0.93, 0.98]
    found = calibration.quantiles(NORMAL[None], np.array([0]), np.array([2]), asked)[0]
    np.testing.assert_allclose(found, 1 + 2 * ndtri(asked), atol=0.25)


def test_quantiles_never_cross_and_do_not_depend_on_their_company():
    rng = np.random.default_rng(0)
    calibration = start(rng.standard_t(2, size=(25, 3)))
    asked = np.linspace(0.002, 0.998, 250)
    values = np.sort(rng.normal(size=(40, 9)))
    series, step = np.zeros(40, int), rng.integers(1, 4, 40)
    found = calibration.quantiles(values, series, step, asked)
    assert (np.diff(found, axis=1) >= 0).all()
    alone = calibration.quantiles(values, series, step, asked[[17]])
    np.testing.assert_array_equal(alone[:, 0], found[:, 17])


def test_a_series_has_its_own_corrections_from_so_many_origins_on():
    rng = np.random.default_rng(0)
    series = np.repeat([0, 1, -1], [300, 60, 60])
    errors = rng.normal(size=(420, 2)) * np.where(series == 0, 1.0, 5.0)[:, None]
    calibration = start(errors, series, n_series=2, min_origins=200)
    assert calibration.group.tolist() == [1, 0, 0]
    own, pooled = interval(calibration, 0.8, 0), interval(calibration, 0.8, 1)
    np.testing.assert_allclose(own, [-1.28, 1.28], atol=0.3)
    assert pooled[1] > 1.3 * own[1]
    np.testing.assert_array_equal(pooled, interval(calibration, 0.8, -1))
    alone = start(errors[:300], n_series=1)
    np.testing.assert_allclose(interval(alone, 0.8), own)


def test_past_the_horizon_the_last_correction_goes_on():
    calibration = start(np.random.default_rng(0).normal(size=(50, 3)))
    np.testing.assert_array_equal(
        interval(calibration, 0.8, step=9), interval(calibration, 0.8, step=3)
    )


def test_too_few_scores_widen_to_the_largest_and_say_so():
    errors = np.random.default_rng(0).normal(size=(15, 1))
    calibration = start(errors)
    zero = np.zeros(1, int)
    assert calibration.shortfall([0.1, 0.9], zero) is None
    assert "needs 19 calibration scores" in calibration.shortfall([0.1, 0.95], zero)
    high = calibration.quantiles(NORMAL[None], zero, zero + 1, [0.95])[0, 0]
    np.testing.assert_allclose(
        high, max(errors.max(), NORMAL[-1] + (errors - NORMAL[-1]).max()), rtol=1e-5
    )


def test_no_score_at_a_step_is_refused():
    errors = np.zeros((4, 3))
    errors[:, 2] = np.nan
    with pytest.raises(ValueError, match="3 steps ahead"):
        start(errors)


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="method: expected one of"):
        start(np.zeros((4, 1)), method="magic")
    with pytest.raises(ValueError, match="coverage: 'path' goes with"):
        start(np.zeros((4, 1)), method="aci", coverage="path")


def test_path_coverage_is_wider_and_covers_paths():
    noise = np.random.default_rng(0).normal(size=(3000, 4)).cumsum(axis=1)
    calibration = start(noise[:1500], coverage="path")
    asked, steps = [0.1, 0.9], np.arange(1, 5)
    zero = np.zeros(4, int)
    band = calibration.quantiles(np.tile(NORMAL, (4, 1)), zero, steps, asked)
    inside = ((noise[1500:] >= band[:, 0]) & (noise[1500:] <= band[:, 1])).all(axis=1)
    assert abs(inside.mean() - 0.8) < 0.03


@pytest.mark.parametrize("method", METHODS)
def test_rolling_in_one_go_keeps_what_rolling_step_by_step_keeps(method):
    """Scores that arrive one by one, late steps later, and all of them at once."""
    noise = np.random.default_rng(0).normal(size=73)
    errors = overlapping(noise, 4)
    first = start(errors[:40], method=method, window=50)
    bulk = first.roll(np.zeros(30, int), np.arange(40, 70), scores_of(errors[40:]), 1)
    single = first
    for now in range(40, 73):
        origin = np.arange(max(now - 3, 40), min(now + 1, 70))
        known = errors[origin].copy()
        known[origin[:, None] + np.arange(4) > now] = np.nan
        single = single.roll(np.zeros(len(origin), int), origin, scores_of(known), 1)
    np.testing.assert_array_equal(single.origin, np.arange(20, 70))
    np.testing.assert_array_equal(single.origin, bulk.origin)
    np.testing.assert_array_equal(single.scores, bulk.scores)
    np.testing.assert_array_equal(single.state, bulk.state)
    np.testing.assert_array_equal(single.corrections, bulk.corrections)


@pytest.mark.parametrize("method", METHODS)
def test_a_score_does_not_exist_before_its_step(method):
    """Change everything that is not yet known: nothing changes."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=103)
    changed = np.where(np.arange(103) > 80, 50 * rng.normal(size=103), noise)
    found = []
    for truth in (noise, changed):
        errors = overlapping(truth, 4)
        errors[np.arange(100)[:, None] + np.arange(4) > 80] = np.nan
        first = start(errors[:40], method=method)
        found.append(first.roll(np.zeros(41, int), np.arange(40, 81), scores_of(errors[40:81]), 1))
    np.testing.assert_array_equal(found[0].corrections, found[1].corrections)
    np.testing.assert_array_equal(
        np.isfinite(found[0].scores[-4:, :, 0]), np.tri(4, dtype=bool)[::-1]
    )


def test_a_known_score_stays_when_its_origin_comes_again():
    calibration = start(np.zeros((5, 2)))
    again = calibration.roll(np.zeros(5, int), np.arange(5), scores_of(np.ones((5, 2))), 1)
    np.testing.assert_array_equal(again.scores, calibration.scores)


def test_resume_is_the_first_origin_with_a_step_to_come():
    errors = np.zeros((8, 3))
    errors[6:, 2] = errors[7:, 1] = errors[2, 1] = np.nan
    calibration = start(errors, np.array([0] * 8), n_series=2)
    first, has = calibration.resume()
    assert (first[0], has.tolist()) == (6, [True, False])


@pytest.mark.parametrize("method", METHODS)
def test_follows_a_shift_of_variance(method):
    """After the spread has trebled, coverage comes back; and after it has gone back, too."""
    rng = np.random.default_rng(3)
    rate = {"cqr": None, "aci": 0.01, "tracking": 0.02}[method]
    calibration = start(rng.normal(size=(300, 1)), method=method, window=300, rate=rate)
    wide = rng.normal(size=900) * np.repeat([3.0, 1.0], [450, 450])
    covered = []
    for i in range(0, 900, 5):
        low, high = interval(calibration, 0.8)
        part = wide[i : i + 5]
        covered.append(((part >= low) & (part <= high)).mean())
        calibration = calibration.roll(
            np.zeros(5, int), 300 + i + np.arange(5), scores_of(part[:, None]), 1
        )
    covered = np.array(covered)
    assert covered[:10].mean() < 0.62
    assert abs(covered[60:90].mean() - 0.8) < 0.08
    assert abs(covered[150:].mean() - 0.8) < 0.08


@pytest.mark.parametrize("method", METHODS)
def test_all_origins_count_at_first_and_the_last_thousand_once_it_rolls(method):
    rng = np.random.default_rng(0)
    # The older half errs four times as much.
    errors = rng.normal(size=(2400, 1)) * np.repeat([4.0, 1.0], 1200)[:, None]
    first = start(errors, method=method)
    assert len(first.scores) == 2400
    np.testing.assert_array_equal(
        interval(first, 0.8), interval(start(errors, method=method, window=2400), 0.8)
    )
    rolled = first.roll(np.zeros(1, int), np.array([2400]), scores_of(errors[-1:]), 1)
    np.testing.assert_array_equal(rolled.origin, np.arange(1401, 2401))
    if method == "cqr":
        low, high = interval(rolled, 0.8)
        assert 2 < high - low < 3 < np.diff(interval(first, 0.8))[0]


def test_adaptive_methods_return_sooner_than_the_window():
    rng = np.random.default_rng(3)
    wide = 3 * rng.normal(size=200)
    covered = {}
    for method in METHODS:
        calibration = start(rng.normal(size=(600, 1)), method=method, window=600)
        inside = []
        for i in range(200):
            low, high = interval(calibration, 0.8)
            inside.append(low <= wide[i] <= high)
            calibration = calibration.roll(
                np.zeros(1, int), np.array([600 + i]), scores_of(wide[[i]][:, None]), 1
            )
        covered[method] = np.mean(inside)
    assert covered["aci"] > covered["cqr"] + 0.03
    assert covered["tracking"] > covered["cqr"] + 0.03


def test_aci_follows_the_update_of_the_paper():
    """One score at a time: the level rises by rate * (miss - alpha), of both sides apart."""
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=(60, 1)), 2 * rng.normal(size=12)
    calibration = start(old, method="aci", rate=0.05)
    grid = calibration.grid
    sign, nominal = side(grid)
    level = nominal.copy()
    known = upper_scores(scores_of(old).astype(np.float32), list(LEVELS), list(grid))[:, 0]
    for i, error in enumerate(new):
        n = len(known)
        place = np.clip(np.ceil((n + 1) * level - 1e-9), 1, n).astype(int) - 1
        bound = np.take_along_axis(np.sort(known, axis=0), place[None], 0)[0]
        middle = level == 0.5
        bound[middle] = np.median(known[:, middle], axis=0)
        score = upper_scores(scores_of([[error]]).astype(np.float32), list(LEVELS), list(grid))[
            0, 0
        ]
        level = np.clip(level + 0.05 * ((score > bound) - (1 - nominal)), 0, 1)
        known = np.concatenate([known, score[None]])[-60:]
        calibration = calibration.roll(
            np.zeros(1, int), np.array([60 + i]), scores_of([[error]]), 1
        )
        np.testing.assert_allclose(calibration.state[0, 0], level, atol=1e-12)


def test_a_new_series_is_corrected_by_all_until_it_has_enough():
    rng = np.random.default_rng(0)
    calibration = start(rng.normal(size=(60, 1)), min_origins=50, method="aci")
    grown = calibration.roll(
        np.ones(20, int), np.arange(20), scores_of(rng.normal(size=(20, 1))), 2
    )
    assert grown.group.tolist() == [1, 0, 0]
    grown = grown.roll(np.ones(40, int), np.arange(20, 60), scores_of(rng.normal(size=(40, 1))), 2)
    assert grown.group.tolist() == [1, 2, 0]
    assert np.isfinite(grown.corrections).all()


@pytest.mark.parametrize("method", METHODS)
def test_is_plain_and_pickles_without_what_follows_from_it(method):
    calibration = start(np.random.default_rng(0).normal(size=(50, 2)), method=method)
    before = interval(calibration, 0.9)
    copied = pickle.loads(pickle.dumps(calibration))
    assert {type(value) for value in vars(copied).values()} <= {str, int, float, np.ndarray}
    np.testing.assert_array_equal(interval(copied, 0.9), before)

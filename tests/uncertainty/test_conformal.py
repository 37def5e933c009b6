"""Conformal quantiles and corrections, against loops and known distributions."""

import numpy as np
import pytest

from tsfusion.uncertainty.conformal import (
    conformal_quantile,
    path_corrections,
    scores_needed,
    step_corrections,
    upper_scores,
)

LEVELS = [0.1, 0.25, 0.5, 0.75, 0.9]
NORMAL = np.array([-1.2816, -0.6745, 0.0, 0.6745, 1.2816])


def by_hand(scores, level):
    """The smallest score that ceil((n + 1) level) scores do not exceed, else the largest."""
    known = sorted(score for score in scores if not np.isnan(score))
    for score in known:
        if sum(other <= score for other in known) >= np.ceil(round((len(known) + 1) * level, 9)):
            return score
    return known[-1] if known else np.nan


@pytest.mark.parametrize("n", [1, 2, 9, 10, 19, 57])
def test_conformal_quantile_is_the_loop(n):
    rng = np.random.default_rng(n)
    scores = rng.normal(size=(n, 7)).round(1)
    scores[rng.random(scores.shape) < 0.2] = np.nan
    for level in (0.05, 0.1, 0.5, 0.75, 0.8, 0.9, 0.95, 0.995):
        found = conformal_quantile(scores, level)
        np.testing.assert_array_equal(found, [by_hand(column, level) for column in scores.T])


def test_conformal_quantile_takes_a_level_for_each_column():
    scores = np.arange(1.0, 10.0)[:, None].repeat(2, axis=1)
    assert conformal_quantile(scores, np.array([0.5, 0.9])).tolist() == [5, 9]


def test_of_overlapping_scores_fewer_count():
    scores = np.arange(1.0, 101.0)[:, None].repeat(3, axis=1)
    assert conformal_quantile(scores, 0.9, np.array([1.0, 3.0, 5.0])).tolist() == [91, 93, 95]
    assert [scores_needed(0.9, c) for c in (1.0, 3.0, 5.0)] == [9, 27, 45]
    moved = step_corrections(scores[..., None], [0.9], np.array([1.0, 3.0, 5.0]))
    assert moved.ravel().tolist() == [91, 93, 95]


def test_corrections_of_forecasts_from_each_cutoff_cover_on_average():
    """Errors of a random walk 24 steps ahead, 150 cutoffs: counted as so many, they cover less."""
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(600):
        walk = np.append(0, rng.normal(size=500).cumsum())
        errors = walk[24:] - walk[:-24]
        old, new = errors[:150], errors[200::24]
        covered.append([
            (new <= conformal_quantile(old, 0.8, overlap)).mean() for overlap in (1.0, 12.5)
        ])  # fmt: skip
    plain, with_overlap = np.mean(covered, axis=0)
    assert plain < 0.79
    assert 0.8 < with_overlap < 0.85


def test_of_no_scores_is_nan():
    assert np.isnan(conformal_quantile(np.zeros((0, 2)), 0.9)).all()


def test_scores_needed_is_the_least_that_is_not_widened():
    for level in (0.005, 0.05, 0.1, 0.2, 0.5, 0.75, 0.8, 0.9, 0.95, 0.975, 0.99):
        upper = max(level, 1 - level)
        n = scores_needed(level)
        assert np.ceil(round((n + 1) * upper, 9)) <= n
        assert n == 1 or np.ceil(round(n * upper, 9)) > n - 1


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_finite_sample_coverage(level):
    """Coverage of one more score lies in [level, level + 1 / (n + 1)], Romano et al. Theorem 1."""
    n, trials = 39, 20_000
    draws = np.random.default_rng(0).exponential(size=(n + 1, trials))
    covered = (draws[-1] <= conformal_quantile(draws[:-1], level)).mean()
    error = 4 * np.sqrt(level * (1 - level) / trials)
    assert level - error <= covered <= level + 1 / (n + 1) + error


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_intervals_cover_whatever_the_quantiles(coverage, width):
    """Forecasts half as wide as they should be, right, or twice as wide; with a bias."""
    rng = np.random.default_rng(1)
    asked = [(1 - coverage) / 2, (1 + coverage) / 2]
    quantiles = width * NORMAL + 0.3
    sizes = rng.choice([1.0, 3.0], (4000, 2, 1))
    errors = sizes * rng.normal(size=(4000, 2, 1))
    scores = errors - sizes * quantiles
    upper = upper_scores(scores, LEVELS, asked)
    moved = step_corrections(upper[:2000], asked)
    inside = (upper[2000:] <= moved).all(axis=-1)
    assert abs(inside.mean() - coverage) < 0.02


def test_each_side_is_missed_as_often_as_it_says():
    """Skewed errors, forecast as if they were not: one correction for both would miss one side."""
    errors = np.random.default_rng(4).exponential(size=(8000, 1)) - 1
    scores = errors[..., None] - NORMAL
    asked = [0.1, 0.9]
    upper = upper_scores(scores, LEVELS, asked)
    missed = (upper[4000:] > step_corrections(upper[:4000], asked)).mean(axis=(0, 1))
    np.testing.assert_allclose(missed, 0.1, atol=0.02)
    both = conformal_quantile(upper[:4000].max(axis=-1), 0.8)
    missed = (upper[4000:] > both[:, None]).mean(axis=(0, 1))
    assert missed[0] < 0.07
    assert missed[1] > 0.13


def test_the_median_is_moved_by_the_plain_median():
    scores = np.array([1.0, 2.0, 3.0, 10.0])[:, None, None]
    assert step_corrections(upper_scores(scores, [0.5], [0.5]), [0.5]).item() == 2.5
    assert step_corrections(upper_scores(scores[:3], [0.5], [0.5]), [0.5]).item() == 2


def test_upper_scores_of_a_level_in_between_are_those_of_its_quantile():
    from tsfusion.quantiles import interpolate_quantiles

    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.normal(size=(30, 2, 5)))
    y = rng.normal(size=(30, 2, 1))
    asked = [0.03, 0.33, 0.5, 0.6, 0.99]
    found = upper_scores(y - quantiles, LEVELS, asked)
    expected = (y - interpolate_quantiles(quantiles, LEVELS, asked)) * [-1, -1, 1, 1, 1]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_path_bands_cover_whole_paths(coverage):
    rng = np.random.default_rng(2)
    errors = rng.normal(size=(4000, 6)).cumsum(axis=1)
    scores = errors[..., None] - NORMAL
    asked = [(1 - coverage) / 2, (1 + coverage) / 2]
    moved = path_corrections(scores[:2000], LEVELS, asked)
    inside = (upper_scores(scores[2000:], LEVELS, asked) <= moved).all(axis=(1, 2))
    assert abs(inside.mean() - coverage) < 0.03
    steps = step_corrections(upper_scores(scores[:2000], LEVELS, asked), asked)
    single = (upper_scores(scores[2000:], LEVELS, asked) <= steps).all(axis=(1, 2))
    assert single.mean() < inside.mean() - 0.03


def test_path_bands_are_as_wide_as_each_step_needs():
    """Every step is left about as often, though the last errs ten times as far."""
    errors = np.random.default_rng(3).normal(size=(4000, 5)) * np.linspace(1, 10, 5)
    scores = errors[..., None] - np.linspace(1, 10, 5)[:, None] * NORMAL
    moved = path_corrections(scores, LEVELS, [0.1, 0.9])
    left = (upper_scores(scores, LEVELS, [0.1, 0.9]) > moved).any(axis=-1).mean(axis=0)
    np.testing.assert_allclose(left, 0.044, atol=0.012)


def test_path_bands_leave_out_origins_with_an_unknown_step():
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(50, 3, 1)) - NORMAL
    lacking = np.concatenate([scores, scores])
    lacking[50:, 2] = np.nan
    np.testing.assert_array_equal(
        path_corrections(lacking, LEVELS, [0.1, 0.9]), path_corrections(scores, LEVELS, [0.1, 0.9])
    )

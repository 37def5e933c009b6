"""Sample paths: their marginals, their dependence, their sums."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from tsfusion.quantiles import interpolate_quantiles
from tsfusion.uncertainty.calibration import Calibration
from tsfusion.uncertainty.paths import dependent_uniforms, normal_scores, quantiles_at

LEVELS = np.arange(0.1, 0.95, 0.1).round(1)


def random_walk(n, steps, seed):
    return np.random.default_rng(seed).normal(size=(n, steps)).cumsum(axis=1)


def calibrated(errors, forecast, n_series=1):
    n = len(errors)
    return Calibration.start(
        np.zeros(n, int), np.arange(n), errors[..., None] - forecast, LEVELS, n_series=n_series
    )


def test_normal_scores_undo_quantiles():
    z = np.linspace(-3, 3, 41)
    quantiles = 5 + 2 * ndtri(LEVELS)
    np.testing.assert_allclose(normal_scores((5 + 2 * z)[:, None] - quantiles, LEVELS), z)


def test_normal_scores_of_quantiles_that_coincide_are_finite():
    assert np.isfinite(normal_scores(np.array([[0.0, 0.0], [1.0, 1.0]]), [0.1, 0.9])).all()


def test_quantiles_at_interpolates_as_the_estimator():
    values = np.sort(np.random.default_rng(0).normal(size=(4, 9)))
    asked = [0.01, 0.1, 0.33, 0.9, 0.97]
    found = quantiles_at(values, LEVELS, np.tile(asked, (4, 1)))
    np.testing.assert_allclose(found, interpolate_quantiles(values, list(LEVELS), asked))


@pytest.mark.parametrize("n_paths", [1, 7, 50, 120])
def test_uniforms_have_one_number_in_each_part(n_paths):
    drawn = dependent_uniforms(random_walk(50, 4, 0), n_paths, np.random.RandomState(0))
    assert drawn.shape == (n_paths, 4)
    parts = np.sort(np.floor(drawn * n_paths), axis=0)
    np.testing.assert_array_equal(parts, np.tile(np.arange(n_paths)[:, None], (1, 4)))


def test_uniforms_depend_as_the_template_does():
    walks = random_walk(2000, 6, 0)
    drawn = ndtri(dependent_uniforms(walks, 2000, np.random.RandomState(0)))
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.corrcoef(walks.T), atol=0.03)


def test_marginals_of_paths_are_the_quantiles():
    steps = np.arange(1, 7)
    forecast = 0.5 * np.sqrt(steps)[:, None] * ndtri(LEVELS)
    calibration = calibrated(random_walk(600, 6, 0), forecast)
    zero = np.zeros(6, int)
    paths = calibration.paths(forecast, zero, steps, 200, 0)
    asked = [0.05, 0.1, 0.25, 0.5, 0.77, 0.95]
    quantiles = calibration.quantiles(forecast, zero, steps, asked)
    below = (paths[:, None, :] <= quantiles[:, :, None]).sum(axis=-1)
    np.testing.assert_array_equal(below, np.tile(np.rint(np.multiply(asked, 200)), (6, 1)))


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_sums_of_paths_cover(coverage):
    """Of a random walk, whose steps' quantiles alone do not say how its sum is spread."""
    steps = np.arange(1, 9)
    forecast = 0.5 * np.sqrt(steps)[:, None] * ndtri(LEVELS)
    calibration = calibrated(random_walk(1500, 8, 0), forecast)
    paths = calibration.paths(forecast, np.zeros(8, int), steps, 1500, 0)
    low, high = np.quantile(paths.sum(axis=0), [(1 - coverage) / 2, (1 + coverage) / 2])
    sums = random_walk(4000, 8, 1).sum(axis=1)
    assert abs(((sums >= low) & (sums <= high)).mean() - coverage) < 0.03
    apart = np.sqrt((steps.astype(float)).sum()) * ndtri((1 + coverage) / 2)
    assert high > 1.3 * apart


def test_paths_past_the_horizon_and_without_origins_are_refused():
    forecast = np.tile(ndtri(LEVELS), (3, 1))
    calibration = calibrated(random_walk(30, 3, 0), forecast)
    values = np.tile(ndtri(LEVELS), (4, 1))
    with pytest.raises(ValueError, match="at most the 3 steps"):
        calibration.paths(values, np.zeros(4, int), np.arange(1, 5), 5, 0)
    errors = random_walk(3, 3, 0)
    errors[:2, 1] = np.nan
    few = calibrated(errors, forecast)
    with pytest.raises(ValueError, match="at least two calibration origins"):
        few.paths(forecast, np.zeros(3, int), np.arange(1, 4), 5, 0)


def test_paths_are_those_of_single_steps_where_bands_cover_paths():
    forecast = np.tile(ndtri(LEVELS), (3, 1))
    errors = random_walk(300, 3, 0)
    found = [
        Calibration.start(
            np.zeros(300, int), np.arange(300), errors[..., None] - forecast, LEVELS, n_series=1,
            coverage=coverage,
        ).paths(forecast, np.zeros(3, int), np.arange(1, 4), 50, 0)
        for coverage in ("step", "path")
    ]  # fmt: skip
    np.testing.assert_array_equal(*found)


def test_series_are_drawn_apart_and_levels_uniform():
    calibration = calibrated(random_walk(400, 2, 0), np.tile(ndtri(LEVELS), (2, 1)), n_series=2)
    values = np.tile(ndtri(LEVELS), (4, 1))
    codes, steps = np.array([0, 0, -1, -1]), np.array([1, 2, 1, 2])
    paths = calibration.paths(values, codes, steps, 400, 0)
    assert np.corrcoef(paths)[0, 1] > 0.5
    assert abs(np.corrcoef(paths)[0, 2]) < 0.2
    # Two series that are not in memory, in any order and company.
    key = np.array([-7, -7, 5, 5])
    apart = calibration.paths(values, np.full(4, -1), steps, 400, 0, key)
    assert abs(np.corrcoef(apart)[0, 2]) < 0.2
    turned = calibration.paths(values, np.full(4, -1), steps[::-1], 400, 0, key[::-1])
    np.testing.assert_array_equal(turned[::-1], apart)
    alone = calibration.paths(values[:2], np.full(2, -1), steps[:2], 400, 0, key[2:])
    np.testing.assert_array_equal(alone, apart[2:])
    assert ndtr(0) == 0.5

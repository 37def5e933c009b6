"""Any level, and the mean, from some quantiles; scipy's distributions are the truth."""

import numpy as np
import pytest
from scipy import stats

from tsfusion.quantiles import check_levels, interpolate_quantiles, mean_of_quantiles

LEVELS = tuple(round(0.1 * i, 1) for i in range(1, 10))


def test_a_normal_distribution_comes_out_exactly():
    law = stats.norm(3, 2)
    values = law.ppf(LEVELS)[None]
    asked = [0.01, 0.25, 0.5, 0.77, 0.99]
    np.testing.assert_allclose(interpolate_quantiles(values, LEVELS, asked)[0], law.ppf(asked))
    np.testing.assert_allclose(mean_of_quantiles(values, LEVELS), 3)


def test_trained_levels_come_out_unchanged_and_none_cross():
    values = np.sort(np.random.default_rng(0).gamma(1, size=(50, 9)), axis=1)
    np.testing.assert_allclose(interpolate_quantiles(values, LEVELS, LEVELS), values)
    fine = interpolate_quantiles(values, LEVELS, np.linspace(0.01, 0.99, 99))
    assert (np.diff(fine, axis=1) >= 0).all()


def test_the_mean_of_a_skewed_distribution_is_near():
    law = stats.gamma(4)
    fine = np.linspace(0.005, 0.995, 199)
    np.testing.assert_allclose(mean_of_quantiles(law.ppf(fine)[None], fine), 4, rtol=0.01)


def test_one_level_serves_for_all():
    assert interpolate_quantiles(np.array([[2.0]]), [0.5], [0.1, 0.9]).tolist() == [[2.0, 2.0]]


@pytest.mark.parametrize(
    "bad", [(0.5, 0.5), (0,), (1.0,), (), "half", (0.1, None), (0.1234567, 0.1234568)]
)
def test_bad_levels(bad):
    with pytest.raises(ValueError, match=r"quantiles: expected"):
        check_levels(bad)

"""Ways from one past to another: level and spread move evenly, and the speed is the slope."""

import numpy as np

from tsfusion.explain.curves import Curve


def test_level_and_spread_move_evenly():
    rng = np.random.default_rng(0)
    b, x = rng.normal(size=(3, 30, 2)), 5 + 3 * rng.normal(size=(3, 30, 2))
    place = np.tile(np.linspace(0, 1, 9), (3, 1))
    values, _ = Curve.between(b, x).at(place)
    share = np.linspace(0, 1, 9)[None, :, None]
    for statistic in (np.mean, np.std):
        ends = (statistic(part, axis=1)[:, None] for part in (b, x))
        start, end = ends
        np.testing.assert_allclose(
            statistic(values, axis=2), start + share * (end - start), rtol=1e-4
        )
    np.testing.assert_allclose(values[:, 0], b, atol=1e-5)
    np.testing.assert_allclose(values[:, -1], x, atol=1e-5)
    # A straight line would lose a third of the spread on half the way.
    assert ((b + x) / 2).std(axis=1).mean() < 0.85 * values[:, 4].std(axis=1).mean()


def test_the_speed_is_the_slope_of_the_values():
    rng = np.random.default_rng(1)
    b, x = rng.normal(size=(2, 12, 3)), rng.normal(size=(2, 12, 3))
    x[:, :, 1] = -2 * b[:, :, 1]  # opposite: half the way would have no spread to keep
    b[:, :, 2] = 4.0
    curve = Curve.between(b, x)
    place = np.tile([0.1, 0.49, 0.5, 0.9], (2, 1))
    _, speed = curve.at(place)
    ends = [curve.at(place + side)[0].astype(float) for side in (1e-2, -1e-2)]
    np.testing.assert_allclose((ends[0] - ends[1]) / 2e-2, speed, atol=2e-2, rtol=2e-2)


def test_equal_cells_move_alike_and_unknown_ones_count_for_nothing():
    rng = np.random.default_rng(2)
    b, x = rng.normal(size=(1, 10, 1)), rng.normal(size=(1, 10, 1))
    b[0, 3], x[0, 3] = b[0, 7], x[0, 7]
    place = np.array([[0.0, 0.2, 0.7, 1.0]])
    values, speed = Curve.between(b, x).at(place)
    np.testing.assert_array_equal(values[:, :, 3], values[:, :, 7])
    np.testing.assert_array_equal(speed[:, :, 3], speed[:, :, 7])
    padded = [np.concatenate([part, np.full((1, 4, 1), np.nan)], axis=1) for part in (b, x)]
    padded[0][0, 10] = 1e9  # known at one end alone
    again, _ = Curve.between(*padded).at(place)
    np.testing.assert_allclose(again[:, :, :10], values, atol=1e-6)
    assert np.isfinite(again).all()


def test_constant_and_empty_windows():
    place = np.array([[0.0, 0.5, 1.0]])
    constant = np.full((1, 5, 1), 3e6)
    moving = np.arange(5.0).reshape(1, 5, 1)
    values, speed = Curve.between(constant, moving).at(place)
    np.testing.assert_allclose(values[0, 0], constant[0])
    np.testing.assert_allclose(values[0, 2], moving[0], atol=0.3)
    assert np.isfinite(speed).all()
    same, still = Curve.between(constant, constant).at(place)
    np.testing.assert_array_equal(same, np.full((1, 3, 5, 1), 3e6))
    np.testing.assert_array_equal(still, 0)
    for part in Curve.between(np.full((1, 5, 1), np.nan), moving).at(place):
        assert np.isfinite(part).all()

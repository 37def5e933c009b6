"""The quantile head against its formula; quantiles that cannot cross."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from keras import ops

from tests.components.formulas_tft import normal, randomize
from tsfusion.components import QuantileHead

pytestmark = pytest.mark.backends


def formula(z: np.ndarray, m: int) -> np.ndarray:
    y = z.copy()
    for j in range(m + 1, z.shape[-1]):
        y[..., j] = y[..., j - 1] + np.log1p(np.exp(z[..., j]))
    for j in range(m - 1, -1, -1):
        y[..., j] = y[..., j + 1] - np.log1p(np.exp(z[..., j]))
    return y


@pytest.mark.parametrize(
    ("levels", "middle"),
    [([0.5], 0), ([0.9], 0), ([0.1, 0.5, 0.9], 1), ([0.6, 0.8], 0), ([0.1, 0.2, 0.3, 0.45], 3)],
)
def test_formula(levels: list[float], middle: int) -> None:
    x = normal(2, 3, 4)
    layer = QuantileHead(levels)
    layer.build(x.shape)
    kernel, bias = randomize(layer)
    assert layer.middle == middle
    found = ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(found, formula(x @ kernel + bias, middle), atol=2e-6)


def test_quantiles_never_cross_whatever_the_weights() -> None:
    layer = QuantileHead(np.linspace(0.01, 0.99, 25))
    layer.build((None, None, 4))
    for weight in layer.weights:
        weight.assign(normal(*weight.shape, seed=4) * 100)
    found = ops.convert_to_numpy(layer(normal(50, 7, 4) * 100))
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=-1) >= 0).all()


def test_starts_at_the_standard_normal_quantiles() -> None:
    levels = [0.05, 0.3, 0.5, 0.9]
    found = ops.convert_to_numpy(QuantileHead(levels)(np.zeros((1, 1, 3), "float32")))
    expected = [NormalDist().inv_cdf(level) for level in levels]
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize("levels", [[], [0.5, 0.5], [0.9, 0.1], [0.0, 0.5], [0.5, 1.0], 0.5, "ab"])
def test_bad_levels(levels: object) -> None:
    with pytest.raises(ValueError, match=r"`levels` to be increasing numbers in \(0, 1\)"):
        QuantileHead(levels)

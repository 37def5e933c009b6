"""Instance scaling against NumPy's statistics, and windows that tell little or nothing."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras import ops

from tests.components.formulas_tft import arrays, normal
from tsfusion.components import InstanceScaling

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("method", ["standard", "robust"])
def test_formula(method: str, masked: bool) -> None:
    x = normal(3, 9, 2) * 5 + 20
    mask = np.random.default_rng(1).random(x.shape) < 0.7 if masked else np.ones(x.shape, bool)
    layer = InstanceScaling(method)
    given = np.where(mask, x, np.nan).astype("float32")
    z, loc, scale = arrays(layer(given, mask=mask))
    for b, v in np.ndindex(3, 2):
        known = x[b, mask[b, :, v], v]
        if method == "standard":
            centre, spread = known.mean(), known.std()
        else:
            low, centre, high = np.quantile(known, [0.25, 0.5, 0.75])
            spread = (high - low) / 1.3489795
        np.testing.assert_allclose([loc[b, 0, v], scale[b, 0, v]], [centre, spread], rtol=1e-4)
        np.testing.assert_allclose(z[b, mask[b, :, v], v], (known - centre) / spread, atol=1e-4)
    assert (z[~mask] == 0).all()
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.inverse(z, loc, scale))[mask], x[mask], rtol=1e-5
    )


@pytest.mark.parametrize("method", ["standard", "robust"])
@pytest.mark.parametrize("size", [1e-9, 1e-4, 1.0, 1e6, 1e12, 1e30])
def test_any_size(size: float, method: str) -> None:
    x = (normal(2, 12, 1) * size).astype("float32")
    layer = InstanceScaling(method)
    z, loc, scale = arrays(layer(x))
    assert all(np.isfinite(part).all() for part in (z, loc, scale))
    assert (scale > 0).all()
    reference = arrays(layer(normal(2, 12, 1)))[0]
    np.testing.assert_allclose(z, reference, atol=1e-4)


@pytest.mark.parametrize("method", ["standard", "robust"])
@pytest.mark.parametrize("value", [0.0, 1e-9, -0.1, 3.3, 1e12, -1e30])
def test_a_constant_window_becomes_zeros(value: float, method: str) -> None:
    x = np.full((1, 50, 1), value, "float32")
    layer = InstanceScaling(method)
    z, loc, scale = arrays(layer(x))
    np.testing.assert_allclose(loc[0, 0, 0], value, rtol=1e-5)
    assert scale[0, 0, 0] == pytest.approx(max(abs(value), 1), rel=1e-5)
    assert np.abs(z).max() < 1e-5
    scale = arrays(layer(x, fallback_scale=np.full((1, 1), 7.0, "float32")))[2]
    assert scale[0, 0, 0] == 7.0


def test_float_noise_on_a_level_counts_as_constant() -> None:
    x = (1e6 + normal(1, 40, 1) * 0.1).astype("float32")
    z, _, scale = arrays(InstanceScaling()(x))
    assert scale[0, 0, 0] == pytest.approx(1e6, rel=1e-4)
    assert np.abs(z).max() < 1e-4


@pytest.mark.parametrize("method", ["standard", "robust"])
def test_nothing_known(method: str) -> None:
    x = np.full((2, 4, 2), np.nan, "float32")
    layer = InstanceScaling(method)
    z, loc, scale = arrays(layer(x))
    assert (z == 0).all()
    assert (loc == 0).all()
    assert (scale == 1).all()
    known = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
    _, loc, scale = arrays(layer(x, fallback_loc=known, fallback_scale=known * 10))
    np.testing.assert_array_equal(loc[:, 0], known)
    np.testing.assert_array_equal(scale[:, 0], known * 10)


def test_mostly_equal_values_do_not_divide_by_a_spread_of_zero() -> None:
    x = np.zeros((1, 20, 1), "float32")
    x[0, ::7] = 5.0
    z, _, scale = arrays(InstanceScaling("robust")(x))
    assert scale[0, 0, 0] == pytest.approx(x.std(), rel=1e-4)
    assert np.abs(z).max() < 10


def test_statistics_are_float32_under_mixed_precision() -> None:
    x = (normal(2, 30, 1) + 1000).astype("float32")
    exact = arrays(InstanceScaling()(x))
    z, loc, scale = InstanceScaling(dtype="mixed_bfloat16")(x)
    assert keras.backend.standardize_dtype(z.dtype) == "bfloat16"
    np.testing.assert_array_equal(ops.convert_to_numpy(loc), exact[1])
    np.testing.assert_array_equal(ops.convert_to_numpy(scale), exact[2])
    z = ops.convert_to_numpy(ops.cast(z, "float32"))
    np.testing.assert_allclose(z, exact[0], atol=0.02)


def test_errors() -> None:
    with pytest.raises(ValueError, match="`method` to be one of"):
        InstanceScaling("minmax")
    for epsilon in (0, -1.0, 1.0, "a", True):
        with pytest.raises(ValueError, match=r"`epsilon` to be a number in \(0, 1\)"):
            InstanceScaling(epsilon=epsilon)
    with pytest.raises(ValueError, match=r"`inputs` of shape \(B, T, V\)"):
        InstanceScaling()(normal(2, 3))


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e12])
def test_a_prior_counts_as_further_values(size: float) -> None:
    x = (np.array([[1.0, 1.1, np.nan], [1.0, 5.0, 3.0], [2.0, 2.0, 2.0]]) * size)[..., None]
    usual = np.full((3, 1), 2.0 * size, "float32")
    layer = InstanceScaling(prior_steps=1.5)
    _, _, scale = arrays(layer(x.astype("float32"), fallback_scale=usual))
    expected = [
        np.sqrt((n * row.std() ** 2 + 1.5 * (2 * size) ** 2) / (n + 1.5))
        for row, n in ((x[0, :2], 2), (x[1], 3))
    ]
    # A constant window says nothing of its spread.
    np.testing.assert_allclose(scale[:, 0, 0], [*expected, 2 * size], rtol=1e-4)


def test_parameters_may_be_numpy_numbers():
    layer = InstanceScaling(epsilon=np.float32(1e-3), prior_steps=np.int64(4))
    assert json.loads(json.dumps(layer.get_config()))["prior_steps"] == 4

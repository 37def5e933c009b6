from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.components.cases import values
from tests.components.formulas import randomise, weights_of
from tsfusion.components import LearnedNormalization

pytestmark = pytest.mark.backends


def test_formula() -> None:
    layer = LearnedNormalization(epsilon=1e-3)
    x = values(2, 3, 5)
    layer(x)
    randomise(layer)
    w = weights_of(layer)
    expected = (x - w["mean"]) / (np.log1p(np.exp(w["raw_std"])) + 1e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-5)


def test_starts_as_the_identity() -> None:
    x = values(2, 3, 5)
    np.testing.assert_allclose(ops.convert_to_numpy(LearnedNormalization()(x)), x, rtol=1e-5)


def test_adapt() -> None:
    layer = LearnedNormalization()
    x = (1000 + 5 * values(40, 6, 3)).astype("float64")
    x[:, :, 2] = 7.0
    x[3, 2, 0] = np.nan
    mask = np.ones((40, 6), bool)
    mask[:5] = False
    layer.adapt(x, mask=mask)
    counted = x[5:].reshape(-1, 3)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.mean), np.nanmean(counted, 0), rtol=1e-5)
    expected = np.nanstd(counted, axis=0)
    expected[2] = 1.0
    np.testing.assert_allclose(ops.convert_to_numpy(layer.std), expected, rtol=1e-4)
    scaled = ops.convert_to_numpy(layer(x[5:].astype("float32")))
    np.testing.assert_allclose(scaled.mean(axis=(0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(scaled[..., :2].std(axis=(0, 1)), 1, atol=1e-3)


def test_adapt_without_values_and_with_tensors() -> None:
    layer = LearnedNormalization()
    layer.adapt(ops.convert_to_tensor(np.full((4, 2), np.nan, "float32")))
    assert ops.convert_to_numpy(layer.mean).tolist() == [0, 0]
    np.testing.assert_allclose(ops.convert_to_numpy(layer.std), 1, rtol=1e-5)
    layer.adapt(np.array([[1, 10], [3, 30]]))
    np.testing.assert_allclose(ops.convert_to_numpy(layer.mean), [2, 20], rtol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.std), [1, 10], rtol=1e-5)


def test_deviation_stays_positive_whatever_training_does() -> None:
    layer = LearnedNormalization(epsilon=1e-4)
    layer.build((None, 3))
    for raw in (-1e4, -1e30, 0.0, 1e4):
        layer.raw_std.assign(np.full(3, raw, "float32"))
        std = ops.convert_to_numpy(layer.std)
        assert (std >= 1e-4 * (1 - 1e-6)).all()
        assert np.isfinite(ops.convert_to_numpy(layer(values(2, 3)))).all()


def test_trains_after_adapting() -> None:
    layer = LearnedNormalization()
    x = values(8, 3)
    layer.adapt(x)
    before = [ops.convert_to_numpy(weight).copy() for weight in layer.trainable_weights]
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    model.train_on_batch(x, 3 * x + 1)
    for weight, old in zip(layer.trainable_weights, before):
        assert np.abs(ops.convert_to_numpy(weight) - old).max() > 1e-4


def test_half_precision_keeps_large_numbers_apart() -> None:
    layer = LearnedNormalization(dtype="mixed_bfloat16")
    x = np.array([[10000.0], [10001.0], [10002.0]], "float32")
    layer.adapt(x)
    found = ops.convert_to_numpy(ops.cast(layer(x), "float32"))[:, 0]
    np.testing.assert_allclose(found, [-1.2247, 0, 1.2247], atol=0.02)


@pytest.mark.parametrize("epsilon", [0, -1.0, float("nan"), float("inf"), "1", True])
def test_bad_epsilon(epsilon: object) -> None:
    with pytest.raises(ValueError, match="expected `epsilon` to be a finite number > 0, received"):
        LearnedNormalization(epsilon=epsilon)


def test_bad_inputs() -> None:
    layer = LearnedNormalization()
    layer.adapt(values(4, 3))
    with pytest.raises(ValueError, match="expected `inputs` of width 3.* received width 2"):
        layer(values(4, 2))
    with pytest.raises(ValueError, match="received width 2"):
        layer.adapt(values(4, 2))
    with pytest.raises(ValueError, match="received inf"):
        layer.adapt(np.array([[1.0, 2.0, np.inf]]))
    with pytest.raises(ValueError, match=r"expected `mask` of shape \(4,\), received"):
        layer.adapt(values(4, 3), mask=np.ones(3, bool))
    with pytest.raises(ValueError, match="expected one tensor"):
        LearnedNormalization()([values(2, 3), values(2, 3)])

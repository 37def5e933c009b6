"""The gated linear unit against its formula."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.components.formulas_tft import normal, randomize, sigmoid
from tsfusion.components import GatedLinearUnit

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 5), (2, 3, 4, 5)])
def test_formula(shape: tuple[int, ...]) -> None:
    x = normal(*shape)
    layer = GatedLinearUnit(4)
    layer.build(x.shape)
    kernel, bias = randomize(layer)
    expected = sigmoid(x @ kernel[:, :4] + bias[:4]) * (x @ kernel[:, 4:] + bias[4:])
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-6)


def test_dropout_drops_a_feature_at_all_steps() -> None:
    layer = GatedLinearUnit(4, dropout_rate=0.5)
    x = np.ones((2, 6, 5), "float32")
    outputs = ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_allclose(outputs, np.repeat(outputs[:, :1], 6, axis=1), atol=1e-7)
    assert np.abs(outputs - ops.convert_to_numpy(layer(x))).max() > 1e-3


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"units": 0}, "`units` to be an integer >= 1, received 0"),
        ({"units": 2.5}, "`units` to be an integer >= 1, received 2.5"),
        ({"units": 2, "dropout_rate": 1}, "`dropout_rate` to be a number in"),
    ],
)
def test_bad_parameters(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match="GatedLinearUnit: expected") as error:
        GatedLinearUnit(**kwargs)
    assert message in str(error.value)


def test_bad_shape() -> None:
    with pytest.raises(ValueError, match=r"expected `inputs` of shape \(\.\.\., D\)"):
        GatedLinearUnit(2).build((3, None))

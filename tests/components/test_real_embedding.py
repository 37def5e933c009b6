"""The embedding of real variables against its formula."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.components.formulas_tft import normal, randomize
from tsfusion.components import RealEmbedding

pytestmark = pytest.mark.backends


def test_formula() -> None:
    x = normal(2, 3, 4)
    layer = RealEmbedding(5)
    layer.build(x.shape)
    kernel, bias = randomize(layer)
    found = ops.convert_to_numpy(layer(x))
    for v in range(4):
        expected = x[:, :, v, None] * kernel[v] + bias[v]
        np.testing.assert_allclose(found[:, :, v], expected, atol=1e-6)


def test_errors() -> None:
    with pytest.raises(ValueError, match="`units` to be an integer >= 1, received None"):
        RealEmbedding(None)
    with pytest.raises(ValueError, match=r"`inputs` of shape \(B, T, V\), received shape \(2, 3\)"):
        RealEmbedding(4).build((2, 3))

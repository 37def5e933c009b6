"""Patches against their formula, one token at a time."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.components.formulas_tft import normal, randomize
from tsfusion.components import PatchEmbedding

pytestmark = pytest.mark.backends

SIZES = [(3, None), (3, 3), (3, 2), (3, 1), (1, None), (10, None), (4, 3)]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("length", "stride"), SIZES)
@pytest.mark.parametrize("steps", [1, 6, 7, 8])
def test_formula(steps: int, length: int, stride: int | None, masked: bool) -> None:
    layer = PatchEmbedding(5, patch_length=length, stride=stride)
    x = normal(2, steps, 3)
    layer.build(x.shape)
    kernel, bias = randomize(layer)
    mask = np.random.default_rng(3).random((2, steps)) < 0.5 if masked else None
    found = ops.convert_to_numpy(layer(x, mask=mask))
    spans = layer.token_spans(steps)
    assert found.shape == (2, len(spans), 5)
    assert found.shape[1:] == tuple(layer.compute_output_shape((None, steps, 3)))[1:]
    assert spans[-1, 1] == steps
    assert spans[0, 0] == 0
    known = x if mask is None else x * mask[..., None]
    tokens = None if mask is None else ops.convert_to_numpy(layer.compute_mask(x, mask))
    for p, (first, end) in enumerate(spans):
        patch = np.zeros((2, length, 3), "float32")
        patch[:, length - (end - first) :] = known[:, first:end]
        np.testing.assert_allclose(found[:, p], patch.reshape(2, -1) @ kernel + bias, atol=2e-6)
        if mask is not None:
            np.testing.assert_array_equal(tokens[:, p], mask[:, first:end].any(axis=1))


def test_unknown_length() -> None:
    layer = PatchEmbedding(5, patch_length=3, stride=2)
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, 5)
    for steps in (2, 7):
        x = normal(2, steps, 3)
        expected = ops.convert_to_numpy(layer(x))
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-6)


def test_errors() -> None:
    with pytest.raises(ValueError, match="`stride` <= `patch_length`"):
        PatchEmbedding(4, patch_length=2, stride=3)
    with pytest.raises(ValueError, match="`patch_length` to be an integer >= 1, received 0"):
        PatchEmbedding(4, patch_length=0)
    with pytest.raises(ValueError, match=r"`inputs` of shape \(B, T, V\)"):
        PatchEmbedding(4, patch_length=2).build((2, 3))

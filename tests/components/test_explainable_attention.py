from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.components.cases import values
from tests.components.formulas import randomise, weights_of
from tsfusion.components import ExplainableAttention

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_scores_are_those_of_keras(masked: bool, causal: bool) -> None:
    layer = ExplainableAttention(num_heads=2, key_dim=3)
    x = values(2, 4, 5)
    layer(x)
    randomise(layer)
    w = weights_of(layer)
    reference = keras.layers.MultiHeadAttention(2, key_dim=3)
    reference.build(x.shape, x.shape)
    reference.query_dense.kernel.assign(w["query/kernel"])
    reference.query_dense.bias.assign(w["query/bias"])
    reference.key_dense.kernel.assign(w["key/kernel"])
    # Any bias of the keys: it changes no score.
    reference.key_dense.bias.assign(np.full((2, 3), 0.4))
    mask = np.array([[True, True, False, True], [True] * 4]) if masked else None
    _, expected = reference(
        x,
        x,
        query_mask=None if mask is None else ops.convert_to_tensor(mask),
        value_mask=None if mask is None else ops.convert_to_tensor(mask),
        use_causal_mask=causal,
        return_attention_scores=True,
    )
    scores = ops.convert_to_numpy(layer(x, mask=mask, use_causal_mask=causal))
    valid = np.ones((2, 4), bool) if mask is None else mask
    rows = np.repeat(valid[:, None], 2, axis=1)
    np.testing.assert_allclose(
        scores[rows], ops.convert_to_numpy(expected)[rows], rtol=1e-4, atol=1e-5
    )
    sums = scores.sum(axis=-1).transpose(0, 2, 1)
    np.testing.assert_allclose(sums[valid], 1, rtol=1e-5)
    assert (sums[~valid] == 0).all()


def test_formula() -> None:
    layer = ExplainableAttention(num_heads=2, key_dim=3)
    x = values(2, 4, 5)
    layer(x)
    randomise(layer)
    w = weights_of(layer)
    query = np.einsum("btd,dnk->bntk", x, w["query/kernel"]) + w["query/bias"][:, None]
    key = np.einsum("btd,dnk->bntk", x, w["key/kernel"])
    shares = np.exp(query @ key.transpose(0, 1, 3, 2) / np.sqrt(3))
    expected = shares / shares.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-5)


def test_masks_combine() -> None:
    layer = ExplainableAttention(num_heads=1, key_dim=3)
    mask = np.array([[True, True, False], [False] * 3])
    allowed = np.array([[1, 0, 1], [1, 1, 1], [1, 1, 1]], bool)
    scores = ops.convert_to_numpy(layer(values(2, 3, 5), mask=mask, attention_mask=allowed))[:, 0]
    np.testing.assert_allclose(scores[0, 0], [1, 0, 0], atol=1e-6)
    assert scores[0, 1, 2] == 0
    assert (scores[0, 2] == 0).all()
    assert (scores[1] == 0).all()


def test_an_attached_mask_is_honoured_beside_an_attention_mask() -> None:
    x = keras.layers.Masking()(np.array([[[1.0, 2.0], [0.0, 0.0], [3.0, 1.0]]], "float32"))
    scores = ExplainableAttention(1, 2)(x, attention_mask=np.ones((3, 3), bool))
    assert (ops.convert_to_numpy(scores)[0, 0, :, 1] == 0).all()


def test_documented_example() -> None:
    x = keras.random.normal((32, 10, 64))
    ea = ExplainableAttention(num_heads=4, key_dim=64)
    assert tuple(ea(x).shape) == (32, 4, 10, 10)
    assert {"num_heads", "key_dim"} <= set(ea.get_config())
    assert ExplainableAttention.my_params == "ExplainableAttention(num_heads, key_dim)"


@pytest.mark.parametrize("name", ["num_heads", "key_dim"])
def test_bad_parameters(name: str) -> None:
    with pytest.raises(ValueError, match=f"expected `{name}` to be an integer >= 1, received 0"):
        ExplainableAttention(**{"num_heads": 2, "key_dim": 3, name: 0})


def test_bad_inputs() -> None:
    with pytest.raises(ValueError, match=r"expected `inputs` of shape \(B, T, D\), received"):
        ExplainableAttention(2, 3)(values(2, 4))

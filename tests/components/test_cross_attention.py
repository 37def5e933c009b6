from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.components.cases import values
from tests.components.formulas import attention, dense, padding, randomise, weights_of
from tsfusion.components import CrossAttention

pytestmark = pytest.mark.backends

MASK1 = np.array([[True, True, False], [True, True, True]])
MASK2 = np.array([[True, False, True, True], [False] * 4])


@pytest.mark.parametrize("masked", [False, True])
def test_formula(masked: bool) -> None:
    layer = CrossAttention(units=4, num_heads=2)
    source1, source2 = values(2, 3, 5), values(2, 4, 6)
    layer([source1, source2])
    randomise(layer)
    w = weights_of(layer)
    expected, expected_scores = attention(
        dense(source1, w, "source1_dense"),
        dense(source2, w, "source2_dense"),
        w,
        "attention",
        padding(MASK1, MASK2) if masked else None,
    )
    mask = [MASK1, MASK2] if masked else None
    output, scores = layer([source1, source2], mask=mask, return_attention_scores=True)
    plain = layer([source1, source2], mask=mask)
    np.testing.assert_allclose(ops.convert_to_numpy(output), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(plain), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(scores), expected_scores, rtol=1e-4, atol=1e-5)


def test_attention_mask_narrows_who_sees_whom() -> None:
    layer = CrossAttention(units=4, num_heads=2)
    inputs = [values(2, 3, 5), values(2, 4, 6)]
    allowed = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]], bool)
    for attention_mask in (allowed, np.stack([allowed, allowed])):
        output, scores = layer(inputs, attention_mask=attention_mask, return_attention_scores=True)
        scores = ops.convert_to_numpy(scores)
        assert (scores[:, :, ~allowed] == 0).all()
        assert (ops.convert_to_numpy(output)[:, 1] == 0).all()


def test_documented_example() -> None:
    source1 = keras.random.normal((32, 10, 64))
    source2 = keras.random.normal((32, 10, 64))
    cross_attn = CrossAttention(units=64, num_heads=4)
    outputs = cross_attn([source1, source2])
    assert tuple(outputs.shape) == (32, 10, 64)
    assert tuple(cross_attn([source1, source2], training=False).shape) == (32, 10, 64)
    assert {"units", "num_heads"} <= set(cross_attn.get_config())
    assert CrossAttention.my_params == "CrossAttention(units, num_heads)"
    assert cross_attn.my_params == "CrossAttention(units=64, num_heads=4)"


def test_a_mask_of_the_input_survives_the_call() -> None:
    """`keras.layers.MultiHeadAttention` deletes the masks of what it is called with."""
    embed = keras.layers.Embedding(9, 4, mask_zero=True)
    first, second = embed(np.array([[1, 2, 0]])), embed(np.array([[3, 0, 0]]))
    add = keras.layers.Add()
    CrossAttention(units=4, num_heads=2)([first, second])
    summed = add([first, second])
    assert add.compute_mask([first, second], [first, second]) is not None
    assert summed is not None
    lstm_in = keras.layers.Identity()(first)
    scores = CrossAttention(4, 1)([lstm_in, first], return_attention_scores=True)[1]
    assert (ops.convert_to_numpy(scores)[0, 0, 2] == 0).all()


@pytest.mark.parametrize("name", ["units", "num_heads"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "4", True, None])
def test_bad_parameters(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"expected `{name}` to be an integer >= 1, received"):
        CrossAttention(**{"units": 4, "num_heads": 2, name: value})


@pytest.mark.parametrize(
    "inputs",
    [
        lambda: values(2, 3, 5),
        lambda: [values(2, 3, 5)],
        lambda: [values(2, 3, 5)] * 3,
        lambda: [values(2, 5), values(2, 3, 5)],
        lambda: [values(2, 3, 5), values(2, 3, 5, 1)],
    ],
)
def test_bad_inputs(inputs) -> None:
    with pytest.raises(ValueError, match=r"(?s)CrossAttention: expected .* received"):
        CrossAttention(4, 2)(inputs())


def test_bad_masks() -> None:
    layer = CrossAttention(4, 2)
    with pytest.raises(ValueError, match="expected `attention_mask` of shape"):
        layer([values(2, 3, 5), values(2, 4, 5)], attention_mask=np.ones((2, 2, 3, 4), bool))

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.components.cases import values
from tests.components.formulas import attention, dense, padding, randomise, weights_of
from tsfusion.components import HierarchicalAttention

pytestmark = pytest.mark.backends

SHORT_MASK = np.array([[True, True, False], [False] * 3])
LONG_MASK = np.array([[True, False, True], [True] * 3])


@pytest.mark.parametrize("masked", [False, True])
def test_formula_of_self_attention(masked: bool) -> None:
    layer = HierarchicalAttention(units=4, num_heads=2)
    inputs = [values(2, 3, 5), values(2, 3, 6)]
    layer(inputs)
    randomise(layer)
    w = weights_of(layer)
    expected, expected_scores = 0.0, []
    for x, name, mask in zip(inputs, ("short_term", "long_term"), (SHORT_MASK, LONG_MASK)):
        window = dense(x, w, f"{name}_dense")
        allowed = padding(mask, mask) if masked else None
        part, scores = attention(window, window, w, f"{name}_attention", allowed)
        expected = expected + part
        expected_scores.append(scores)
    mask = [SHORT_MASK, LONG_MASK] if masked else None
    output, scores = layer(inputs, mask=mask, return_attention_scores=True)
    np.testing.assert_allclose(ops.convert_to_numpy(output), expected, rtol=1e-4, atol=1e-5)
    for found, wanted in zip(scores, expected_scores):
        np.testing.assert_allclose(ops.convert_to_numpy(found), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_formula_with_a_query(masked: bool) -> None:
    layer = HierarchicalAttention(units=4, num_heads=2)
    inputs, query = [values(2, 3, 5), values(2, 7, 6)], values(2, 2, 3)
    layer(inputs, query=query)
    randomise(layer)
    w = weights_of(layer)
    masks = [SHORT_MASK, np.arange(7)[None] < np.array([[4], [7]])]
    query_mask = np.array([[True, True], [True, False]])
    expected = 0.0
    for x, name, mask in zip(inputs, ("short_term", "long_term"), masks):
        allowed = padding(query_mask, mask) if masked else None
        window = dense(x, w, f"{name}_dense")
        expected = expected + attention(query, window, w, f"{name}_attention", allowed)[0]
    given = {"mask": masks, "query_mask": query_mask} if masked else {}
    output = layer(inputs, query=query, **given)
    np.testing.assert_allclose(ops.convert_to_numpy(output), expected, rtol=1e-4, atol=1e-5)


def test_branches_share_no_weights() -> None:
    layer = HierarchicalAttention(units=4, num_heads=2)
    same = values(2, 3, 5)
    _, (short, long) = layer([same, same], return_attention_scores=True)
    assert len({weight.path for weight in layer.weights}) == 20
    assert np.abs(ops.convert_to_numpy(short) - ops.convert_to_numpy(long)).max() > 1e-4


def test_causal() -> None:
    layer = HierarchicalAttention(units=4, num_heads=2)
    _, scores = layer(
        [values(2, 3, 5), values(2, 3, 6)], use_causal_mask=True, return_attention_scores=True
    )
    for one in scores:
        assert (np.triu(ops.convert_to_numpy(one)[0, 0], 1) == 0).all()


def test_documented_example() -> None:
    short_term = keras.random.normal((32, 10, 64))
    long_term = keras.random.normal((32, 10, 64))
    ha = HierarchicalAttention(units=64, num_heads=4)
    assert tuple(ha([short_term, long_term]).shape) == (32, 10, 64)
    assert HierarchicalAttention.my_params == "HierarchicalAttention(units, num_heads)"


def test_unequal_lengths_are_refused_without_a_query() -> None:
    with pytest.raises(ValueError, match=r"expected short_term and long_term of the same length"):
        HierarchicalAttention(4, 2)([values(2, 3, 5), values(2, 7, 6)])
    # Length 1 would broadcast.
    with pytest.raises(ValueError, match=r"received\s+lengths 3 and 1"):
        HierarchicalAttention(4, 2)([values(2, 3, 5), values(2, 1, 5)])


def test_unequal_lengths_are_refused_when_they_show_only_in_the_call() -> None:
    layer = HierarchicalAttention(4, 2)
    inputs = [keras.Input((None, 3)), keras.Input((None, 3))]
    model = keras.Model(inputs, layer(inputs))
    with pytest.raises(ValueError, match=r"of the same length"):
        model([values(2, 3, 3), values(2, 1, 3)])


def test_a_layer_keeps_its_way_of_calling() -> None:
    inputs = [values(2, 3, 5), values(2, 3, 6)]
    layer = HierarchicalAttention(4, 2)
    layer(inputs)
    with pytest.raises(ValueError, match="expected no `query`"):
        layer(inputs, query=values(2, 2, 4))
    layer = HierarchicalAttention(4, 2)
    layer(inputs, query=values(2, 2, 4))
    with pytest.raises(ValueError, match="expected a `query`"):
        layer(inputs)
    with pytest.raises(ValueError, match="use_causal_mask"):
        layer(inputs, query=values(2, 2, 4), use_causal_mask=True)


@pytest.mark.parametrize("name", ["units", "num_heads"])
def test_bad_parameters(name: str) -> None:
    with pytest.raises(ValueError, match=f"expected `{name}` to be an integer >= 1, received 0"):
        HierarchicalAttention(**{"units": 4, "num_heads": 2, name: 0})


def test_bad_inputs() -> None:
    with pytest.raises(ValueError, match=r"expected a list \[short_term, long_term\], received"):
        HierarchicalAttention(4, 2)(values(2, 3, 5))
    with pytest.raises(ValueError, match=r"expected `query` of shape \(B, Tq, D\), received"):
        HierarchicalAttention(4, 2)([values(2, 3, 5)] * 2, query=values(2, 3))

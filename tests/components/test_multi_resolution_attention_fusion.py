from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.components.cases import values
from tests.components.formulas import attention, dense, padding, randomise, weights_of
from tsfusion.components import MultiResolutionAttentionFusion

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("masked", [False, True])
def test_formula_of_one_sequence(masked: bool) -> None:
    layer = MultiResolutionAttentionFusion(units=4, num_heads=2)
    x = values(2, 3, 5)
    layer(x)
    randomise(layer)
    mask = np.array([[True, False, True], [False] * 3])
    expected, _ = attention(
        x, x, weights_of(layer), "attention", padding(mask, mask) if masked else None
    )
    output = layer(x, mask=mask if masked else None)
    np.testing.assert_allclose(ops.convert_to_numpy(output), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_formula_of_a_list(masked: bool) -> None:
    layer = MultiResolutionAttentionFusion(units=4, num_heads=2)
    inputs = [values(2, 3, 5), values(2, 4, 1)]
    layer(inputs)
    randomise(layer)
    w = weights_of(layer)
    parts = [dense(x, w, f"resolution_{index}") for index, x in enumerate(inputs)]
    query_mask = np.array([[True, False, True], [True] * 3])
    key_mask = np.concatenate([query_mask, np.ones((2, 4), bool)], axis=1)
    expected, expected_scores = attention(
        parts[0],
        np.concatenate(parts, axis=1),
        w,
        "attention",
        padding(query_mask, key_mask) if masked else None,
    )
    output, scores = layer(
        inputs, mask=[query_mask, None] if masked else None, return_attention_scores=True
    )
    np.testing.assert_allclose(ops.convert_to_numpy(output), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(scores), expected_scores, rtol=1e-4, atol=1e-5)


def test_causal() -> None:
    layer = MultiResolutionAttentionFusion(units=4, num_heads=1)
    _, scores = layer(values(2, 3, 5), use_causal_mask=True, return_attention_scores=True)
    assert (np.triu(ops.convert_to_numpy(scores)[0, 0], 1) == 0).all()
    with pytest.raises(ValueError, match="use_causal_mask"):
        MultiResolutionAttentionFusion(4, 1)([values(2, 3, 5)] * 2, use_causal_mask=True)


def test_bad_parameters_and_inputs() -> None:
    with pytest.raises(ValueError, match="expected `units` to be an integer >= 1, received 0"):
        MultiResolutionAttentionFusion(0, 2)
    with pytest.raises(ValueError, match="expected `num_heads` to be an integer >= 1, received 0"):
        MultiResolutionAttentionFusion(4, 0)
    with pytest.raises(ValueError, match=r"expected `inputs` of shape \(B, T, D\), received"):
        MultiResolutionAttentionFusion(4, 2)(values(2, 5))
    layer = MultiResolutionAttentionFusion(4, 2)
    layer(values(2, 3, 5))
    with pytest.raises(ValueError, match="expected one tensor.* received a list of 2"):
        layer([values(2, 3, 5)] * 2)

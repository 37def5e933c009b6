from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.components.cases import values
from tests.components.formulas import dense, randomise, weights_of
from tsfusion.components import HierarchicalAttention, MultiModalEmbedding

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("masked", [False, True])
def test_formula(masked: bool) -> None:
    layer = MultiModalEmbedding(embed_dim=4)
    inputs = [values(2, 3, 5), values(2, 3, 1), values(2, 3, 2)]
    layer(inputs)
    randomise(layer)
    w = weights_of(layer)
    mask = np.array([[True, False, True], [False] * 3])
    parts = [dense(x, w, f"modality_{index}") for index, x in enumerate(inputs)]
    if masked:
        parts[0] = parts[0] * mask[..., None]
    output = layer(inputs, mask=[mask, None, None] if masked else None)
    np.testing.assert_allclose(
        ops.convert_to_numpy(output), np.concatenate(parts, axis=-1), rtol=1e-4, atol=1e-5
    )


def test_mask_of_the_output() -> None:
    layer = MultiModalEmbedding(embed_dim=4)
    first = ops.convert_to_tensor(np.array([[True, False, False]]))
    second = ops.convert_to_tensor(np.array([[False, True, False]]))
    both = layer.compute_mask(None, [first, second])
    assert ops.convert_to_numpy(both).tolist() == [[True, True, False]]
    assert layer.compute_mask(None, [first, None]) is None


def test_goes_before_attention() -> None:
    short = MultiModalEmbedding(4)([values(2, 3, 5), values(2, 3, 1)])
    long = MultiModalEmbedding(4)([values(2, 3, 2)])
    assert tuple(HierarchicalAttention(4, 2)([short, long]).shape) == (2, 3, 4)


def test_bad_parameters_and_inputs() -> None:
    with pytest.raises(ValueError, match="expected `embed_dim` to be an integer >= 1, received 0"):
        MultiModalEmbedding(0)
    with pytest.raises(ValueError, match="expected a list of tensors, received a tensor"):
        MultiModalEmbedding(4)(values(2, 3, 5))
    with pytest.raises(ValueError, match=r"of the same length, received lengths \[3, 4\]"):
        MultiModalEmbedding(4)([values(2, 3, 5), values(2, 4, 5)])
    with pytest.raises(ValueError, match=r"expected `inputs\[1\]` of shape \(B, T, D\), received"):
        MultiModalEmbedding(4)([values(2, 3, 5), values(2, 3)])
    layer = MultiModalEmbedding(4)
    layer([values(2, 3, 5)])
    with pytest.raises(ValueError, match="expected 1 modalities.* received 2"):
        layer([values(2, 3, 5)] * 2)

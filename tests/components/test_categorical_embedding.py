"""The embedding of categorical variables against a table for each."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.components.formulas_tft import randomize
from tsfusion.components import CategoricalEmbedding

pytestmark = pytest.mark.backends

CODES = np.array([[[0, 2], [3, 0], [1, 1]], [[2, 2], [0, 0], [3, 1]]], "int32")


def test_formula() -> None:
    layer = CategoricalEmbedding([4, 3], 5)
    layer.build(CODES.shape)
    (table,) = randomize(layer)
    found = ops.convert_to_numpy(layer(CODES))
    np.testing.assert_array_equal(found[:, :, 0], table[:4][CODES[:, :, 0]])
    np.testing.assert_array_equal(found[:, :, 1], table[4:][CODES[:, :, 1]])


def test_code_zero_starts_at_zero_and_the_others_apart() -> None:
    layer = CategoricalEmbedding([4, 3], 5)
    layer.build(CODES.shape)
    table = ops.convert_to_numpy(layer.table)
    assert (table[[0, 4]] == 0).all()
    assert (np.abs(np.delete(table, [0, 4], axis=0)).max(axis=1) > 0).all()


@pytest.mark.parametrize("wrong", [-1, 3, 100])
def test_a_code_out_of_range_is_unknown(wrong: int) -> None:
    layer = CategoricalEmbedding([4, 3], 5)
    layer.build(CODES.shape)
    randomize(layer)
    changed = CODES.copy()
    changed[..., 1] = wrong
    zero = np.where([True, False], CODES, 0).astype("int32")
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer(changed)), ops.convert_to_numpy(layer(zero))
    )


def test_large_codes_survive_half_precision() -> None:
    layer = CategoricalEmbedding([1000], 2, dtype="mixed_bfloat16")
    layer.build((1, 1, 1))
    (table,) = randomize(layer)
    found = layer(np.array([[[777.0]]], "float32"))
    found = ops.convert_to_numpy(ops.cast(found, "float32"))[0, 0, 0]
    np.testing.assert_allclose(found, table[777], rtol=1e-2, atol=1e-2)


def test_errors() -> None:
    for bad in ([], 3, "34"):
        with pytest.raises(ValueError, match="`cardinalities` to be a sequence"):
            CategoricalEmbedding(bad, 4)
    with pytest.raises(ValueError, match="`cardinalities` to be an integer >= 1, received 0"):
        CategoricalEmbedding([3, 0], 4)
    with pytest.raises(ValueError, match=r"expected `inputs` of shape \(B, T, 2\)"):
        CategoricalEmbedding([3, 3], 4).build((2, 5, 3))

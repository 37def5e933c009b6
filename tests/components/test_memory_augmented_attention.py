from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.components.cases import values
from tests.components.formulas import attention, randomise, weights_of
from tsfusion.components import MemoryAugmentedAttention

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("masked", [False, True])
def test_formula(masked: bool) -> None:
    layer = MemoryAugmentedAttention(units=4, memory_size=6, num_heads=2)
    x = values(2, 3, 4)
    layer(x)
    randomise(layer)
    w = weights_of(layer)
    mask = np.array([[True, False, True], [False] * 3])
    memory = np.stack([w["memory"]] * 2)
    allowed = np.repeat(mask[:, :, None], 6, axis=2) if masked else None
    expected, expected_scores = attention(x, memory, w, "attention", allowed)
    output, scores = layer(x, mask=mask if masked else None, return_attention_scores=True)
    np.testing.assert_allclose(ops.convert_to_numpy(output), x + expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(scores), expected_scores, rtol=1e-4, atol=1e-5)


def test_slots_start_apart_and_diverge_in_training() -> None:
    keras.utils.set_random_seed(3)
    layer = MemoryAugmentedAttention(units=4, memory_size=3, num_heads=1)
    x = values(16, 5, 4)
    model = keras.Sequential([keras.Input((5, 4)), layer])
    start = ops.convert_to_numpy(layer.memory).copy()
    np.testing.assert_allclose(start @ start.T, np.eye(3), atol=1e-5)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    model.fit(x, np.sin(3 * x[..., ::-1]), epochs=15, verbose=0)
    moved = ops.convert_to_numpy(layer.memory) - start
    # Equal slots would move alike; these move apart, each in its own direction.
    for i in range(3):
        for j in range(i):
            assert np.abs(moved[i] - moved[j]).max() > 0.02
    _, scores = layer(x, return_attention_scores=True)
    assert ops.convert_to_numpy(scores).std(axis=-1).mean() > 0.02


def test_more_slots_than_units_start_apart() -> None:
    layer = MemoryAugmentedAttention(units=2, memory_size=8, num_heads=1)
    layer.build((None, 3, 2))
    memory = ops.convert_to_numpy(layer.memory)
    distance = np.abs(memory[:, None] - memory[None]).max(axis=-1) + np.eye(8)
    assert distance.min() > 1e-3


def test_documented_example() -> None:
    x = keras.random.normal((32, 10, 64))
    maa = MemoryAugmentedAttention(units=64, memory_size=20, num_heads=4)
    assert tuple(maa(x).shape) == (32, 10, 64)
    assert tuple(maa.memory.shape) == (20, 64)
    assert {"units", "memory_size", "num_heads"} <= set(maa.get_config())
    expected = "MemoryAugmentedAttention(units, memory_size, num_heads)"
    assert MemoryAugmentedAttention.my_params == expected


@pytest.mark.parametrize("name", ["units", "memory_size", "num_heads"])
def test_bad_parameters(name: str) -> None:
    given = {"units": 4, "memory_size": 6, "num_heads": 2, name: 0}
    with pytest.raises(ValueError, match=f"expected `{name}` to be an integer >= 1, received 0"):
        MemoryAugmentedAttention(**given)


def test_bad_inputs() -> None:
    with pytest.raises(ValueError, match=r"expected `inputs` of width units=4.* received width 5"):
        MemoryAugmentedAttention(4, 6, 2)(values(2, 3, 5))
    with pytest.raises(ValueError, match=r"expected `inputs` of shape \(B, T, units\), received"):
        MemoryAugmentedAttention(4, 6, 2)(values(2, 4))

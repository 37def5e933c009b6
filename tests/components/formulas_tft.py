"""The small formulas in NumPy from which the tests of the TFT's parts are written."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomize(layer: Any, seed: int = 1) -> list[np.ndarray]:
    """Move every weight away from its start, and return the weights as arrays in order."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        old = ops.convert_to_numpy(weight)
        weight.assign(old + rng.normal(size=old.shape).astype("float32") * 0.3)
    return [ops.convert_to_numpy(weight) for weight in layer.weights]


def named(layer: Any) -> dict[str, np.ndarray]:
    """The weights by their path within the layer."""
    return {weight.path.split("/", 1)[1]: ops.convert_to_numpy(weight) for weight in layer.weights}


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def elu(x: Any) -> Any:
    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def norm(x: Any, gamma: Any, beta: Any) -> Any:
    centred = x - x.mean(axis=-1, keepdims=True)
    return gamma * centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-3) + beta


def arrays(outputs: Any) -> list[np.ndarray]:
    return [ops.convert_to_numpy(one) for one in outputs]

"""The cases of the parts of the Temporal Fusion Transformer for the shared layer check."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.components.layer_check import Case

B, T, V, D = 3, 5, 4, 6


def normal(*shapes: tuple[int, ...]) -> Callable[[], tuple]:
    def draw() -> tuple:
        rng = np.random.default_rng(7)
        return tuple(rng.normal(size=shape).astype("float32") for shape in shapes)

    return draw


def context(width: int) -> Callable[[], dict]:
    return lambda: {"context": normal((B, width))()[0]}


def codes() -> tuple:
    return (np.random.default_rng(7).integers(0, 4, size=(B, T, 2)).astype("int32"),)


def states(count: int) -> Callable[[], dict]:
    return lambda: {"initial_state": list(normal(*[(B, D + 1)] * count)())}


CASES = [
    Case("GatedLinearUnit", {"units": 7}, normal((B, T, D)), [(B, T, 7)], 2),
    Case(
        "GatedLinearUnit",
        {"units": 7, "dropout_rate": 0.2},
        normal((B, D)),
        [(B, 7)],
        2,
        seeds=1,
        label="flat",
    ),
    Case("GatedResidualNetwork", {"hidden_size": D}, normal((B, T, D)), [(B, T, D)], 8),
    Case(
        "GatedResidualNetwork",
        {"hidden_size": 8, "output_size": 7, "dropout_rate": 0.2},
        normal((B, T, D)),
        [(B, T, 7)],
        11,
        seeds=1,
        keywords=context(3),
        label="context",
    ),
    Case("RealEmbedding", {"units": 7}, normal((B, T, V)), [(B, T, V, 7)], 2),
    Case(
        "CategoricalEmbedding",
        {"cardinalities": [4, 3], "units": 7},
        codes,
        [(B, T, 2, 7)],
        1,
    ),
    Case(
        "VariableSelection",
        {"hidden_size": D, "num_variables": V, "dropout_rate": 0.2},
        normal((B, T, V, D)),
        [(B, T, D), (B, T, V)],
        19,
        seeds=1,
        keywords=context(3),
        flags={"return_weights": True},
        label="context",
    ),
    Case(
        "VariableSelection",
        {"hidden_size": 8, "num_variables": V},
        normal((B, V, D)),
        [(B, 8)],
        20,
        free_time=False,
        label="static",
    ),
    Case(
        "VariableSelection",
        {"hidden_size": 8, "num_variables": V, "form": "light"},
        normal((B, T, V, D)),
        [(B, T, 8), (B, T, V)],
        7,
        keywords=context(3),
        flags={"return_weights": True},
        label="light",
    ),
    Case(
        "VariableSelection",
        {"hidden_size": 8, "num_variables": 1},
        normal((B, T, 1, D)),
        [(B, T, 8), (B, T, 1)],
        10,
        flags={"return_weights": True},
        label="single",
    ),
    Case(
        "TemporalSelfAttention",
        {"hidden_size": 8, "num_heads": 2, "dropout_rate": 0.2},
        normal((B, T, D)),
        [(B, T, 8)],
        3,
        seeds=1,
        scores=[(B, 2, T, T)],
    ),
    Case(
        "TemporalSelfAttention",
        {"hidden_size": 8, "num_heads": 2},
        normal((B, 2, D), (B, T, D)),
        [(B, 2, 8)],
        3,
        flags={"use_causal_mask": True},
        scores=[(B, 2, 2, T)],
        label="cross",
    ),
    Case(
        "RecurrentEncoder",
        {"units": 7},
        normal((B, T, D)),
        [(B, T, 7), (B, 7), (B, 7)],
        3,
        keywords=states(2),
    ),
    Case(
        "RecurrentEncoder",
        {"units": 7, "kind": "gru"},
        normal((B, T, D)),
        [(B, T, 7), (B, 7)],
        4,
        label="gru",
    ),
    Case("QuantileHead", {"levels": [0.1, 0.5, 0.9]}, normal((B, T, D)), [(B, T, 3)], 2),
    Case(
        "InstanceScaling",
        {"method": "standard"},
        normal((B, T, V)),
        [(B, T, V), (B, 1, V), (B, 1, V)],
        0,
    ),
    Case(
        "InstanceScaling",
        {"method": "robust", "epsilon": 1e-4},
        normal((B, T, V)),
        [(B, T, V), (B, 1, V), (B, 1, V)],
        0,
        label="robust",
    ),
    Case(
        "PatchEmbedding",
        {"units": 7, "patch_length": 2},
        normal((B, T, V)),
        [(B, 3, 7)],
        2,
        keeps_time=False,
    ),
    Case(
        "PatchEmbedding",
        {"units": 7, "patch_length": 3, "stride": 2},
        normal((B, T, V)),
        [(B, 2, 7)],
        2,
        keeps_time=False,
        label="overlap",
    ),
]

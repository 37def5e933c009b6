"""One `Case` or more for every public layer."""

from __future__ import annotations

import importlib.util

import numpy as np

from tests.components.layer_check import Case

B, T = 2, 5


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + sum(shape)).normal(size=shape).astype("float32")


# A softmax over keys does not see a number that is added to a whole row, so that the bias of the
# keys of `keras.layers.MultiHeadAttention` has no gradient.
KEY_BIAS = ("key/bias",)

CASES = [
    Case(
        "CrossAttention",
        {"units": 4, "num_heads": 2},
        inputs=lambda: ([values(B, T, 3), values(B, 7, 6)],),
        outputs=[(B, T, 4)],
        weights=12,
        scores=[(B, 2, T, 7)],
        no_gradient=KEY_BIAS,
    ),
    Case(
        "HierarchicalAttention",
        {"units": 4, "num_heads": 2},
        inputs=lambda: ([values(B, T, 3), values(B, T, 6)],),
        outputs=[(B, T, 4)],
        weights=20,
        scores=[(B, 2, T, T), (B, 2, T, T)],
        no_gradient=KEY_BIAS,
    ),
    Case(
        "HierarchicalAttention",
        {"units": 4, "num_heads": 2},
        inputs=lambda: ([values(B, T, 3), values(B, 7, 6)],),
        keywords=lambda: {"query": values(B, 3, 2)},
        outputs=[(B, 3, 4)],
        weights=20,
        scores=[(B, 2, 3, T), (B, 2, 3, 7)],
        no_gradient=KEY_BIAS,
        label="query",
    ),
    Case(
        "MemoryAugmentedAttention",
        {"units": 4, "memory_size": 6, "num_heads": 2},
        inputs=lambda: (values(B, T, 4),),
        outputs=[(B, T, 4)],
        weights=9,
        scores=[(B, 2, T, 6)],
        no_gradient=KEY_BIAS,
    ),
    Case(
        "ExplainableAttention",
        {"num_heads": 2, "key_dim": 3},
        inputs=lambda: (values(B, T, 4),),
        outputs=[(B, 2, T, T)],
        weights=3,
        keeps_time=False,
    ),
    Case(
        "InterpretableMultiHeadAttention",
        {"d_model": 4, "n_head": 2},
        inputs=lambda: (values(B, T, 3), values(B, 7, 3), values(B, 7, 2)),
        outputs=[(B, T, 3)],
        weights=8,
        seeds=1,
        scores=[(B, 2, T, 7)],
        no_gradient=KEY_BIAS,
    ),
    Case(
        "InterpretableMultiHeadAttention",
        {
            "d_model": 4,
            "n_head": 2,
            "dropout_rate": 0.0,
            "value_dim": 3,
            "use_bias": False,
            "output_shape": 6,
            "kernel_initializer": "he_normal",
            "kernel_regularizer": "l2",
            "seed": 3,
        },
        inputs=lambda: (values(B, T, 3),),
        outputs=[(B, T, 6)],
        weights=4,
        scores=[(B, 2, T, T)],
        label="self",
    ),
    Case(
        "MultiResolutionAttentionFusion",
        {"units": 4, "num_heads": 2},
        inputs=lambda: (values(B, T, 3),),
        outputs=[(B, T, 4)],
        weights=8,
        scores=[(B, 2, T, T)],
        no_gradient=KEY_BIAS,
    ),
    Case(
        "MultiResolutionAttentionFusion",
        {"units": 4, "num_heads": 2},
        inputs=lambda: ([values(B, T, 3), values(B, 7, 6), values(B, 2, 1)],),
        outputs=[(B, T, 4)],
        weights=14,
        scores=[(B, 2, T, T + 9)],
        no_gradient=KEY_BIAS,
        label="list",
    ),
    Case(
        "MultiModalEmbedding",
        {"embed_dim": 4},
        inputs=lambda: ([values(B, T, 3), values(B, T, 1)],),
        outputs=[(B, T, 8)],
        weights=4,
    ),
    Case(
        "LearnedNormalization",
        {"epsilon": 1e-5},
        inputs=lambda: (values(B, T, 3),),
        outputs=[(B, T, 3)],
        weights=2,
    ),
]

if importlib.util.find_spec("tests.components.cases_tft") is not None:
    from tests.components import cases_tft

    CASES = [*CASES, *cases_tft.CASES]

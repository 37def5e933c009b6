"""The attention with shared values against equations 13-16 of the paper."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.components.formulas_tft import arrays, normal, randomize, softmax
from tsfusion.components import TemporalSelfAttention

pytestmark = pytest.mark.backends

WIDTH, HEADS = 6, 3


def formula(weights: list, query: np.ndarray, key: np.ndarray, visible: np.ndarray) -> tuple:
    """One window, one head and one query at a time; ``visible (B, Tq, Tk)``."""
    wq, wkv, wo = weights
    d = WIDTH // HEADS
    scores = np.zeros((len(query), HEADS, query.shape[1], key.shape[1]))
    outputs = np.zeros((*query.shape[:2], WIDTH))
    for b, n, t in np.ndindex(len(query), HEADS, query.shape[1]):
        seen = np.flatnonzero(visible[b, t])
        if not len(seen):
            continue
        part = slice(n * d, (n + 1) * d)
        logits = (key[b, seen] @ wkv[:, part]) @ (query[b, t] @ wq[:, part]) / np.sqrt(d)
        scores[b, n, t, seen] = softmax(logits)
        head = scores[b, n, t] @ (key[b] @ wkv[:, WIDTH:])
        outputs[b, t] += head @ wo / HEADS
    return outputs, scores


def check(query: np.ndarray, key: np.ndarray | None, visible: np.ndarray, **kwargs) -> None:
    layer = TemporalSelfAttention(WIDTH, HEADS)
    layer(query, key)
    weights = randomize(layer)
    found, scores = arrays(layer(query, key, return_attention_scores=True, **kwargs))
    expected = formula(weights, query, query if key is None else key, visible)
    np.testing.assert_allclose(found, expected[0], atol=3e-6)
    np.testing.assert_allclose(scores, expected[1], atol=1e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(query, key, **kwargs)), found)


def test_formula() -> None:
    check(normal(2, 4, 5), None, np.ones((2, 4, 4), bool))
    check(normal(2, 3, 5), normal(2, 7, 8, seed=9), np.ones((2, 3, 7), bool))


def test_the_last_query_stands_at_the_last_key() -> None:
    visible = np.tril(np.ones((3, 7), bool), k=4)[None].repeat(2, axis=0)
    check(normal(2, 3, 5), normal(2, 7, 5, seed=9), visible, use_causal_mask=True)
    check(normal(2, 3, 5), normal(2, 7, 5, seed=9), visible, attention_mask=visible)
    check(normal(2, 3, 5), normal(2, 7, 5, seed=9), visible, attention_mask=visible[0])


def test_masked_keys_and_rows_without_any() -> None:
    keys = np.ones((2, 7), bool)
    keys[0, :3] = False
    keys[1] = False
    visible = np.repeat(keys[:, None], 3, axis=1)
    check(normal(2, 3, 5), normal(2, 7, 5, seed=9), visible, key_mask=keys)
    check(normal(2, 7, 5), None, np.repeat(keys[:, None], 7, axis=1), mask=keys)
    causal = visible & np.tril(np.ones((3, 7), bool), k=4)
    check(normal(2, 3, 5), normal(2, 7, 5, seed=9), causal, key_mask=keys, use_causal_mask=True)


def test_uniform_attention_looks_at_all_visible_keys_alike() -> None:
    keys = np.ones((2, 7), bool)
    keys[0, :3] = False
    layer = TemporalSelfAttention(6, 2)
    _, scores = layer(
        normal(2, 3, 5), normal(2, 7, 5, seed=9), key_mask=keys, use_causal_mask=True,
        return_attention_scores=True, uniform=True,
    )  # fmt: skip
    visible = keys[:, None] & np.tril(np.ones((3, 7), bool), k=4)
    expected = visible / visible.sum(axis=-1, keepdims=True)
    for head in range(2):
        np.testing.assert_allclose(ops.convert_to_numpy(scores)[:, head], expected, atol=1e-6)


def test_errors() -> None:
    with pytest.raises(ValueError, match="`hidden_size` to be a multiple of `num_heads`"):
        TemporalSelfAttention(6, 4)
    with pytest.raises(ValueError, match="`num_heads` to be an integer >= 1, received 0"):
        TemporalSelfAttention(6, 0)
    with pytest.raises(ValueError, match=r"`key` of shape \(B, Tk, D\), received shape \(2, 3\)"):
        TemporalSelfAttention(6, 2).build((2, 3, 4), (2, 3))

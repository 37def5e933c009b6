"""The attention formula in plain NumPy, from the weights of a layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops


def weights_of(layer: Any) -> dict[str, np.ndarray]:
    """The weights by their path below the layer."""
    return {
        weight.path.removeprefix(f"{layer.path}/"): ops.convert_to_numpy(weight).astype("float64")
        for weight in layer.weights
    }


def randomise(layer: Any, seed: int = 0) -> None:
    """Give every weight (biases too, which start at zero) a random value."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(rng.normal(scale=0.7, size=tuple(weight.shape)).astype("float32"))


def dense(x: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]


def attention(
    query: np.ndarray,
    key: np.ndarray,
    w: dict[str, np.ndarray],
    name: str,
    mask: np.ndarray | None = None,
    value: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Output and scores, one sample, head and query step after the other."""
    value = key if value is None else value

    def part(name_of_part: str, what: str) -> Any:
        return w.get(f"{name}/{name_of_part}/{what}", 0.0)

    heads = part("query", "kernel").shape[1]
    scores = np.zeros((len(query), heads, query.shape[1], key.shape[1]))
    output = np.zeros((*query.shape[:2], part("attention_output", "kernel").shape[-1]))
    for b in range(len(query)):
        q, k, v = (
            np.einsum("td,dnk->tnk", x[b], part(role, "kernel")) + part(role, "bias")
            for x, role in ((query, "query"), (key, "key"), (value, "value"))
        )
        for t in range(query.shape[1]):
            allowed = np.ones(key.shape[1], bool) if mask is None else mask[b, t]
            if not allowed.any():
                continue
            total = part("attention_output", "bias") + np.zeros(output.shape[-1])
            for n in range(heads):
                logits = k[allowed, n] @ q[t, n] / np.sqrt(q.shape[-1])
                share = np.exp(logits - logits.max())
                scores[b, n, t, allowed] = share / share.sum()
                total = total + scores[b, n, t] @ v[:, n] @ part("attention_output", "kernel")[n]
            output[b, t] = total
    return output, scores


def padding(query_mask: np.ndarray, key_mask: np.ndarray) -> np.ndarray:
    return query_mask[:, :, None] & key_mask[:, None, :]

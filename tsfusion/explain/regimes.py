"""Windows that look elsewhere than in training, and what they recall; relies on pandas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from keras import ops

from tsfusion.data.windows import WindowIndex, gather
from tsfusion.explain.attribution import Task, run_in_chunks
from tsfusion.explain.donors import Donors

__all__ = [
    "MemoryUse",
    "Reference",
    "block_quantile",
    "find_regimes",
    "memory_use",
    "pattern_distance",
]

_RESAMPLES = 500
_LEVEL = 0.99
_NEIGHBOURS = 5


@dataclass(frozen=True)
class Reference:
    """Training windows and what the network looked at in them; in order of series and time."""

    donors: Donors
    windows: WindowIndex
    outputs: dict[str, np.ndarray]

    @classmethod
    def of(cls, task: Task, donors: Donors, most: int) -> Reference:
        """Run the network on at most ``most`` training windows, evenly spaced."""
        order = np.argsort(donors.windows.origin, kind="stable")
        windows = donors.windows.take(order).thinned(most)
        fitted = task.fitted
        batch = gather(
            donors.panel, windows, context_length=fitted.context_length, horizon=fitted.horizon
        )
        inputs, _, _ = task.model.to_network(batch)
        inputs["past_real"] = ops.convert_to_numpy(inputs["past_real"])
        return cls(
            donors, windows, run_in_chunks(task.model.network, inputs, return_attention=True)
        )


def _patterns(outputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return (W, H, K) the attention to single steps, averaged over heads."""
    return outputs["attention" if "attention" in outputs else "short_attention"].mean(axis=1)


def pattern_distance(patterns: np.ndarray, mean: np.ndarray, counts: np.ndarray) -> np.ndarray:
    r"""Return how far attention is from its mean.

    .. math:: d_w = \frac{1}{|H_w|} \sum_{h \in H_w} \sqrt{1 - \sum_k \sqrt{p_{whk} \bar p_{hk}}}

    Parameters
    ----------
    patterns : ndarray, shape (W, H, K)
        Rows that sum to 1.
    mean : ndarray, shape (H, K)
    counts : ndarray of bool, shape (W, H)
        The steps ahead that count.

    Returns
    -------
    ndarray, shape (W,)
        From 0 to 1.

    References
    ----------
    B. Lim et al. (2021), Temporal Fusion Transformers, section 7.3, equations 29 and 30.
    """
    overlap = np.sqrt(patterns.astype(np.float64) * mean).sum(axis=-1)
    distance = np.sqrt(np.maximum(1 - overlap, 0))
    return (distance * counts).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)


def block_quantile(
    values: np.ndarray, level: float, block: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the quantile of a dependent sequence, and its upper 95 % bound by a block bootstrap.

    Blocks of ``block`` neighbours are drawn with replacement (the sequence closed to a circle).

    References
    ----------
    Politis and Romano (1992), "A circular block-resampling procedure for stationary data".
    """
    size = len(values)
    count = -(-size // block)
    start = rng.integers(size, size=(_RESAMPLES, count, 1))
    index = (start + np.arange(block)).reshape(_RESAMPLES, -1)[:, :size] % size
    found = np.quantile(values[index], level, axis=1)
    return float(np.quantile(values, level)), float(np.quantile(found, 0.95))


def find_regimes(
    task: Task, outputs: dict[str, np.ndarray], reference: Reference, rng: np.random.Generator
) -> pd.DataFrame:
    """Return (W rows) ``distance``, ``threshold`` and ``unusual`` of each window explained."""
    asked = task.asked
    known = _patterns(reference.outputs)
    mean = known.mean(axis=0, dtype=np.float64)
    steps = np.broadcast_to(asked.any(axis=0), (len(known), asked.shape[1]))
    usual = pattern_distance(known, mean, steps)
    _, threshold = block_quantile(usual, _LEVEL, max(1, round(len(usual) ** (1 / 3))), rng)
    distance = pattern_distance(_patterns(outputs), mean, asked)
    return pd.DataFrame(
        {"distance": distance, "threshold": threshold, "unusual": distance > threshold}
    )


@dataclass(frozen=True)
class MemoryUse:
    """What windows recall.

    Attributes
    ----------
    weights : ndarray, shape (W, M)
        How much of its reading a window takes from each slot; rows sum to 1.
    usual : ndarray, shape (M,)
        The mean over training windows.
    labels, cutoffs : Index of length D
        Series and last known time of those training windows.
    nearest : ndarray of int, shape (W, N)
        The training windows nearest by cosine of their addresses.
    similarity : ndarray, shape (W, N)
    """

    weights: np.ndarray
    usual: np.ndarray
    labels: Any
    cutoffs: Any
    nearest: np.ndarray
    similarity: np.ndarray


def memory_use(task: Task, outputs: dict[str, np.ndarray], reference: Reference) -> MemoryUse:
    """Find the slots that windows read, and the training windows that read alike.

    Raises
    ------
    ValueError
        If the network has no memory.
    """
    if "memory_attention" not in outputs:
        raise ValueError(
            "methods: 'memory' needs a network with a memory. Fit with memory_size= (and "
            "architecture='fusion'), or leave 'memory' out."
        )
    ours, theirs = _readings(outputs), _readings(reference.outputs)
    flat = [reading.reshape(len(reading), -1) for reading in (ours, theirs)]
    unit = [a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12) for a in flat]
    similarity = unit[0] @ unit[1].T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :_NEIGHBOURS]
    panel, windows = reference.donors.panel, reference.windows
    # The last step that a window knows lies within its series: training windows have a past.
    times = task.fitted.encoder.timeline.times(panel.ordinal[windows.origin - 1])
    return MemoryUse(
        weights=_shares(ours),
        usual=_shares(theirs).mean(axis=0),
        labels=panel.labels[windows.series],
        cutoffs=times,
        nearest=order,
        similarity=np.take_along_axis(similarity, order, axis=1),
    )


def _readings(outputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return (W, N, M) how much each head reads of each slot, over the short window's steps."""
    return outputs["memory_attention"].mean(axis=2, dtype=np.float64)


def _shares(readings: np.ndarray) -> np.ndarray:
    total = readings.sum(axis=1)
    return total / np.maximum(total.sum(axis=1, keepdims=True), 1e-12)

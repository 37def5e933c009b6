"""Quantiles as a function: any level from the trained ones, and the mean. Relies on NumPy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

__all__ = [
    "check_levels",
    "interpolate_quantiles",
    "mean_of_quantiles",
    "quantile_columns",
    "quantile_names",
]


def check_levels(quantiles: Any, name: str = "quantiles") -> tuple[float, ...]:
    """Return quantile levels as floats, or say what is wrong with them."""
    listed = [quantiles] if isinstance(quantiles, (int, float)) else quantiles
    try:
        levels = tuple(float(level) for level in listed)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}: expected numbers between 0 and 1, received {quantiles!r}."
        ) from error
    if not levels or not all(0 < level < 1 for level in levels):
        raise ValueError(f"{name}: expected numbers between 0 and 1, received {quantiles!r}.")
    if len(set(levels)) != len(levels):
        raise ValueError(f"{name}: expected each level once, received {quantiles!r}.")
    if len(set(quantile_names(levels))) != len(levels):
        raise ValueError(
            f"{name}: expected levels that differ in their first six digits, by which columns such "
            f"as 'q0.1' are named, received {quantiles!r}."
        )
    return levels


def quantile_names(levels: Iterable[float]) -> list[str]:
    """Return the names of the columns of quantiles in the frames that we give.

    Examples
    --------
    >>> quantile_names([0.1, 0.5, 1e-5])
    ['q0.1', 'q0.5', 'q1e-05']
    """
    return [f"q{level:g}" for level in levels]


def quantile_columns(names: Iterable[Any]) -> dict[float, Any]:
    """Return which names are those of quantiles in the frames that we give, by their level.

    Examples
    --------
    >>> quantile_columns(["mean", "q0.1", "q", "q0.9"])
    {0.1: 'q0.1', 0.9: 'q0.9'}
    """
    matched = ((name, re.fullmatch(r"q(0?\.\d+|[\d.]+e-\d+)", str(name))) for name in names)
    return {float(match[1]): name for name, match in matched if match}


def interpolate_quantiles(
    values: np.ndarray, levels: Sequence[float], asked: Sequence[float]
) -> np.ndarray:
    """Return quantiles at any level from those at some levels.

    Linear in the standard normal score of the level, so that a normal distribution comes out
    exactly; past the outermost levels the last slope goes on.

    Parameters
    ----------
    values : ndarray, shape (..., Q)
        Quantiles, increasing along the last axis.
    levels : sequence of float, shape (Q,)
        Their levels, increasing.
    asked : sequence of float, shape (A,)
        The levels wanted.

    Returns
    -------
    ndarray, shape (..., A)

    Examples
    --------
    >>> import numpy as np
    >>> interpolate_quantiles(np.array([[-1.0, 0.0, 1.0]]), [0.1, 0.5, 0.9], [0.5, 0.9]).tolist()
    [[0.0, 1.0]]
    """
    normal = NormalDist()
    have = np.array([normal.inv_cdf(level) for level in levels])
    want = np.array([normal.inv_cdf(level) for level in asked])
    if len(have) == 1:
        return np.repeat(values, len(want), axis=-1)
    left = np.clip(np.searchsorted(have, want, side="right") - 1, 0, len(have) - 2)
    share = (want - have[left]) / (have[left + 1] - have[left])
    return values[..., left] * (1 - share) + values[..., left + 1] * share


def mean_of_quantiles(values: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return the mean of the distribution that quantiles describe.

    The integral of the quantile function over (0, 1) by trapezoids, flat past the outermost levels.

    Parameters
    ----------
    values : ndarray, shape (..., Q)
    levels : sequence of float, shape (Q,)

    Returns
    -------
    ndarray, shape (...)

    Examples
    --------
    >>> import numpy as np
    >>> mean_of_quantiles(np.array([[1.0, 2.0, 3.0]]), [0.1, 0.5, 0.9]).round(6).tolist()
    [2.0]
    """
    edges = np.concatenate([[0.0], np.asarray(levels, float), [1.0]])
    gaps = np.diff(edges)
    weights = np.zeros(len(levels))
    weights += gaps[:-1] / 2
    weights += gaps[1:] / 2
    weights[0] += gaps[0] / 2
    weights[-1] += gaps[-1] / 2
    # A sum, not a matrix product: BLAS rounds a row by its place among the others.
    return np.sum(np.asarray(values) * weights, axis=-1)

"""What a forecast loses without a part of the network; relies on NumPy and on the knock-outs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex, targets
from tsfusion.explain.attribution import Task, run_in_chunks

__all__ = ["Truth", "knock_out", "pinball", "ratio_interval"]

_RESAMPLES = 500


def pinball(y: np.ndarray, quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return (...,) the mean over levels of twice the pinball loss of quantiles (..., Q).

    Examples
    --------
    >>> pinball(np.array([3.0]), np.array([[1.0]]), np.array([0.5])).tolist()
    [2.0]
    """
    error = y[..., None] - quantiles
    return 2 * np.maximum(levels * error, (levels - 1) * error).mean(axis=-1)


def ratio_interval(
    above: np.ndarray, below: np.ndarray, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return ``sum(above) / sum(below)`` and the 95 % interval of a bootstrap over windows.

    Parameters
    ----------
    above, below : ndarray, shape (W,)
        What a window adds to each sum.
    rng : numpy.random.Generator
    """
    drawn = rng.integers(len(above), size=(_RESAMPLES, len(above)))
    ratios = _ratio(above[drawn].sum(axis=1), below[drawn].sum(axis=1))
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(_ratio(above.sum(), below.sum())), float(low), float(high)


def _ratio(above: Any, below: Any) -> Any:
    return above / np.maximum(below, np.finfo(float).tiny)


@dataclass(frozen=True)
class Truth:
    """Targets of windows, and the error of a forecast of them.

    ``y`` (W, H) in network units of each series, ``known`` (W, H) where there is a target that
    counts.
    """

    y: np.ndarray
    known: np.ndarray
    levels: np.ndarray

    @classmethod
    def of(
        cls, panel: Panel, windows: WindowIndex, counts: np.ndarray, levels: tuple[float, ...]
    ) -> Truth:
        """Read the targets; ``counts`` (W, H) are the steps that count."""
        y, weight = targets(panel, windows, horizon=counts.shape[1])
        return cls(y.astype(np.float64), (weight > 0) & counts, np.asarray(levels))

    @property
    def useful(self) -> np.ndarray:
        """(W,) whether anything is known of a window."""
        return np.asarray(self.known.any(axis=1))

    def losses(self, quantiles: np.ndarray) -> np.ndarray:
        """Return (W,) the sum of pinball losses over the known steps of (W, H, Q)."""
        return np.where(self.known, pinball(self.y, quantiles, self.levels), 0).sum(axis=1)


def knock_out(task: Task, rng: np.random.Generator) -> pd.DataFrame:
    """Return a row for each path that the network can do without.

    Columns: ``path``, ``change`` (mean absolute change of the forecast without it, in the user's
    units), ``share`` (of the sum of changes in units of each series), ``loss_ratio`` (pinball loss
    without it by that with it, over the forecasts with a known target; NaN where there is none),
    ``low`` and ``high`` (its 95 % interval, from a bootstrap over windows).

    Raises
    ------
    ValueError
        If the network cannot do without any of its paths.
    """
    network = task.model.network
    paths = getattr(network, "knockouts", ())
    if not paths:
        raise ValueError(
            f"methods: 'paths' needs a network with paths to knock out; {type(network).__name__} "
            "has none. Leave 'paths' out."
        )
    truth = Truth.of(task.panel, task.windows, task.asked, task.fitted.levels)
    whole = run_in_chunks(task.model, task.batch).astype(np.float64)
    entry, at = np.arange(len(task.window)), (task.window, task.step - 1)
    forecast = task.in_user_units(entry, whole[at] @ task.weights)
    rows = []
    for path in paths:
        less = run_in_chunks(task.model, task.batch, rarely=True, without=(path,)).astype(
            np.float64
        )
        change = np.abs(task.in_user_units(entry, less[at] @ task.weights) - forecast)
        moved = np.abs(less[at] @ task.weights - whole[at] @ task.weights)
        ratio = (np.nan,) * 3
        if truth.useful.any():
            ratio = ratio_interval(
                truth.losses(less)[truth.useful], truth.losses(whole)[truth.useful], rng
            )
        rows.append((path, change.mean(), moved.mean(), *ratio))
    table = pd.DataFrame(rows, columns=["path", "change", "share", "loss_ratio", "low", "high"])
    table["share"] /= table["share"].sum() or 1.0
    return table

"""The scores of forecasts made at many cutoffs of a known history.

Relies on a built network and its encoder (`tsfusion.prediction`); knows nothing of the estimator.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tsfusion.data.encoder import Rows
from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex, ahead, fallback_scale, gather
from tsfusion.prediction import Fitted, in_batches, run_model
from tsfusion.progress import shown

__all__ = ["affordable", "score_origins"]

# The most origins of a series (half a year of hours) and of all together, which bounds memory (86
# MB at 24 steps and 9 levels) and time; how many of each have a whole horizon to come, at least.
_OF_A_SERIES, _IN_ALL, _WHOLE = 4000, 100_000, 50


def affordable(
    memory: Rows, first: np.ndarray, wanted: np.ndarray, horizon: int
) -> tuple[int, np.ndarray]:
    """Return how many origins of each series to score at most, and of which series.

    All of them while they are few. Of more, the last ones of each series; but the truth of the last
    steps is still to come for the very last, and many days tell more than many series of one day:
    so where these would be few, series are drawn evenly.

    Parameters
    ----------
    memory, first, wanted
        As `score_origins` takes them.
    horizon : int

    Returns
    -------
    int, and ndarray of bool, shape (S,)
    """
    late = memory.ordinal >= first[memory.series]
    have = np.where(wanted, np.bincount(memory.series[late], minlength=len(wanted)), 0)
    most = _OF_A_SERIES
    if np.minimum(have, most).sum() <= _IN_ALL:
        return max(most, horizon + _WHOLE), wanted
    codes = np.flatnonzero(have)
    most = max(min(most, _IN_ALL // len(codes)), horizon - 1 + _WHOLE)
    total = np.minimum(have, most).sum()
    if total > _IN_ALL:
        drawn = max(1, int(len(codes) * (_IN_ALL / total)))
        wanted = np.zeros_like(wanted)
        wanted[codes[np.linspace(0, len(codes) - 1, drawn).round().astype(np.int64)]] = True
    return most, wanted


def score_origins(
    fitted: Fitted, model: Any, memory: Rows, first: np.ndarray, wanted: np.ndarray, *,
    until: np.ndarray | None = None, most: int | None = None, verbose: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Forecast from every cutoff of some series, and compare with what came.

    A cutoff is a row with a known target; the step after it is the origin. The forecast sees rows
    before the origin alone, and the known columns of its horizon.

    Parameters
    ----------
    fitted : Fitted
    model : keras.Model
    memory : Rows
        Sorted.
    first : ndarray, shape (S,)
        The first origin of each series.
    wanted : ndarray of bool, shape (S,)
        Which series.
    until : ndarray, shape (S,), default=None
        The last step of each series whose target counts; None for all.
    most : int, default=None
        The most origins per series: the last ones.
    verbose : int, default=0
        As for `tsfusion.progress.shown`.

    Returns
    -------
    series, origin : ndarray, shape (N,)
        Codes of memory's series, and step numbers.
    scores : ndarray of float32, shape (N, H, Q)
        ``y - q`` in units of the series; NaN where y is unknown.
    """
    codes = np.flatnonzero(wanted & (memory.counts() > 0))
    rows = _recent(memory, first, fitted.context_length).only(codes)
    shape = (0, fitted.horizon, len(fitted.levels))
    if len(rows) == 0:
        return np.zeros(0, np.int64), memory.ordinal[:0], np.zeros(shape, np.float32)
    panel = fitted.panel(rows)
    target = np.ascontiguousarray(panel.real[:, 0])
    if until is not None:
        late = panel.ordinal > until[codes][panel.series_of_rows()]
        target = np.where(late, np.float32(np.nan), target)
    windows = _origins(panel, target, first[codes], fitted.horizon, most)
    scores = np.empty((len(windows), *shape[1:]), np.float32)
    n = len(windows)
    for start, stop in shown(in_batches(n), n, "calibrate", verbose):
        part = windows.take(np.arange(start, stop))
        batch = gather(panel, part, context_length=fitted.context_length, horizon=fitted.horizon)
        truth = ahead(target, panel, part, fitted.horizon)
        past = batch["past_real"][..., 0]
        spread = fallback_scale(panel, part, past, constant=False)[:, None, None]
        errors = truth[..., None] - run_model(model, batch)
        scores[start:stop] = errors / spread
    return codes[windows.series], panel.ordinal[windows.origin], scores


def _recent(memory: Rows, first: np.ndarray, context_length: int) -> Rows:
    """Return the rows from ``context_length`` before the first origin of each series on."""
    index = np.arange(len(memory))
    late = memory.ordinal >= first[memory.series]
    start = np.full(len(memory.labels), len(memory))
    np.minimum.at(start, memory.series[late], index[late])
    return memory.take(index >= start[memory.series] - context_length)


def _origins(
    panel: Panel, target: np.ndarray, first: np.ndarray, horizon: int, most: int | None
) -> WindowIndex:
    """Return the windows whose cutoff is known, with a known target ahead."""
    series = panel.series_of_rows()
    index = np.arange(len(panel))
    known = np.append(0, np.cumsum(np.isfinite(target)))
    end = np.minimum(index + horizon, panel.offsets[series + 1])
    follows = index > panel.offsets[series]
    # The cutoff's own target may lie past ``until``: there it is no truth, but still history.
    follows[1:] &= np.isfinite(panel.target[:-1])
    chosen = follows & (known[end] > known[:-1]) & (panel.ordinal >= first[series])
    if most is not None:
        after = np.append(np.cumsum(chosen[::-1])[::-1], 0)
        chosen &= after[:-1] - after[panel.offsets[series + 1]] <= most
    return WindowIndex(index[chosen], series[chosen])

"""Windows as index vectors into a panel, and the gather that turns some of them into a batch.

Relies on NumPy. A window is an origin (the panel row of its first step to forecast); it reads the
``context_length`` rows before and the ``horizon`` rows from there on, never across a series border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tsfusion.data.panel import Panel

__all__ = [
    "WindowIndex",
    "boundary_rows",
    "future_targets",
    "gather",
    "history_length",
    "targets",
    "training_windows",
    "validation_windows",
]


@dataclass(frozen=True)
class WindowIndex:
    """Windows of a panel: ``origin`` (W,) first row to forecast, ``series`` (W,) its series."""

    origin: np.ndarray
    series: np.ndarray

    def __len__(self) -> int:
        return len(self.origin)

    def take(self, index: np.ndarray) -> WindowIndex:
        """Return some of the windows."""
        return WindowIndex(self.origin[index], self.series[index])

    def thinned(self, most: int) -> WindowIndex:
        """Return at most ``most`` windows, evenly spaced."""
        if len(self) <= most:
            return self
        return self.take(np.linspace(0, len(self) - 1, most).round().astype(np.int64))


def _windows(
    panel: Panel, first: np.ndarray, stop: np.ndarray, context_length: int, horizon: int
) -> WindowIndex:
    """Windows with origins from ``first`` whose horizon ends by ``stop``, per series (rows).

    Windows without a known target on both sides are left out. A series that has no other window
    (too short, or known from late on) gives windows with a part of a horizon.
    """
    last = stop - horizon
    full = _useful(panel, first, last, stop, context_length, horizon)
    served = np.bincount(full.series, minlength=panel.n_series) > 0
    if served.all():
        return full
    short = _useful(
        panel, first, np.where(served, first - 1, stop - 1), stop, context_length, horizon
    )
    if len(full) == 0 or len(short) == 0:
        return short if len(full) == 0 else full
    origin = np.concatenate([full.origin, short.origin])
    order = np.argsort(origin, kind="stable")
    return WindowIndex(origin[order], np.concatenate([full.series, short.series])[order])


def _useful(
    panel: Panel, first: np.ndarray, last: np.ndarray, stop: np.ndarray, context_length: int,
    horizon: int,
) -> WindowIndex:  # fmt: skip
    """Windows with origins ``first`` to ``last`` that know a target on both sides."""
    count = np.maximum(last + 1 - first, 0)
    kind = np.int32 if len(panel) < np.iinfo(np.int32).max // 2 else np.int64
    series = np.repeat(np.arange(panel.n_series, dtype=kind), count)
    origin = np.arange(len(series), dtype=kind)
    origin += np.repeat((first - (np.cumsum(count) - count)).astype(kind), count)
    known = np.zeros(len(panel) + 1, kind)
    np.cumsum(np.isfinite(panel.target), out=known[1:])
    at = known[origin]
    useful = at > known[np.maximum(origin - context_length, panel.offsets.astype(kind)[series])]
    useful &= known[np.minimum(origin + horizon, stop.astype(kind)[series])] > at
    return WindowIndex(origin[useful], series[useful])


def boundary_rows(panel: Panel, boundary: Any) -> np.ndarray:
    """Return (S,) the first row of each series at or after a step; its end where there is none."""
    if boundary is None:
        return panel.offsets[1:]
    late = np.concatenate([[0], np.cumsum(panel.ordinal >= boundary)])
    return panel.offsets[1:] - (late[panel.offsets[1:]] - late[panel.offsets[:-1]])


def training_windows(
    panel: Panel, boundary: Any, *, context_length: int, horizon: int
) -> WindowIndex:
    """Windows whose whole horizon lies before ``boundary`` (a step number, or None)."""
    stop = boundary_rows(panel, boundary)
    return _windows(panel, panel.offsets[:-1], stop, context_length, horizon)


def validation_windows(
    panel: Panel, boundary: Any, *, context_length: int, horizon: int
) -> WindowIndex:
    """Windows whose whole horizon lies at or after ``boundary``."""
    first = boundary_rows(panel, boundary)
    return _windows(panel, first, panel.offsets[1:], context_length, horizon)


def gather(
    panel: Panel, windows: WindowIndex, *, context_length: int, horizon: int
) -> dict[str, np.ndarray]:
    """Copy windows out of a panel.

    Returns
    -------
    dict of ndarray
        ``past_real`` (B, T, Vp), ``past_categorical`` (B, T, Cp), ``past_mask`` (B, T) of steps of
        which something is known, ``future_real`` (B, H, Vf), ``future_categorical`` (B, H, Cf),
        ``static_real`` (B, Vs), ``static_categorical`` (B, Cs), ``fallback_loc`` (B,); unknown
        reals are NaN, unknown categories 0. Keys of width zero are left out.
    """
    past = _Blocks(panel, windows, windows.origin - context_length, context_length)
    ahead = _Blocks(panel, windows, windows.origin, horizon)
    observed, categorical = 1 + panel.n_observed_real, panel.n_observed_categorical
    batch = {
        "past_real": past.of(panel.real, np.nan),
        "past_mask": past.of(panel.anything_known, False),
    }
    if panel.categorical.shape[1]:
        batch["past_categorical"] = past.of(panel.categorical, 0)
    if panel.real.shape[1] > observed:
        batch["future_real"] = ahead.of(panel.real, np.nan)[..., observed:]
    if panel.categorical.shape[1] > categorical:
        batch["future_categorical"] = ahead.of(panel.categorical, 0)[..., categorical:]
    if panel.static_real.shape[1]:
        batch["static_real"] = panel.static_real[windows.series]
    if panel.static_categorical.shape[1]:
        batch["static_categorical"] = panel.static_categorical[windows.series]
    batch["fallback_loc"] = panel.fallback[windows.series]
    return batch


def targets(
    panel: Panel, windows: WindowIndex, *, horizon: int, stop: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return (B, H) targets in network units (0 where unknown) and their weights (0 there).

    ``stop`` (S,), if given, is the row from which on targets count as unknown.
    """
    ahead = _Blocks(panel, windows, windows.origin, horizon, stop)
    y = ahead.of(panel.real[:, 0], np.nan)
    known = np.isfinite(y)
    weight = np.where(known, ahead.of(panel.weight, 0), 0).astype(np.float32, copy=False)
    return np.where(known, y, 0).astype(np.float32, copy=False), weight


def future_targets(
    column: np.ndarray, panel: Panel, windows: WindowIndex, horizon: int
) -> np.ndarray:
    """Return (B, H) of a column (R,) of numbers from each origin on, NaN past the series' end."""
    return _Blocks(panel, windows, windows.origin, horizon).of(column, np.nan)


def history_length(panel: Panel, windows: WindowIndex) -> np.ndarray:
    """Return (B,) how many steps of its series lie before each origin."""
    return windows.origin - panel.offsets[windows.series]


class _Blocks:
    """The same ``length`` rows from ``first`` on, to be copied from several columns.

    A block of rows lies in one piece and is copied as one; steps outside the series are blanked.
    """

    def __init__(
        self, panel: Panel, windows: WindowIndex, first: np.ndarray, length: int,
        stop: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        low, high = panel.offsets[windows.series], panel.offsets[windows.series + 1]
        if stop is not None:
            high = np.minimum(high, stop[windows.series])
        self.length = length
        self.first = first
        last = max(len(panel) - length, 0)
        self.start = np.clip(first, 0, last)
        # Blocks that would begin before the panel or end after it: they are copied row by row.
        self.moved = np.flatnonzero((self.start != first) | (len(panel) < length))
        out = np.flatnonzero((first < low) | (first + length > high))
        rows = first[out, None] + np.arange(length)
        outside = (rows < low[out, None]) | (rows >= high[out, None])
        self.unknown = (out[:, None] * length + np.arange(length))[outside]

    def of(self, column: np.ndarray, blank: Any) -> np.ndarray:
        """Return (B, length, ...) of a column (R, ...), ``blank`` outside the series."""
        shape = (len(self.first), self.length, *column.shape[1:])
        if len(column) < self.length:
            block = np.empty(shape, column.dtype)
        else:
            view = np.lib.stride_tricks.as_strided(
                column,
                (len(column) - self.length + 1, *shape[1:]),
                (column.strides[0], *column.strides),
                writeable=False,
            )
            block = view[self.start]
        if len(column) and len(self.moved):
            rows = self.first[self.moved, None] + np.arange(self.length)
            block[self.moved] = column[np.clip(rows, 0, len(column) - 1)]
        block.reshape(-1, *column.shape[1:])[self.unknown] = blank
        return block

"""Windows as index vectors into a panel, and the gather that turns some of them into a batch.

Relies on NumPy. A window is an origin (the panel row of its first step to forecast); it reads the
``context_length`` rows before and the ``horizon`` rows from there on, never across a series border.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from tsfusion.data.panel import Panel, chunks

__all__ = [
    "BLOCKS",
    "CONSTANT",
    "TINY",
    "WindowIndex",
    "ahead",
    "boundary_rows",
    "evenly_spaced",
    "fallback_scale",
    "gather",
    "targets",
    "training_windows",
    "validation_windows",
]

BLOCKS = (
    "past_real", "past_categorical", "past_mask", "future_real", "future_categorical",
    "static_real", "static_categorical", "fallback_loc", "fallback_scale",
)  # fmt: skip

# Spread relative to the largest value up to which a window is constant, as in InstanceScaling; the
# least level of one, relative to the typical level.
CONSTANT, TINY = 1e-5, 1e-6


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
        return self.take(evenly_spaced(len(self), most))


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """Return at most ``most`` of ``count`` places."""
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).round().astype(np.int64)


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
    kind: Any = np.int32 if len(panel) < np.iinfo(np.int32).max // 2 else np.int64
    series = np.repeat(np.arange(panel.n_series, dtype=kind), count)
    origin = np.repeat((first - (np.cumsum(count) - count)).astype(kind), count)
    known = np.zeros(len(panel) + 1, kind)
    np.cumsum(np.isfinite(panel.target), out=known[1:])
    useful = np.empty(len(origin), bool)
    for part in chunks(len(origin)):
        origin[part] += np.arange(part.start, part.stop, dtype=kind)
        of, start = series[part], origin[part]
        at = known.take(start)
        low = known.take(np.maximum(start - context_length, panel.offsets.take(of)))
        high = known.take(np.minimum(start + horizon, stop.take(of)))
        useful[part] = (low < at) & (at < high)
    if useful.all():
        return WindowIndex(origin, series)
    return WindowIndex(origin[useful], series[useful])


def boundary_rows(panel: Panel, boundary: Any) -> np.ndarray:
    """Return (S,) the first row of each series at or after a step; its end where there is none."""
    if boundary is None:
        return panel.offsets[1:]
    return panel.insertion(np.arange(panel.n_series), boundary, side="left")


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
    panel: Panel, windows: WindowIndex, *, context_length: int, horizon: int,
    only: Collection[str] = BLOCKS,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Copy windows out of a panel.

    Parameters
    ----------
    panel : Panel
    windows : WindowIndex
        B of them.
    context_length, horizon : int
        T and H.
    only : collection of str, default=all
        The keys to return.

    Returns
    -------
    dict of ndarray
        ``past_real`` (B, T, Vp), ``past_categorical`` (B, T, Cp), ``past_mask`` (B, T) of steps of
        which something is known, ``future_real`` (B, H, Vf), ``future_categorical`` (B, H, Cf),
        ``static_real`` (B, Vs), ``static_categorical`` (B, Cs), ``fallback_loc`` (B,), and
        ``fallback_scale`` (B,) where the spread of a series is not known beforehand; unknown
        reals are NaN, unknown categories 0. Keys of width zero are left out.
    """
    past = _Blocks(panel, windows, windows.origin - context_length, context_length)
    future = _Blocks(panel, windows, windows.origin, horizon)
    observed, categorical = 1 + panel.n_observed_real, panel.n_observed_categorical
    steps: dict[str, tuple[_Blocks, np.ndarray, int, Any]] = {
        "past_real": (past, panel.real, 0, np.nan),
        "past_categorical": (past, panel.categorical, 0, 0),
        "future_real": (future, panel.real, observed, np.nan),
        "future_categorical": (future, panel.categorical, categorical, 0),
    }
    static = {"static_real": panel.static_real, "static_categorical": panel.static_categorical}
    batch = {
        name: rows.of(table, blank)[..., first:]
        for name, (rows, table, first, blank) in steps.items()
        if name in only and table.shape[1] > first
    }
    for name, values in static.items():
        if name in only and values.shape[1]:
            batch[name] = values[windows.series]
    if "past_mask" in only:
        batch["past_mask"] = past.of(panel.anything_known, False)
    if "fallback_loc" in only:
        batch["fallback_loc"] = panel.fallback[windows.series]
    unknown = panel.unknown_spread
    if "fallback_scale" in only and unknown is not None and unknown.any():
        # A column alone does not lie in one piece.
        real = batch["past_real"] if "past_real" in batch else past.of(panel.real, np.nan)
        batch["fallback_scale"] = fallback_scale(panel, windows, real[..., 0])
    return batch


def fallback_scale(
    panel: Panel, windows: WindowIndex, past: np.ndarray, *, constant: bool = True
) -> np.ndarray:
    r"""Return (B,) the spread that a window's own is drawn to, in units of its series.

    That is 1 where the series' spread was learned. A series that was not in training, or constant
    there, has the typical unit of the others, which may be far from its own; so the n known values
    :math:`v` of the window have their say, the more the more they are:
    :math:`\mathrm{std}(v)^{(n-1)/n}`, a geometric mean with the typical unit. Equal ones tell of a
    spread below the typical one by n, and in proportion to their level, but under a scaler that
    centres each series: there, levels say nothing. Nothing outside of the window counts, so that
    nothing after a cutoff does.

    Parameters
    ----------
    panel : Panel
    windows : WindowIndex
        B of them.
    past : ndarray, shape (B, T)
        Their targets in network units, NaN where unknown.
    constant : bool, default=True
        Whether equal values tell of a small spread; if not, they leave the typical unit.
    """
    series = windows.series
    result = np.ones(len(series), np.float32)
    if panel.unknown_spread is None:
        return result
    at = np.flatnonzero(panel.unknown_spread[series])
    values, known = past[at].astype(np.float64), np.isfinite(past[at])
    count = np.maximum(known.sum(axis=1), 1)
    values[~known] = 0
    mean = values.sum(axis=1) / count
    spread = np.sqrt((np.where(known, values - mean[:, None], 0) ** 2).sum(axis=1) / count)
    # The level in network units, and the one at which their unit is usual.
    unit = panel.unit[series[at]]
    level, usual = np.abs(panel.offset[series[at]] / unit + mean), panel.usual_level / unit
    lower = (level > 0) & (usual > level)
    share = np.where(lower, level / np.maximum(usual, TINY), 1.0)
    equal = spread <= CONSTANT * np.abs(values).max(axis=1, initial=0)
    small = np.maximum(share, TINY) / count if constant else 1.0
    own = np.where(equal, 1, spread) ** ((count - 1) / count)
    result[at] = np.where(count < 2, 1, np.where(equal, small, own))
    return result


def targets(
    panel: Panel, windows: WindowIndex, *, horizon: int, stop: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return (B, H) targets in network units (0 where unknown) and their weights (0 there).

    ``stop`` (S,), if given, is the row from which on targets count as unknown.
    """
    future = _Blocks(panel, windows, windows.origin, horizon, stop)
    # All columns, as they lie in one piece; a column alone does not.
    y = future.of(panel.real, np.nan)[..., 0]
    known = np.isfinite(y)
    weight = np.where(known, future.of(panel.weight, 0), 0).astype(np.float32, copy=False)
    return np.where(known, y, 0).astype(np.float32, copy=False), weight


def ahead(
    column: np.ndarray, panel: Panel, windows: WindowIndex, horizon: int, *, blank: Any = np.nan
) -> np.ndarray:
    """Return (B, H) of a column (R,) from each origin on, ``blank`` past the series' end."""
    return _Blocks(panel, windows, windows.origin, horizon).of(column, blank)


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
        self.start = first
        self.moved = self.unknown = out = np.flatnonzero((first < low) | (first + length > high))
        if len(out) == 0:
            return
        # Blocks that would begin before the panel or end after it are copied row by row.
        self.start = np.clip(first, 0, max(len(panel) - length, 0))
        self.moved = np.flatnonzero((self.start != first) | (len(panel) < length))
        rows = first[out, None] + np.arange(length)
        outside = (rows < low[out, None]) | (rows >= high[out, None])
        self.unknown = (out[:, None] * length + np.arange(length))[outside]

    def of(self, column: np.ndarray, blank: Any) -> np.ndarray:
        """Return (B, length, ...) of a column (R, ...), ``blank`` outside the series."""
        shape = (len(self.first), self.length, *column.shape[1:])
        if len(column) < self.length:
            block = np.empty(shape, column.dtype)
        else:
            # A whole block as one item: NumPy copies items faster than rows of numbers.
            column = np.ascontiguousarray(column)
            # Not its stride, which says nothing where there is one row.
            step = column.itemsize * math.prod(column.shape[1:])
            items = np.ndarray(
                len(column) - self.length + 1, f"V{self.length * step}", column, strides=(step,)
            )
            block = items[self.start].view(column.dtype).reshape(shape)
        if len(column) and len(self.moved):
            rows = self.first[self.moved, None] + np.arange(self.length)
            block[self.moved] = column[np.clip(rows, 0, len(column) - 1)]
        if len(self.unknown):
            block.reshape(-1, *column.shape[1:])[self.unknown] = blank
        return block

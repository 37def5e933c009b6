"""Windows as index vectors into a panel, and the gather that turns some of them into a batch.

Relies on NumPy. A window is an origin (the panel row of its first step to forecast); it reads the
``context_length`` rows before and the ``horizon`` rows from there on, never across a series border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tsfusion.data.panel import Panel

__all__ = ["WindowIndex", "gather", "training_windows", "validation_windows"]


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
    series = np.repeat(np.arange(panel.n_series), count)
    origin = np.arange(len(series)) + np.repeat(first - (np.cumsum(count) - count), count)
    known = np.concatenate([[0], np.cumsum(np.isfinite(panel.target))])
    low = np.maximum(origin - context_length, panel.offsets[series])
    useful = known[origin] > known[low]
    useful &= known[np.minimum(origin + horizon, stop[series])] > known[origin]
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
    origin, series = windows.origin[:, None], windows.series[:, None]
    past = origin + np.arange(-context_length, 0)
    # An origin rolled forward may lie past its series' end: what lies there is another's.
    outside = (past < panel.offsets[series]) | (past >= panel.offsets[series + 1])
    past = np.clip(past, 0, max(len(panel) - 1, 0))
    past_real = panel.real[past]
    past_real[outside] = np.nan
    observed = 1 + panel.n_observed_real
    mask = np.isfinite(past_real[..., :observed]).any(-1)
    batch = {"past_real": past_real, "past_mask": mask}
    if panel.categorical.shape[1]:
        codes = panel.categorical[past]
        codes[outside] = 0
        batch["past_categorical"] = codes
        mask |= (codes[..., : panel.n_observed_categorical] > 0).any(-1)
    future, after = _future_rows(panel, windows, horizon)
    if panel.real.shape[1] > observed:
        future_real = panel.real[:, observed:][future]
        future_real[after] = np.nan
        batch["future_real"] = future_real
    if panel.categorical.shape[1] > panel.n_observed_categorical:
        codes = panel.categorical[:, panel.n_observed_categorical :][future]
        codes[after] = 0
        batch["future_categorical"] = codes
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
    future, after = _future_rows(panel, windows, horizon)
    if stop is not None:
        after = after | (future >= stop[windows.series][:, None])
    y = panel.real[:, 0][future]
    known = np.isfinite(y) & ~after
    weight = np.where(known, panel.weight[future], 0).astype(np.float32)
    return np.where(known, y, 0).astype(np.float32), weight


def _future_rows(panel: Panel, windows: WindowIndex, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    future = windows.origin[:, None] + np.arange(horizon)
    after = future >= panel.offsets[windows.series + 1][:, None]
    return np.minimum(future, max(len(panel) - 1, 0)), after

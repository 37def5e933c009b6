"""Training windows that stand in for values of a window; relies on the data package and NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex, gather, training_windows
from tsfusion.prediction import Fitted

__all__ = ["Donors", "first_steps", "whole_windows"]

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Donors:
    """Training windows by phase: the position of their first step to forecast in the season.

    Attributes
    ----------
    fitted : Fitted
    panel : Panel
        The known history.
    windows : WindowIndex
        Sorted by phase, series and time. Windows with a whole context, if there are any.
    phase : ndarray of int64, shape (D,)
        Increasing.
    season : int
        Steps in a season; 1 where there is none.
    level : ndarray of float64, shape (S,)
        Mean target of each series before the validation tail, in the scaler's units.
    """

    fitted: Fitted
    panel: Panel
    windows: WindowIndex
    phase: np.ndarray
    season: int
    level: np.ndarray

    @classmethod
    def of(cls, fitted: Fitted, panel: Panel) -> Donors:
        """Find the training windows in a panel of the known history.

        Raises
        ------
        ValueError
            If there is none.
        """
        windows = whole_windows(fitted, panel)
        if len(windows) == 0:
            raise ValueError(
                "explain: no window of the known history to compare with: expected a series with "
                "two known targets. Pass the training history in context=, or fit again."
            )
        season = fitted.encoder.timeline.season
        phase = first_steps(panel, windows) % season
        order = np.argsort(phase, kind="stable")
        return cls(fitted, panel, windows.take(order), phase[order], season, _levels(fitted, panel))

    def choose(self, panel: Panel, windows: WindowIndex, count: int, seed: int) -> np.ndarray:
        """Return (W, K) donors of the phase of each window, spread evenly over series and time.

        Where no training window has the phase, any may stand in. What a window gets hangs on its
        series, its time and the seed, not on the windows beside it.
        """
        first = first_steps(panel, windows)
        phase = first % self.season
        low = np.searchsorted(self.phase, phase, side="left")
        high = np.searchsorted(self.phase, phase, side="right")
        low, high = np.where(high > low, low, 0), np.where(high > low, high, len(self.phase))
        series = self.panel.labels.get_indexer(panel.labels)[windows.series]
        draw = _uniform(np.stack([np.full_like(first, seed), series, first], axis=1))
        share = (np.arange(count) + draw[:, None]) / count
        return low[:, None] + (share * (high - low)[:, None]).astype(np.int64)

    def batch(self, panel: Panel, windows: WindowIndex, batch: Batch, chosen: np.ndarray) -> Batch:
        """Return the chosen donors' inputs (W * K, ...), as windows of the series explained.

        What a window does not know stays unknown in its donors, and what a donor does not know
        is filled in (by its own mean in that window, else by the mean of training), so that both
        have the same mask. The target of a donor is moved to the level of the series explained,
        and to its spread where that was not learned.
        """
        index = self.windows.take(chosen.reshape(-1))
        found = gather(
            self.panel, index, context_length=self.fitted.context_length,
            horizon=self.fitted.horizon,
        )  # fmt: skip
        own = np.repeat(np.arange(len(windows)), chosen.shape[1])
        level = self._level_in(panel)[windows.series[own]]
        # In float64: the level of a series in its own units may be large beside its spread.
        theirs = self._level_in(self.panel)[index.series]
        past = found["past_real"].astype(np.float64)
        ratio = batch.get("fallback_scale", np.ones(len(windows), np.float32))[own].astype(float)
        ratio /= found.pop("fallback_scale", 1.0)
        past[..., 0] = (past[..., 0] - theirs[:, None]) * ratio[:, None] + level[:, None]
        found["past_real"] = _filled(past, level).astype(np.float32)
        for name, value in found.items():
            if name.endswith("_real"):
                value = np.where(np.isfinite(value), value, np.float32(0))
                found[name] = np.where(np.isfinite(batch[name][own]), value, np.float32(np.nan))
        for name in ("past_mask", "fallback_loc", "fallback_scale"):
            if name in batch:
                found[name] = batch[name][own]
        return found

    def _level_in(self, panel: Panel) -> np.ndarray:
        """Return (S,) the level of each series of a panel, in its network units.

        A panel of rows to forecast may hold fewer series, under other codes.
        """
        at = self.panel.labels.get_indexer(panel.labels)
        level = np.where(at >= 0, self.level[at], self.fitted.units.typical_level)
        return (level - panel.offset) / panel.unit


def _filled(past: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return past reals (B, T, V) in which the unknown is the window's mean of the variable.

    A target of which nothing is known takes the level; another variable 0, its training mean.
    """
    known = np.isfinite(past)
    count = known.sum(axis=1)
    mean = np.where(known, past, 0).sum(axis=1) / np.maximum(count, 1)
    mean[:, 0] = np.where(count[:, 0] > 0, mean[:, 0], level)
    return np.where(known, past, mean[:, None])


def whole_windows(fitted: Fitted, panel: Panel) -> WindowIndex:
    """Return the training windows of a panel, or any where there is none.

    Those whose horizon the panel holds, and with a whole context if there are any.
    """
    sizes = {"context_length": fitted.context_length, "horizon": fitted.horizon}
    windows = training_windows(panel, fitted.encoder.boundary, **sizes)
    if len(windows) == 0:
        windows = training_windows(panel, None, **sizes)
    inside = windows.origin + fitted.horizon <= panel.offsets[windows.series + 1]
    full = windows.origin - panel.offsets[windows.series] >= fitted.context_length
    for kept in (full & inside, inside):
        if kept.any():
            return windows.take(kept)
    return windows


def first_steps(panel: Panel, windows: WindowIndex) -> np.ndarray:
    """Return (W,) the number of the first step to forecast."""
    low, high = panel.offsets[windows.series], panel.offsets[windows.series + 1] - 1
    anchor = np.clip(windows.origin, low, high)
    return (panel.ordinal[anchor] + windows.origin - anchor).astype(np.int64)


def _uniform(keys: np.ndarray) -> np.ndarray:
    """Return (R,) numbers from 0 to 1 that hang on the integers of each row (R, C) alone.

    References
    ----------
    Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators", splitmix64.
    """
    state = np.zeros(len(keys), np.uint64)
    for column in keys.astype(np.int64).astype(np.uint64).T:
        state = (state ^ column) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) / 2.0**53


def _levels(fitted: Fitted, panel: Panel) -> np.ndarray:
    """Return (S,) the mean known target of each series before the validation tail.

    Of all known targets where there is none before it; the typical level without any.
    """
    series = np.repeat(np.arange(panel.n_series), panel.lengths)
    known = np.isfinite(panel.target)
    boundary = fitted.encoder.boundary
    before = known if boundary is None else known & (panel.ordinal < boundary)
    level = np.full(panel.n_series, fitted.units.typical_level)
    for rows in (known, before):
        count = np.bincount(series[rows], minlength=panel.n_series)
        total = np.bincount(series[rows], panel.target[rows], panel.n_series)
        level = np.where(count > 0, total / np.maximum(count, 1), level)
    return level

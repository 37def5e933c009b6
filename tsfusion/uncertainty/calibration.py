"""What was learned from the errors of past forecasts, and how it moves quantiles.

Relies on NumPy and pandas. Everything is in units of each series (those in which the network sees
its target), so that the errors of several series can be pooled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.quantiles import interpolate_quantiles
from tsfusion.uncertainty.conformal import (
    corrections_of_ordered,
    overlap_of,
    path_corrections,
    scores_needed,
    side,
    step_corrections,
    upper_scores,
)
from tsfusion.uncertainty.paths import dependent_uniforms, normal_scores, quantiles_at

__all__ = ["COVERAGES", "METHODS", "OPTIONS", "Calibration", "check_options", "code_outside"]

OPTIONS = ("method", "coverage", "window", "min_origins", "rate")
METHODS = ("cqr", "aci", "tracking")
COVERAGES = ("step", "path")
# Beside the trained levels, those of the usual wide intervals have a correction of their own.
_TAILS = (0.005, 0.01, 0.025, 0.05, 0.95, 0.975, 0.99, 0.995)
# Gibbs and Candes (2021) take 0.005. Of quantile tracking, a share of the largest score:
# Angelopoulos, Candes and Tibshirani (2023) take 0.1, one step ahead. Errors over a horizon come in
# bursts, and a step size that follows them lags behind: on ETTh1 (benchmarks/calibration.py) 0.01
# and 0.02 covered 3 and 4 points less at 80 % than the window alone.
_RATES = {"cqr": 0.0, "aci": 0.005, "tracking": 0.005}
# What rolls on keeps fewer origins than what stands still: where new ones follow, the nearest tell
# most; where none do, all kinds of days count. On ETTh1, bike sharing and air quality (two seeds,
# 120 days), 2,880 origins once were 2.6, 2.6, 1.5 and 1.3 points off at 50, 80, 90 and 95 %, 1,000
# were 4.5, 4.4, 2.9 and 1.7 off; rolled on, 2.4, 2.3, 1.4 and .8 against 1.8, 1.9, 1.0 and .5.
_ROLLING = 1000
# A long update is followed in this many stretches; within one, the scores to compare with stay.
_STRETCHES = 50


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of past forecasts, and the corrections of quantiles that follow from them.

    The lower and the upper side are corrected apart, each level by the errors at that level (split
    conformalised quantile regression), for each step of the horizon: what is given are quantiles,
    and one correction for both sides would keep the coverage of an interval and none of theirs. A
    series with ``min_origins`` forecast origins or more is corrected by its own scores, any other
    by those of all series. Neighbouring origins are alike, so fewer scores than there are count
    (`overlap_of`). Quantiles that cross after that are sorted.

    Parameters
    ----------
    method : {"cqr", "aci", "tracking"}
        Corrections from the scores in the window; the same at a level that follows the misses
        (adaptive conformal inference); or a correction that itself follows them.
    coverage : {"step", "path"}
        What an interval is to cover: the truth at each step, or that of the whole horizon at once.
    levels : ndarray, shape (Q,)
        The trained levels.
    window : int
        Origins kept per series once scores are added.
    min_origins : int
        From how many origins on a series is corrected by its own.
    rate : float
        Step size of the adaptive methods.
    n_series : int
        S.
    series : ndarray of int64, shape (N,)
        The series of each origin; below 0 for one that is not in memory (`code_outside`).
    origin : ndarray, shape (N,)
        The step number (or time) of the first step forecast.
    scores : ndarray of float32, shape (N, H, Q)
        ``y - q``; NaN where y is not known yet.
    state : ndarray, shape (1 + S, H, L), or (0,)
        Of the adaptive methods: levels or corrections, first of all series together, NaN where a
        series has none of its own.

    References
    ----------
    Romano, Patterson and Candes (2019), "Conformalized Quantile Regression", NeurIPS 32.
    Gibbs and Candes (2021), "Adaptive conformal inference under distribution shift", NeurIPS 34.
    Angelopoulos, Candes and Tibshirani (2023), "Conformal PID control for time series prediction",
    NeurIPS 36, section 2.1.

    Examples
    --------
    >>> import numpy as np
    >>> errors = np.random.default_rng(0).normal(size=(500, 1, 1))
    >>> forecast = np.array([-0.5, 0.0, 0.5])  # far too narrow
    >>> calibration = Calibration.start(
    ...     np.zeros(500, int), np.arange(500), errors - forecast, [0.1, 0.5, 0.9], n_series=1
    ... )
    >>> calibration.quantiles(forecast[None], np.array([0]), np.array([1]), [0.1, 0.9]).round(1)
    array([[-1.3,  1.3]])
    """

    method: str
    coverage: str
    levels: np.ndarray
    window: int
    min_origins: int
    rate: float
    n_series: int
    series: np.ndarray
    origin: np.ndarray
    scores: np.ndarray
    state: np.ndarray

    def __repr__(self) -> str:
        forecasts, steps, _ = self.scores.shape
        return (
            f"Calibration({self.method!r}, coverage={self.coverage!r}, {forecasts} forecasts of "
            f"{steps} steps from {self.n_series} series)"
        )

    @classmethod
    def start(
        cls, series: np.ndarray, origin: np.ndarray, scores: np.ndarray, levels: Sequence[float], *,
        n_series: int, method: str = "cqr", coverage: str = "step", window: int | None = None,
        min_origins: int = 200, rate: float | None = None,
    ) -> Calibration:  # fmt: skip
        """Calibrate on the scores of origins; see the attributes.

        Parameters
        ----------
        series, origin, scores, levels, n_series, method, coverage, min_origins
            As the attributes.
        window : int, default=None
            Origins to keep per series. None keeps all now and, from the first `roll` on, the last
            1,000 (as many as the series with most has now, if these are fewer).
        rate : float, default=None
            None is 0.005 for "aci", 0.005 of the largest score for "tracking".

        Returns
        -------
        Calibration

        Raises
        ------
        ValueError
            If a step has no score at all, or an adaptive method is asked to cover paths.
        """
        check_options(method=method, coverage=coverage)
        ours = series[series >= 0] if (series >= 0).any() else series
        size = int(np.unique(ours, return_counts=True)[1].max(initial=0))
        order = np.lexsort((origin, series))
        made = cls(
            method=method,
            coverage=coverage,
            levels=np.asarray(levels, float),
            window=min(size, _ROLLING) if window is None else int(window),
            min_origins=int(min_origins),
            rate=_RATES[method] if rate is None else float(rate),
            n_series=int(n_series),
            series=np.asarray(series, np.int64)[order],
            origin=np.asarray(origin)[order],
            scores=np.asarray(scores, np.float32)[order],
            state=np.zeros(0),
        )
        made = made if window is None else made._trimmed()
        made._check_enough()
        if method == "cqr":
            return made
        blank = np.full((1 + made.n_series, made.horizon, len(made.grid)), np.nan)
        return replace(made, state=made._begun(blank))

    @property
    def horizon(self) -> int:
        """The steps that have corrections, H."""
        return self.scores.shape[1]

    @cached_property
    def grid(self) -> np.ndarray:
        """(L,) the levels that are corrected; others are interpolated between them."""
        return np.array(sorted({*self.levels.tolist(), *_TAILS}))

    @cached_property
    def counts(self) -> np.ndarray:
        """(1 + S,) the fewest scores that any step has: of all series together, then of each."""
        known = np.isfinite(self.scores).all(axis=2)
        if self.coverage == "path":
            known = known.all(axis=1, keepdims=True)
        mine = np.zeros((1 + self.n_series, known.shape[1]), np.int64)
        np.add.at(mine, np.maximum(self.series, -1) + 1, known)
        mine[0] = known.sum(axis=0)
        return mine.min(axis=1)

    @cached_property
    def group(self) -> np.ndarray:
        """(S + 1,) whose scores correct each series: 0 is all of them, 1 + s its own.

        The last is for series not in memory (code -1).
        """
        own = self.counts[1:] >= self.min_origins
        return np.append(np.where(own, 1 + np.arange(self.n_series), 0), 0)

    @cached_property
    def corrections(self) -> np.ndarray:
        """(1 + S, H, L) what to move quantiles outward by; NaN for series that share theirs."""
        if self.coverage == "path":
            blank = np.full((1 + self.n_series, self.horizon, len(self.grid)), np.nan)
            for row, members in self._groups():
                blank[row] = path_corrections(
                    self.scores[members], self._trained, self._asked, self._overlap[-1]
                )
            return blank
        return self._step_corrections

    @cached_property
    def _step_corrections(self) -> np.ndarray:
        if self.method == "tracking":
            return self.state
        result = np.full((1 + self.n_series, self.horizon, len(self.grid)), np.nan)
        for row, members in self._groups():
            if self.method == "cqr":
                result[row] = step_corrections(self._upper(members), self._asked, self._overlap)
            else:
                ordered = np.sort(self._upper(members), axis=0)
                result[row] = corrections_of_ordered(ordered, self.state[row], self._overlap)
        return result

    def quantiles(
        self, values: np.ndarray, series: np.ndarray, step: np.ndarray, asked: Sequence[float]
    ) -> np.ndarray:
        """Return calibrated quantiles.

        Parameters
        ----------
        values : ndarray, shape (R, Q)
            Raw quantiles at the trained levels.
        series : ndarray of int, shape (R,)
            -1 for one not in memory.
        step : ndarray of int, shape (R,)
            From 1; past the horizon the last correction goes on.
        asked : sequence of float, shape (A,)

        Returns
        -------
        ndarray, shape (R, A)
        """
        curve = self._curve(values, series, step, self.corrections)
        return interpolate_quantiles(curve, self._asked, asked)

    def paths(
        self, values: np.ndarray, series: np.ndarray, step: np.ndarray, n_paths: int, seed: int,
        key: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Return sample paths: calibrated at each step, dependent over steps as past errors were.

        Parameters
        ----------
        values, series, step
            As in `quantiles`.
        n_paths : int
            P.
        seed : int
            From 0 to 2^32 - 1.
        key : ndarray of int64, shape (R,), default=None
            The forecast that each row is a step of, of which the draws hang and on the seed alone.
            None where each series has one, and all are in memory.

        Returns
        -------
        ndarray, shape (R, P)
            Column p holds path p of each forecast. Paths of different forecasts are independent.

        Raises
        ------
        ValueError
            If a step lies past the horizon, or fewer than two origins know their whole path.
        """
        last = int(step.max(initial=1))
        if last > self.horizon:
            raise ValueError(
                f"expected at most the {self.horizon} steps of the horizon, received step {last}."
            )
        curve = self._curve(values, series, step, self._step_corrections)
        uniforms = np.empty((len(step), n_paths))
        group = self.group[series]
        templates = {row: self._template(row, last) for row in np.unique(group)}
        key = np.asarray(series if key is None else key, np.int64)
        order = np.argsort(key, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
            if len(rows) == 0:
                continue
            parts = np.array([key[rows[0]]]).view(np.uint32)
            random = np.random.RandomState([seed, *parts.tolist()])
            drawn = dependent_uniforms(templates[group[rows[0]]], n_paths, random)
            uniforms[rows] = drawn.T[step[rows] - 1]
        return quantiles_at(curve, self.grid, uniforms)

    def shortfall(self, asked: Sequence[float], series: np.ndarray) -> str | None:
        """Say which level has too few scores for any of the series, or return None."""
        if len(asked) == 0 or len(series) == 0:
            return None
        n = int(self.counts[np.unique(self.group[np.unique(series)])].min())
        extreme = max(asked, key=lambda level: max(level, 1 - level))
        if self.coverage == "path":
            extreme_pair = 2 * max(extreme, 1 - extreme) - 1
            needed = scores_needed(max(0.5, extreme_pair), self._overlap[-1])
        else:
            needed = scores_needed(extreme, self._overlap[-1])
        if n >= needed:
            return None
        return (
            f"The level {extreme:g} needs {needed} calibration scores {self.horizon} steps ahead, "
            f"where those of neighbouring cutoffs are alike, and there are {n}: the quantile is "
            "moved by the largest score and may cover less than it says. Calibrate on more rows, "
            "or ask for a level nearer the median."
        )

    def resume(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (S,) from which origin on each series is to be scored again, and if it has any."""
        has = np.zeros(self.n_series, bool)
        first = np.zeros(self.n_series, self.origin.dtype)
        rows = np.flatnonzero(self.series >= 0)
        if len(rows) == 0:
            return first, has
        code = self.series[rows]
        has[code] = True
        # In order of series and origin: the last assignment wins.
        first[code] = self.origin[rows]
        from_end = np.searchsorted(code, code, side="right") - np.arange(len(code))
        lacking = np.isnan(self.scores[rows]).any(axis=(1, 2)) & (from_end < self.horizon + 1)
        at = np.flatnonzero(lacking)[::-1]
        first[code[at]] = self.origin[rows[at]]
        return first, has

    def known_as(self, labels: pd.Index) -> Calibration:
        """Return the calibration for a memory of these series, those known before included.

        A series that came into it has the code that it has there from now on, so that errors seen
        twice count once.
        """
        outside = self.series < 0
        placed = replace(self, n_series=len(labels))
        if not outside.any():
            return placed
        found = pd.Index(code_outside(labels)).get_indexer(self.series)
        series = np.where(outside & (found >= 0), found, self.series)
        return replace(placed, series=series)._take(np.lexsort((self.origin, series)))

    def roll(
        self, series: np.ndarray, origin: np.ndarray, scores: np.ndarray, n_series: int
    ) -> Calibration:
        """Return the calibration with scores that have become known, without the oldest.

        A score for step h exists h - 1 steps after its origin's first: the scores of one origin
        come one by one. One that is known already stays as it is.

        Parameters
        ----------
        series, origin, scores
            As the attributes; NaN where y is not known yet.
        n_series : int
            The series now, those of before included.

        Returns
        -------
        Calibration
        """
        joined = replace(
            self,
            n_series=int(n_series),
            series=np.concatenate([self.series, np.asarray(series, np.int64)]),
            origin=np.concatenate([self.origin, np.asarray(origin, self.origin.dtype)]),
            scores=np.concatenate([self.scores, np.asarray(scores, np.float32)]),
        )
        merged, fresh = joined._merged(np.arange(len(joined.series)) >= len(self.series))
        if self.method != "cqr":
            merged = replace(merged, state=merged._followed(fresh))
        return merged._trimmed()

    @property
    def _overlap(self) -> np.ndarray:
        return overlap_of(self.horizon)

    @property
    def _trained(self) -> list[float]:
        return self.levels.tolist()

    @property
    def _asked(self) -> list[float]:
        return self.grid.tolist()

    def _take(self, index: np.ndarray) -> Calibration:
        return replace(
            self,
            series=self.series[index],
            origin=self.origin[index],
            scores=self.scores[index],
        )

    def _groups(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the row of each group that has corrections, and its origins."""
        yield 0, np.arange(len(self.series))
        for row in np.unique(self.group[self.group > 0]):
            start, stop = np.searchsorted(self.series, [row - 1, row])
            yield int(row), np.arange(start, stop)

    def _upper(self, members: np.ndarray) -> np.ndarray:
        return upper_scores(self.scores[members], self._trained, self._asked)

    def _curve(
        self, values: np.ndarray, series: np.ndarray, step: np.ndarray, corrections: np.ndarray
    ) -> np.ndarray:
        """Return (R, L) calibrated quantiles at the levels of the grid, sorted."""
        raw = interpolate_quantiles(values, self._trained, self._asked)
        at = np.minimum(step, self.horizon) - 1
        return np.sort(raw + side(self.grid)[0] * corrections[self.group[series], at], axis=-1)

    def _template(self, row: int, steps: int) -> np.ndarray:
        """Return (N, steps) where past truths lay in their forecasts, of whole paths."""
        members = self.series == row - 1 if row else slice(None)
        scores = self.scores[members, :steps]
        whole = scores[np.isfinite(scores).all(axis=(1, 2))]
        if len(whole) < 2:
            raise ValueError(
                f"expected at least two calibration origins whose {steps} steps are all known, "
                f"found {len(whole)}. Calibrate on more rows."
            )
        return normal_scores(whole, self.levels)

    def _check_enough(self) -> None:
        known = np.isfinite(self.scores).all(axis=2)
        each = known.sum(axis=0) if len(known) else np.zeros(self.horizon, int)
        if (each == 0).any():
            raise ValueError(
                f"no forecast could be compared with the truth {int((each == 0).argmax()) + 1} "
                f"steps ahead ({len(known)} forecast origins): expected known targets at least "
                f"over a horizon of {self.horizon} steps."
            )
        if self.coverage == "path" and not known.all(axis=1).any():
            raise ValueError(
                f"no forecast origin has known targets over all {self.horizon} steps, as "
                "coverage='path' needs. Use coverage='step'."
            )

    def _trimmed(self) -> Calibration:
        """Drop the oldest origins of each series beyond the window; sorted by series and origin."""
        from_end = np.searchsorted(self.series, self.series, side="right") - np.arange(
            len(self.series)
        )
        kept = from_end <= self.window
        return self if kept.all() else self._take(kept)

    def _merged(self, is_new: np.ndarray) -> tuple[Calibration, np.ndarray]:
        """Join the two rows of one origin; return also (N, H) which scores were not known."""
        order = np.lexsort((is_new, self.origin, self.series))
        series, origin, new = self.series[order], self.origin[order], is_new[order]
        scores = self.scores[order]
        known = np.isfinite(scores).all(axis=2)
        fresh = known & new[:, None]
        twin = np.flatnonzero(
            (series[1:] == series[:-1]) & (origin[1:] == origin[:-1]) & new[1:] & ~new[:-1]
        )
        filled = known[twin + 1] & ~known[twin]
        fresh[twin] = filled
        scores[twin] = np.where(filled[..., None], scores[twin + 1], scores[twin])
        kept = np.ones(len(series), bool)
        kept[twin + 1] = False
        merged = replace(self, series=series[kept], origin=origin[kept], scores=scores[kept])
        return merged, fresh[kept]

    def _begun(self, state: np.ndarray) -> np.ndarray:
        """Return the state with a start for each group that has none."""
        upper = side(self.grid)[1]
        state = state.copy()
        for row, members in self._groups():
            if np.isnan(state[row]).all():
                start: Any = upper
                if self.method == "tracking":
                    start = step_corrections(self._upper(members), self._asked, self._overlap)
                state[row] = start
        return state

    def _followed(self, fresh: np.ndarray) -> np.ndarray:
        """Return the state after the fresh scores (N, H), in the order they became known."""
        grown = np.full((1 + self.n_series, *self.state.shape[1:]), np.nan)
        grown[: len(self.state)] = self.state
        begun = self._begun(grown)
        place = np.unique(self.origin, return_inverse=True)[1].reshape(-1)
        for row, members in self._groups():
            if not np.isnan(grown[row]).all():
                begun[row] = self._follow(
                    begun[row], self._upper(members), place[members], fresh[members]
                )
        return begun

    def _follow(
        self, state: np.ndarray, upper: np.ndarray, place: np.ndarray, fresh: np.ndarray
    ) -> np.ndarray:
        """Return the state (H, L) of one group after its fresh scores; ``place`` (N,) orders them.

        After each origin, ``level += rate * (miss - (1 - nominal))``, Gibbs and Candes (2021) eq.
        (2) seen from the level's side; of several series, the mean miss counts. Each step has a
        state of its own, and its scores become known in the order of their origins: each is
        compared with the correction of the time when it does.
        """
        nominal = side(self.grid)[1]
        state = state.copy()
        origin, step = np.nonzero(fresh)
        times, at = np.unique(place[origin], return_inverse=True)
        cells = np.split(np.argsort(at, kind="stable"), np.cumsum(np.bincount(at))[:-1])
        for stretch in np.array_split(np.arange(len(times)), max(1, min(len(times), _STRETCHES))):
            if len(stretch) == 0:
                continue
            now = times[stretch[0]]
            # The window as it was when each step's score became known.
            recent = place[:, None] - np.arange(self.horizon) >= now - self.window
            before = (place < now)[:, None] & recent
            ordered = np.sort(np.where(before[..., None], upper, np.nan), axis=0)
            size = np.nanmax(np.abs(ordered), axis=0, initial=0.0)
            for i in stretch:
                arrived, of = origin[cells[i]], step[cells[i]]
                bound = state
                if self.method == "aci":
                    bound = corrections_of_ordered(ordered, state, self._overlap)
                miss, count = np.zeros_like(state), np.zeros((len(state), 1))
                np.add.at(miss, of, upper[arrived, of] > bound[of])
                np.add.at(count, of, 1.0)
                away = np.where(count > 0, miss / np.maximum(count, 1) - (1 - nominal), 0.0)
                if self.method == "aci":
                    # Bounded, for a level past 1 would widen no more, and be long in coming back.
                    state = np.clip(state + self.rate * away, 0.0, 1.0)
                else:
                    state = state + self.rate * size * away
        return state

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def code_outside(labels: pd.Index) -> np.ndarray:
    """Return (S,) codes below 0 that tell series by their labels, in whatever order they come.

    Examples
    --------
    >>> codes = code_outside(pd.Index(["a", "b"]))
    >>> codes.max() < 0, codes[1] == code_outside(pd.Index(["b"]))[0]
    (np.True_, np.True_)
    """
    hashed = pd.util.hash_pandas_object(labels, index=False).to_numpy(np.uint64)
    return -1 - (hashed >> np.uint64(1)).astype(np.int64)


def check_options(
    *, method: Any = "cqr", coverage: Any = "step", window: Any = None, min_origins: Any = 200,
    rate: Any = None,
) -> None:  # fmt: skip
    """Raise unless these are arguments that `Calibration.start` can take."""
    for name, value, allowed in (("method", method, METHODS), ("coverage", coverage, COVERAGES)):
        if value not in allowed:
            raise ValueError(f"{name}: expected one of {allowed}, received {value!r}.")
    if coverage == "path" and method != "cqr":
        raise ValueError(
            f"coverage: 'path' goes with method='cqr' alone, received method={method!r}."
        )
    for name, count in (("window", window), ("min_origins", min_origins)):
        if name == "window" and count is None:
            continue
        if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
            raise ValueError(f"{name}: expected an integer >= 1, received {count!r}.")
    if rate is not None and not (isinstance(rate, Real) and float(rate) >= 0):
        raise ValueError(f"rate: expected a number >= 0, received {rate!r}.")

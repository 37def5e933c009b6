"""How a column goes with the target of other times: correlation of changes, and cuts of its range.

Relies on NumPy. Rows lie in one flat order of series and time; each function answers for all S
series at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

__all__ = ["Pairs", "correlations", "cuts_range"]

# Changes that a correlation must rest on: with 12, chance gives r^2 > 0.998 once in 10^13.
_LEAST_CHANGES = 12
# The log of the chance below which an order of categories is taken for no accident.
_NO_ACCIDENT = -27.0
# Ranges count as touching up to this many typical distances between their values.
_TOUCHING = 10


@dataclass(frozen=True)
class Pairs:
    """Rows in order of series and time, and which of them lie a number of steps apart.

    Attributes
    ----------
    series, step : ndarray of int, shape (R,)
        Codes of the series, and steps of time.
    regular : bool
        Whether neighbours in time are one step apart; if not, every row is a step.
    n_series : int
        S.
    target : ndarray of float, shape (R,)
        NaN where unknown.
    """

    series: np.ndarray
    step: np.ndarray
    regular: bool
    n_series: int
    target: np.ndarray

    @cached_property
    def target_changes(self) -> np.ndarray:
        """The target's changes, (R,)."""
        return self.changes(self.target)

    def shifted(self, values: np.ndarray, lag: int, nothing: Any = np.nan) -> np.ndarray:
        """Return for each row the value ``lag`` steps before it; ``nothing`` where there is none.

        Steps are counted in rows: a pair with a gap in between is left out.
        """
        if lag == 0:
            return values
        later, earlier = slice(abs(lag), None), slice(None, max(len(values) - abs(lag), 0))
        apart = self.series[later] == self.series[earlier]
        if self.regular:
            apart &= self.step[later] - self.step[earlier] == abs(lag)
        here, there = (later, earlier) if lag > 0 else (earlier, later)
        result = np.full_like(values, nothing)
        result[here] = np.where(apart, values[there], nothing)
        return result

    def changes(self, values: np.ndarray) -> np.ndarray:
        """Return (R,) changes from step to step about their mean; exactly 0 for rounding noise."""
        changes = values - self.shifted(values, 1)
        known = np.isfinite(changes)
        count = np.maximum(np.bincount(self.series[known], minlength=self.n_series), 1)
        mean = np.bincount(self.series[known], changes[known], self.n_series) / count
        changes -= mean[self.series]
        size = np.zeros(self.n_series)
        np.fmax.at(size, self.series, np.abs(values))
        changes[np.abs(changes) <= 1e-10 * size[self.series]] = 0
        return changes


def correlations(pairs: Pairs, changes: np.ndarray, lag: int) -> np.ndarray:
    """Return (1 + S,) squared correlations of changes with the target's, ``lag`` steps before.

    The first is over all series (one slope, a mean for each), then one per series; 0 where fewer
    than 12 changes, or none, tell.
    """
    other = pairs.shifted(pairs.target_changes, lag)
    both = np.isfinite(changes) & np.isfinite(other)
    a, b, series = changes[both], other[both], pairs.series[both]

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(series, values, pairs.n_series)

    n = np.maximum(total(np.ones(len(a))), 1)
    sum_a, sum_b = total(a), total(b)
    ab = total(a * b) - sum_a * sum_b / n
    aa = total(a * a) - sum_a**2 / n
    bb = total(b * b) - sum_b**2 / n
    moves = np.minimum(total(a != 0), total(b != 0))
    ab, aa, bb, moves = (np.append(part.sum(), part) for part in (ab, aa, bb, moves))
    sound = (moves >= _LEAST_CHANGES) & (aa > 0) & (bb > 0)
    result = np.zeros(len(ab))
    result[sound] = np.minimum(ab[sound] ** 2 / (aa[sound] * bb[sound]), 1)
    return result


def cuts_range(
    pairs: Pairs, codes: np.ndarray, values: np.ndarray, order: np.ndarray, lag: int
) -> np.ndarray:
    """Return (S,) whether categories cut the range of values ``lag`` steps before into pieces.

    Each category holds a piece of its own, and it touches the next one. Pieces far apart, or a
    single value beside a piece, are what a closed day or a high price makes of a target: they do
    not count, unless every category has one value.

    Parameters
    ----------
    pairs : Pairs
    codes : ndarray of int, shape (R,)
        Categories; -1 for none.
    values : ndarray of float, shape (R,)
    order : ndarray of int
        The rows with a value, by series and value.
    lag : int
    """
    category = pairs.shifted(codes, -lag, -1)[order]
    order, category = order[category >= 0], category[category >= 0]
    series, values, n_series = pairs.series[order], values[order], pairs.n_series
    if len(order) == 0:
        return np.zeros(n_series, bool)
    new = np.append(True, np.diff(series) != 0)
    start = np.flatnonzero(new | np.append(True, np.diff(category) != 0))
    stop = np.append(start[1:], len(order))
    of_piece = series[start]
    rows = np.bincount(series, minlength=n_series)
    pieces = np.bincount(of_piece, minlength=n_series)
    if not np.any((pieces > 1) & (pieces <= codes.max() + 1)):
        return np.zeros(n_series, bool)
    key = of_piece * (int(category.max()) + 1) + category[start]
    again = np.ones(len(start), bool)
    again[np.unique(key, return_index=True)[1]] = False
    # Of all orders of these rows, the share of those that keep every category together.
    log_factorial = np.append(0.0, np.cumsum(np.log(np.arange(1, len(order) + 1))))
    log_chance = log_factorial[pieces] - log_factorial[rows]
    log_chance += np.bincount(of_piece, log_factorial[stop - start], n_series)

    gap = np.append(0.0, np.diff(values)) * ~new
    border = start[~new[start]]
    widest = np.zeros(n_series)
    np.maximum.at(widest, series[border], gap[border])
    tied = np.bincount(series[border[gap[border] == 0]], minlength=n_series) > 0
    typical = np.bincount(series, gap, n_series) / np.maximum(
        np.bincount(series, gap > 0, n_series), 1
    )
    single = np.bincount(of_piece, values[start] == values[stop - 1], n_series)
    touching = (single == 0) & (widest <= _TOUCHING * typical)
    whole = np.bincount(of_piece[again], minlength=n_series) == 0
    told = touching | (single == pieces)
    return (pieces > 1) & whole & ~tied & told & (log_chance < _NO_ACCIDENT)
